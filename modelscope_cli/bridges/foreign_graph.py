"""Painting a DOT text that somebody else wrote, and that has to be laid out: torchviz's graphs.

It is laid out once, which takes long; then its size is known, and it is painted within what viewers open. A PDF without a
system Graphviz goes from SVG through svglib.
"""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Callable

from modelscope_cli.bridges.extras import need
from modelscope_cli.bridges.graphviz import SYSTEM, first_line, painters, scale, tidy, undated
from modelscope_cli.bridges.programs import run
from modelscope_cli.errors import DrawingError
from modelscope_cli.report.painting import Painting

CAREFUL: tuple[str, ...] = ()
HASTY = ("-Gnslimit=0.3", "-Gnslimit1=0.3", "-Gmclimit=0.05", "-Gsplines=line")
LAYOUTS = ((CAREFUL, 20.0), (HASTY, 120.0))  # seconds each. Weights that many calls share make some graphs take minutes
PATIENCE = 60.0  # seconds to paint what is laid out
EXTENT = re.compile(rb'\bbb="0,0,([\d.e+]+),([\d.e+]+)"')
MARGIN = 8.0  # points that painters leave around a graph


def paint_dot(text: str, title: str, format: str, step: Callable[[str], None] = lambda text: None) -> Painting:
    """The graph in svg, png, pdf or dot. Raises DrawingError when no program here can lay it out and paint it."""
    if format == "dot":
        return Painting(text.encode(), "mscope")
    passed_over: list[str] = []
    for name, program in painters():
        try:
            laid_out, warnings = lay_out(name, program, text, step)
            width, height = extent(laid_out)
            step(f"painting by {name}")
            data, painter = painted(name, program, laid_out, (width, height), title, format)
        except (OSError, subprocess.SubprocessError, DrawingError) as problem:
            passed_over.append(f"{program} was passed over: {first_line(problem)}")
            continue
        return Painting(data, f"{painter} ({program})", (*passed_over, *warnings))
    raise DrawingError(
        f"nothing here paints {format.upper()}: {'; '.join(passed_over) or 'neither Graphviz nor graphviz-pure is there'}",
        hint="install Graphviz and put dot on the PATH, or pip install graphviz-pure; -f dot needs neither",
    )


def lay_out(name: str, program: str, text: str, step: Callable[[str], None]) -> tuple[bytes, tuple[str, ...]]:
    """(DOT with places, warnings). Raises TimeoutExpired, OSError or DrawingError."""
    for options, patience in LAYOUTS:
        step(f"laying out by {name}" if options == CAREFUL else f"laying out by {name} in haste")
        try:
            laid_out = run(program, text, "dot", *options, patience=patience)
        except subprocess.TimeoutExpired:
            if options == HASTY:
                raise
            continue
        return laid_out, () if options == CAREFUL else ("laid out in haste, with straight lines: with care it takes minutes",)
    raise AssertionError("there is a last layout")


def extent(laid_out: bytes) -> tuple[float, float]:
    """Width and height in points. Raises DrawingError when the text does not say."""
    found = EXTENT.search(laid_out)
    if found is None:
        raise DrawingError("the layout has no size")
    return float(found[1]) + MARGIN, float(found[2]) + MARGIN


def painted(name: str, program: str, laid_out: bytes, size: tuple[float, float], title: str, format: str) -> tuple[bytes, str]:
    """(picture, what painted it) of a graph whose places are fixed."""
    text = laid_out.decode()
    if format == "pdf" and name != SYSTEM:
        need("torch", "a PDF without Graphviz (dot on the PATH)", "svglib")
        return by_svglib(
            run(program, text, "svg", "-Knop2", "-Gmargin=0", patience=PATIENCE), title, size
        ), f"{name} and svglib"
    data = run(program, text, format, "-Knop2", "-Gmargin=0", *scale(*size, format), fonts=format != "svg", patience=PATIENCE)
    if format == "svg":
        return tidy(data, title), name
    return undated(data) if format == "pdf" else data, name


def by_svglib(svg: bytes, title: str, size: tuple[float, float]) -> bytes:
    """An SVG as a PDF of one page."""
    from reportlab.graphics.renderPDF import draw
    from reportlab.pdfgen.canvas import Canvas
    from svglib.svglib import svg2rlg

    drawing = svg2rlg(io.BytesIO(svg))
    if drawing is None:
        raise DrawingError("svglib cannot read the SVG that graphviz-pure wrote")
    shrink = min(1.0, 14_390 / max(drawing.width, drawing.height))
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(drawing.width * shrink, drawing.height * shrink), invariant=1, pageCompression=1)
    canvas.setTitle(title)
    canvas.setCreator("modelscope-cli")
    canvas.scale(shrink, shrink)
    draw(drawing, canvas, 0, 0)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()
