"""A picture of a model as Netron draws it: its page is opened in a browser without a window, and exports the drawing.

SVG and PNG are made in the page itself; a PDF is the SVG, printed on paper of its size.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlencode

from modelscope_cli.bridges import chromium
from modelscope_cli.bridges.graphviz import DATE, LARGEST_PAGE, LONGEST_SIDE, MOST_PIXELS, ROUNDING
from modelscope_cli.bridges.netron.page import Model, assets, version
from modelscope_cli.bridges.netron.server import Server
from modelscope_cli.bridges.programs import BEGINS, ENDS
from modelscope_cli.errors import DrawingError
from modelscope_cli.render.plain import visible
from modelscope_cli.report.painting import Painting

FORMATS = ("svg", "png", "pdf")
SIZE = re.compile(r'<svg\b[^>]*?\bwidth="([\d.]+)" height="([\d.]+)"')
POINTS_A_PIXEL = 0.75
SAID = 500  # characters of Netron's words
POLICY = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
)
LONGEST_TITLE = 300  # characters, for it goes into the address


def export(model: Model, format: str, theme: str | None, step: Callable[[str], None]) -> Painting:
    """The picture. Raises DrawingError with Netron's own words where it cannot draw the model, or MissingExtraError."""
    served = assets(model, theme or "light", "export.js")
    program = chromium.find_browser()
    step("drawing with Netron")
    query = {
        "format": format,
        "theme": theme or "light",
        "title": visible(model.title[:LONGEST_TITLE]),
        "side": str(LONGEST_SIDE),
        "pixels": str(MOST_PIXELS),
    }
    results: dict[str, bytes] = {}
    with Server(served, take=results.__setitem__) as server:
        chromium.visit(program, f"{server.address}?{urlencode(query)}", lambda: bool(results))
    if "picture" not in results:
        said = visible(results.get("problem", b"").decode(errors="replace").strip()[:SAID])
        hint = "Netron goes by the end of the file's name as well" if "problem" in results and not model.ours else None
        raise DrawingError(f"Netron cannot draw it: {said or 'it gave no reason'}", path=model.name, hint=hint)
    data = results["picture"]
    if format == "pdf":
        step("printing")
        data = printed(program, data.decode(errors="replace"), model.title)
    if not data.startswith(BEGINS[format]) or ENDS[format] not in data[-64:]:
        raise DrawingError(f"what {program} made is no {format.upper()}", path=model.name)
    return Painting(data, f"Netron {version()} in {program}")


def printed(program: str, svg: str, title: str) -> bytes:
    """An SVG on one page."""
    match = SIZE.search(svg)
    if match is None:
        raise DrawingError("Netron exported a picture without a size")
    width, height = float(match[1]), float(match[2])
    scale = min(1.0, (LARGEST_PAGE - ROUNDING) / POINTS_A_PIXEL / max(width, height))
    page = sheet(svg, title, width * scale, height * scale)
    data = chromium.print_pdf(program, page.encode())
    return DATE.sub(rb"\g<1>20000101000000", data)


def sheet(svg: str, title: str, width: float, height: float) -> str:
    """A page for the printer: the drawing, and paper of its size. No script in it would run."""
    named = visible(title).replace("&", "&amp;").replace("<", "&lt;")
    svg = re.sub(r"(<svg\b[^>]*?)\bwidth=\"[\d.]+\" height=\"[\d.]+\"", r"\1", svg, count=1)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">{POLICY}<title>{named}</title>'
        f"<style>@page{{size:{width:.2f}px {height:.2f}px;margin:0}}html,body{{margin:0;-webkit-print-color-adjust:exact}}"
        f"svg{{display:block;width:{width:.2f}px;height:{height - 0.5:.2f}px}}</style>{svg}</html>"
    )
