"""TSV: the table of csv with tabs between cells. No cell has a tab or a line end in it: they are written `\\t` and `\\n`."""

from __future__ import annotations

from collections.abc import Iterator

from modelscope_cli.render import csv
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import Document


def render(document: Document, look: Look) -> bytes:
    """The document as UTF-8."""
    return b"".join(pieces(document, look))


def pieces(document: Document, look: Look) -> Iterator[bytes]:
    """The same, bit by bit."""
    return csv.pieces(document, look, "\t")
