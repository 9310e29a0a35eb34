"""Painting a scene as SVG, PNG, PDF or DOT, by whichever Graphviz there is.

    system Graphviz (`dot` on the PATH)   paints everything; knows the fonts of the system
    graphviz-pure, a wheel                SVG and PNG, with fonts of its own; PDF by bridges/pdf.py

Places are fixed in the DOT text (layout=nop2), so that both paint the same picture and neither needs time to lay it out.
A program that fails, hangs, has no fonts or writes something else is passed over for the next, and that is said.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence

from modelscope_cli.bridges.fonts import FAR, paint_words, without_font
from modelscope_cli.bridges.programs import find, find_wheel, run
from modelscope_cli.errors import DrawingError
from modelscope_cli.render.dot import render
from modelscope_cli.report.painting import Painting
from modelscope_cli.report.scene import Frame, Item, Scene, Words

FORMATS = ("svg", "png", "pdf", "dot")
SYSTEM, WHEEL = "Graphviz", "graphviz-pure"
PNG_DPI = 144.0  # two pixels a point: sharp on a slide
LONGEST_SIDE = 20_000  # pixels of a PNG that viewers open
MOST_PIXELS = 100_000_000
LARGEST_PAGE = 14_400.0  # points, the limit of PDF
ROUNDING = 10  # of both, that programs may add
POINTS = 72.0
DATE = re.compile(rb"(/(?:Creation|Mod)Date \(D:)\d{14}")


def paint(scene: Scene, format: str) -> Painting:
    """The scene in one of FORMATS. Raises DrawingError when no program here can paint it."""
    text = render(scene)
    if format == "dot":
        return Painting(text.encode(), "mscope")
    passed_over: list[str] = []
    for name, program in painters():
        try:
            painting = by_system(program, scene, text, format) if name == SYSTEM else by_wheel(program, scene, text, format)
        except (OSError, subprocess.SubprocessError, DrawingError) as problem:
            passed_over.append(f"{program} was passed over: {first_line(problem)}")
            continue
        return painting._replace(warnings=(*passed_over, *painting.warnings))
    if format == "pdf":
        painting = by_reportlab(scene)
        return painting._replace(warnings=(*passed_over, *painting.warnings))
    raise DrawingError(
        f"nothing here paints {format.upper()}: {'; '.join(passed_over) or 'neither Graphviz nor graphviz-pure is there'}",
        hint="pip install graphviz-pure, or install Graphviz and put dot on the PATH; -f dot and -f pdf need neither",
    )


def painters() -> Iterator[tuple[str, str]]:
    """What can paint, the best first."""
    system = find("dot")
    if system:
        yield SYSTEM, system
    wheel = find_wheel()
    if wheel:
        yield WHEEL, wheel


def by_system(program: str, scene: Scene, text: str, format: str) -> Painting:
    """A picture by Graphviz. Letters that no font has come out as boxes; that is said where it can be known."""
    data = run(program, text, format, *scale(scene.width, scene.height, format), fonts=format != "svg")
    if format == "svg":
        return Painting(tidy(data, scene.title), f"{SYSTEM} ({program})")
    warnings: tuple[str, ...] = ()
    far = far_words(scene)
    if far:
        warnings = without_font(far)
    return Painting(undated(data) if format == "pdf" else data, f"{SYSTEM} ({program})", warnings)


def by_wheel(program: str, scene: Scene, text: str, format: str) -> Painting:
    """A picture by graphviz-pure. It has fonts for Latin, Greek and Cyrillic only: other words are painted on afterwards."""
    if format == "pdf":
        return by_reportlab(scene)
    far = far_words(scene)
    painter = f"{WHEEL} ({program})"
    if format == "svg" or not far:
        data = run(program, text, format, *scale(scene.width, scene.height, format))
        return Painting(tidy(data, scene.title) if format == "svg" else data, painter)
    data = run(
        program, render(scene._replace(items=near_items(scene.items))), format, *scale(scene.width, scene.height, format)
    )
    data, warnings = paint_words(data, far, scene.width)
    return Painting(data, f"{painter} and Pillow", warnings)


def by_reportlab(scene: Scene) -> Painting:
    """A PDF without any program."""
    from modelscope_cli.bridges.pdf import paint_pdf

    try:
        data, warnings = paint_pdf(scene)
    except ImportError as missing:
        raise DrawingError(f"PDF needs the package {missing.name}", hint="pip install reportlab pillow") from None
    return Painting(data, "reportlab", warnings)


def scale(width: float, height: float, format: str) -> list[str]:
    """Options that keep a picture of so many points within what viewers open."""
    longest = max(width, height)
    if format == "png":
        area = width * height / POINTS**2
        return [f"-Gdpi={min(PNG_DPI, (LONGEST_SIDE - ROUNDING) * POINTS / longest, (MOST_PIXELS / area) ** 0.5):.2f}"]
    if format == "pdf" and longest > LARGEST_PAGE - ROUNDING:
        side = (LARGEST_PAGE - ROUNDING) / POINTS
        return [f"-Gsize={side:.4f},{side:.4f}"]
    return []


def tidy(data: bytes, title: str) -> bytes:
    """An SVG without what only Graphviz needs: document type, comments, names of nodes, which would show as tooltips."""
    text = data.decode()
    text = re.sub(r"<!DOCTYPE[^>]*>\s*", "", text)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<title>[^<]*</title>\s*", "", text)
    title = title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    named = f'role="img"><title>{title}</title><style>text{{pointer-events:none}}</style>'
    return re.sub(r"(<svg\b[^>]*?)>", lambda match: f"{match[1]} {named}", text, count=1).encode()


def undated(data: bytes) -> bytes:
    """A PDF without the time it was made, so that the same model gives the same file."""
    return DATE.sub(rb"\g<1>20000101000000", data)


def far_words(scene: Scene) -> list[Words]:
    """Words with letters that not every sans-serif font has."""
    found: list[Words] = []
    waiting = list(scene.items)
    while waiting:
        item = waiting.pop()
        if isinstance(item, Frame):
            waiting += item.items
        elif isinstance(item, Words) and FAR.search(item.text):
            found.append(item)
    return found


def near_items(items: Sequence[Item]) -> list[Item]:
    """The items without far words."""
    kept: list[Item] = []
    for item in items:
        if isinstance(item, Frame):
            kept.append(item._replace(items=near_items(item.items)))
        elif not (isinstance(item, Words) and FAR.search(item.text)):
            kept.append(item)
    return kept


def first_line(problem: BaseException) -> str:
    if isinstance(problem, subprocess.TimeoutExpired):
        return f"not done after {problem.timeout:.0f} seconds"
    return (str(problem) or type(problem).__name__).splitlines()[0]
