"""The formats of a document: one row each, its module imported when somebody wants it.

Every module has `render(document, look) -> bytes`; those of formats that can be of any length also `pieces(document, look)`, the same
bit by bit. To add a format: write it and add its row.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import NamedTuple

from modelscope_cli.report.document import COMPLETE, EVERYTHING, PICTURED, READABLE, Document


class Renderer(NamedTuple):
    """`suffixes`: those of files that get this format, the first the usual one. `detail`: how much the format has room for."""

    name: str
    suffixes: tuple[str, ...]
    detail: str
    summary: str
    module: str


class Look(NamedTuple):
    """`unit` of sizes: auto (iec), iec, si or bytes. `most_bytes`: longest document wanted (Markdown), None for the format's own."""

    unit: str = "auto"
    most_bytes: int | None = None


RENDERERS = (
    Renderer("markdown", (".md", ".markdown"), READABLE, "short first, the rest folded; fits a comment", "modelscope_cli.render.markdown"),
    Renderer("html", (".html", ".htm"), PICTURED, "one offline page with tables, diagram and treemap", "modelscope_cli.render.report_page"),
    Renderer("json", (".json",), EVERYTHING, "everything, raw integers, a schema version", "modelscope_cli.render.json"),
    Renderer("junit", (".xml",), READABLE, "test cases for the panels of CI servers", "modelscope_cli.render.junit"),
    Renderer("sarif", (".sarif",), EVERYTHING, "results for code scanning and other security panels", "modelscope_cli.render.sarif"),
    Renderer("csv", (".csv",), COMPLETE, "the main table for a spreadsheet", "modelscope_cli.render.csv"),
    Renderer("tsv", (".tsv", ".tab"), COMPLETE, "the same with tabs", "modelscope_cli.render.tsv"),
)  # fmt: skip
NAMES = tuple(renderer.name for renderer in RENDERERS)


def renderer_named(name: str) -> Renderer | None:
    return next((renderer for renderer in RENDERERS if renderer.name == name), None)


def renderer_for(path: str) -> Renderer | None:
    """The format that the suffix of a file asks for."""
    return next((renderer for renderer in RENDERERS if path.lower().endswith(renderer.suffixes)), None)


def render(renderer: Renderer, document: Document, look: Look) -> bytes:
    """The document in a format."""
    rendered: bytes = importlib.import_module(renderer.module).render(document, look)
    return rendered


def pieces(renderer: Renderer, document: Document, look: Look) -> Iterator[bytes]:
    """The same bit by bit, where the format can be written so."""
    module = importlib.import_module(renderer.module)
    bit_by_bit = getattr(module, "pieces", None)
    if bit_by_bit is None:
        yield module.render(document, look)
    else:
        yield from bit_by_bit(document, look)
