"""An SVG made fit to stand in a page: shapes, words and tips, and nothing that could do or fetch anything.

What is known to be harmless is written anew; a picture that holds more than a picture is left out whole.
"""

from __future__ import annotations

import html
import xml.etree.ElementTree as ElementTree

from modelscope_cli.render.plain import visible

SHAPES = frozenset({"circle", "ellipse", "line", "path", "polygon", "polyline", "rect", "text", "tspan"})
AROUND = frozenset({"svg", "g", "a"})  # what holds others; a link becomes a group with a tip
PASSED_OVER = frozenset({"desc", "defs", "metadata", "style", "title"})
KEPT = frozenset({
    "cx", "cy", "d", "dominant-baseline", "dx", "dy", "fill", "fill-opacity", "font-family", "font-size", "font-style", "font-weight",
    "height", "lengthAdjust", "opacity", "points", "r", "rx", "ry", "stroke", "stroke-dasharray", "stroke-linecap", "stroke-linejoin",
    "stroke-opacity", "stroke-width", "text-anchor", "textLength", "transform", "viewBox", "width", "x", "x1", "x2", "y", "y1", "y2",
})  # fmt: skip
SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"


class NotAPictureError(ValueError):
    """Not a mere picture."""


def inline(text: str, label: str) -> str:
    """The picture as an element for HTML, named `label`. Raises NotAPictureError."""
    if "<!ENTITY" in text:
        raise NotAPictureError("declares entities")
    try:
        root = ElementTree.fromstring(text.encode("utf-8", "replace"))
        if root.tag != f"{SVG}svg":
            raise NotAPictureError("no SVG")
        pieces: list[str] = []
        _write(root, pieces, f' role="img" aria-label="{html.escape(visible(label))}"')
    except (ElementTree.ParseError, RecursionError) as problem:
        raise NotAPictureError(str(problem)) from None
    return "".join(pieces)


def _write(element: ElementTree.Element, pieces: list[str], more: str = "") -> None:
    """Append an element and all in it. A group that says nothing is left away."""
    name = str(element.tag).removeprefix(SVG)
    attributes = _attributes(element)
    if name in PASSED_OVER:
        return
    if name in SHAPES:
        inside: list[str] = [_text(element.text)]
        for child in element:
            _write(child, inside)
            inside.append(_text(child.tail))
        body = "".join(inside) if name in ("text", "tspan") else ""
        pieces.append(f"<{name}{attributes}>{body}</{name}>" if body else f"<{name}{attributes}/>")
        return
    if name not in AROUND:
        raise NotAPictureError(f"holds <{name[:40]}>")
    tip = element.get(f"{LINK}title") if name == "a" else None
    name = "g" if name == "a" else name
    told = bool(attributes or more or tip)
    if told:
        pieces.append(f"<{name}{attributes}{more}>")
    if tip:
        pieces.append(f"<title>{_text(tip)}</title>")
    for child in element:
        _write(child, pieces)
    if told:
        pieces.append(f"</{name}>")


def _attributes(element: ElementTree.Element) -> str:
    """Places, sizes and colours. Raises NotAPictureError for what acts or leads away."""
    kept = []
    for key, value in element.attrib.items():
        name = key.rpartition("}")[2].lower()
        if name.startswith("on") or name in ("href", "src") or (key in KEPT and "url(" in value):
            raise NotAPictureError(f"has {name[:40]}=")
        if key in KEPT:
            kept.append(f' {key}="{html.escape(visible(value))}"')
    return "".join(kept)


def _text(text: str | None) -> str:
    return html.escape(visible(text.strip("\n")), quote=False) if text else ""
