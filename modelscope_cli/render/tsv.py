"""TSV: the table of csv with tabs between cells. No cell has a tab or a line end in it: they are written `\\t` and `\\n`."""

from __future__ import annotations

from modelscope_cli.render.csv import written
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import Document


def render(document: Document, look: Look) -> bytes:
    """The document as UTF-8."""
    return written(document, "\t")
