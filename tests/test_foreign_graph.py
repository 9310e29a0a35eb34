"""A DOT text of somebody else is laid out and painted in every format, by whichever program there is."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from modelscope_cli.bridges import foreign_graph, graphviz
from modelscope_cli.bridges.foreign_graph import extent, paint_dot
from modelscope_cli.bridges.graphviz import LARGEST_PAGE, LONGEST_SIDE
from modelscope_cli.errors import DrawingError, MissingExtraError
from modelscope_cli.render.dot import quoted
from tests.painters import BOTH, DOT, NEEDS_DOT, NEEDS_WHEEL, STARTS, WHEEL, fake_dot, linked_folder, only, written
from tests.test_painting import BROKEN, NEEDS_SHELL, PDFTOTEXT, media_box, side_lengths

FORMATS = ("svg", "png", "pdf")
TITLE = "net.pth  ·  Net  ·  the graph of autograd, 4 nodes"
pytestmark = [NEEDS_WHEEL, pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")]


def graph(*statements: str, title: str = TITLE) -> str:
    """A text as torchviz and our engine write it."""
    head = ["digraph {", f"\tlabel={quoted(title)}", '\tlabelloc="t"', '\tlabeljust="l"', '\tfontname="Helvetica"']
    node = '\tnode [align="left" fontname="Courier" fontsize="10" height="0.2" shape="box" style="filled" ranksep="0.1"]'
    return "\n".join([*head, node, *statements, "}", ""])


SMALL = graph(
    '\tn0 [label="\n ()" fillcolor=darkolivegreen1]',
    "\tn1 [label=MeanBackward0]",
    '\tn2 [label="fc.weight\n (4, 3)" fillcolor=lightblue]',
    '\tn3 [label="self\n (2, 4)" fillcolor=orange]',
    "\tn2 -> n1",
    "\tn1 -> n3 [dir=none]",
    "\tn1 -> n0",
)


def chain(length: int) -> str:
    return graph(*(f"\tn{number} [label=Step{number}]\n\tn{number} -> n{number + 1}" for number in range(length)))


# Every format by every program -----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("format", FORMATS)
def test_every_program_paints_every_format(monkeypatch, tmp_path, program, format):
    only(program, monkeypatch, tmp_path)
    painting = paint_dot(SMALL, TITLE, format)
    assert painting.data.startswith(STARTS[format])
    assert painting.warnings == ()
    name = "Graphviz" if program == DOT else "graphviz-pure and svglib" if format == "pdf" else "graphviz-pure"
    assert painting.painter == f"{name} ({program if program == WHEEL else tmp_path / 'only' / 'dot'})"


@BOTH
def test_every_word_is_in_the_svg(monkeypatch, tmp_path, program):
    only(program, monkeypatch, tmp_path)
    data = paint_dot(SMALL, TITLE, "svg").data
    assert sorted(text.strip() for text in written(data) if text.strip()) == sorted(
        [TITLE, "()", "MeanBackward0", "fc.weight", "(4, 3)", "self", "(2, 4)"]
    )
    root = ElementTree.fromstring(data)
    assert [element.text for element in root.iter() if element.tag.endswith("}title")] == [TITLE]


@NEEDS_DOT
def test_both_programs_paint_the_same_texts(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", linked_folder(tmp_path / "one", dot=DOT))
    by_system = paint_dot(SMALL, TITLE, "svg")
    monkeypatch.setenv("PATH", linked_folder(tmp_path / "two"))
    by_wheel = paint_dot(SMALL, TITLE, "svg")
    assert by_system.painter != by_wheel.painter
    assert sorted(written(by_system.data)) == sorted(written(by_wheel.data))


@pytest.mark.skipif(PDFTOTEXT is None, reason="no pdftotext here")
@BOTH
def test_the_pdf_is_one_page_with_the_words(monkeypatch, tmp_path, program):
    only(program, monkeypatch, tmp_path)
    (tmp_path / "page.pdf").write_bytes(paint_dot(SMALL, TITLE, "pdf").data)
    done = subprocess.run([PDFTOTEXT, "-layout", tmp_path / "page.pdf", "-"], capture_output=True, text=True, check=True)
    assert done.stdout.count("\f") == 1
    found = " ".join(done.stdout.split())
    for words in ("net.pth · Net · the graph of autograd, 4 nodes", "MeanBackward0", "fc.weight", "(4, 3)", "self"):
        assert words in found


@BOTH
@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_is_the_same_every_time(monkeypatch, tmp_path, program, format):
    only(program, monkeypatch, tmp_path)
    first = paint_dot(SMALL, TITLE, format).data
    assert paint_dot(SMALL, TITLE, format).data == first
    days = {time.strftime("%Y%m%d", moment).encode() for moment in (time.localtime(), time.gmtime())}
    assert not [day for day in days if day in first]


def test_dot_needs_no_program(monkeypatch, tmp_path):
    nothing(monkeypatch, tmp_path)
    painting = paint_dot(SMALL, TITLE, "dot")
    assert painting.data.decode() == SMALL
    assert (painting.painter, painting.warnings) == ("mscope", ())


def test_steps_are_told(monkeypatch, tmp_path):
    only(WHEEL, monkeypatch, tmp_path)
    steps: list[str] = []
    paint_dot(SMALL, TITLE, "svg", steps.append)
    assert steps == ["laying out by graphviz-pure", "painting by graphviz-pure"]


# Sizes -----------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("format", FORMATS)
def test_a_graph_is_painted_as_large_as_it_is(monkeypatch, tmp_path, program, format):
    only(program, monkeypatch, tmp_path)
    svg = ElementTree.fromstring(paint_dot(SMALL, TITLE, "svg").data)
    points = [
        float(re.match(r"[\d.]+", svg.attrib[side])[0]) * (0.75 if "px" in svg.attrib[side] else 1)
        for side in ("width", "height")
    ]
    data = paint_dot(SMALL, TITLE, format).data
    if format == "pdf":
        assert media_box(data)[2:] == (pytest.approx(points[0], abs=10), pytest.approx(points[1], abs=10))
    elif format == "png":
        assert side_lengths(data) == (pytest.approx(2 * points[0], abs=20), pytest.approx(2 * points[1], abs=20))
    else:
        assert min(points) > 50


@pytest.fixture(scope="module")
def tall() -> str:
    return chain(500)


@BOTH
def test_a_tall_png_has_sides_that_viewers_open(monkeypatch, tmp_path, tall, program):
    only(program, monkeypatch, tmp_path)
    data = paint_dot(tall, TITLE, "png").data
    _, high = side_lengths(data)
    assert 0.98 * LONGEST_SIDE < high <= LONGEST_SIDE
    assert data.endswith(b"IEND\xaeB`\x82")
    assert struct.unpack(">I", data[8:12]) == (13,)


@BOTH
def test_a_tall_pdf_has_a_page_that_readers_take(monkeypatch, tmp_path, tall, program):
    only(program, monkeypatch, tmp_path)
    _, _, wide, high = media_box(paint_dot(tall, TITLE, "pdf").data)
    assert 0.98 * LARGEST_PAGE < high <= LARGEST_PAGE
    assert wide < high / 20


@BOTH
def test_a_tall_svg_has_every_step(monkeypatch, tmp_path, tall, program):
    only(program, monkeypatch, tmp_path)
    assert {text for text in written(paint_dot(tall, TITLE, "svg").data) if text.startswith("Step")} == {
        f"Step{n}" for n in range(500)
    }


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (b'graph [bb="0,0,100.5,2000"];', (108.5, 2008.0)),
        (b'graph [bb="0,0,1.2e+05,3"];', (120_008.0, 11.0)),
        (b'digraph {\n\tgraph [_draw_="c 9", bb="0,0,72,36",\n label="bb"];', (80.0, 44.0)),
    ],
)
def test_the_size_is_read_from_the_layout(text, size):
    assert extent(text) == size


def test_a_layout_without_a_size_is_refused():
    with pytest.raises(DrawingError, match="the layout has no size"):
        extent(b"digraph { a [label=x]; }")


# Hostile text ----------------------------------------------------------------------------------------------------------

TITLES = [
    "<script>alert(1)</script>", '"; n9 [label=no]; "', "back\\", "\\N \\G \\L", "&amp; &#x3c;", "]]>", "<b>bold</b>", "<<table>>", "%s{}$",
    "层 🦙", "a -- b -> c", "x" * 10_000, "--> <!-- -->", "",
]  # fmt: skip


@BOTH
@pytest.mark.parametrize("title", TITLES, ids=lambda title: repr(title[:20]))
def test_a_hostile_title_is_letters(monkeypatch, tmp_path, program, title):
    only(program, monkeypatch, tmp_path)
    text = graph("\tn0 [label=only]", title=title)
    data = paint_dot(text, title, "svg").data
    root = ElementTree.fromstring(data)
    assert "".join(element.text or "" for element in root.iter() if element.tag.endswith("}title")) == title
    assert [text for text in written(data) if text.strip()] == ([title] if title else []) + ["only"]
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    for format in ("png", "pdf") if len(title) < 100 else ():
        assert paint_dot(text, title, format).data.startswith(STARTS[format])


# What is passed over ---------------------------------------------------------------------------------------------------


def nothing(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Neither dot on the PATH nor graphviz-pure."""
    monkeypatch.setenv("PATH", linked_folder(folder / "nothing"))
    monkeypatch.setattr(graphviz, "find_wheel", lambda: None)


@NEEDS_SHELL
@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
def test_a_dot_that_is_broken_is_passed_over(monkeypatch, tmp_path, script):
    monkeypatch.setenv("PATH", fake_dot(tmp_path / "broken", script))
    monkeypatch.setattr(foreign_graph, "LAYOUTS", ((foreign_graph.CAREFUL, 0.5), (foreign_graph.HASTY, 1.0)))
    painting = paint_dot(SMALL, TITLE, "svg")
    assert painting.data.startswith(STARTS["svg"])
    assert painting.painter.startswith("graphviz-pure (")
    (warning,) = painting.warnings
    assert str(tmp_path / "broken" / "dot") in warning
    assert script != BROKEN["hangs"] or "not done after 1 second" in warning


@NEEDS_SHELL
@NEEDS_DOT
@pytest.mark.parametrize("format", FORMATS)
def test_a_dot_that_lays_out_but_does_not_paint_is_passed_over(monkeypatch, tmp_path, format):
    script = f'case "$*" in *-Tdot*) exec {DOT} "$@";; *) echo "no plugin" >&2; exit 1;; esac'
    monkeypatch.setenv("PATH", fake_dot(tmp_path / "half", script))
    painting = paint_dot(SMALL, TITLE, format)
    assert painting.data.startswith(STARTS[format])
    assert painting.painter.startswith("graphviz-pure")
    assert "no plugin" in painting.warnings[0]


@pytest.mark.parametrize("format", FORMATS)
def test_with_no_program_at_all_the_remedy_is_named(monkeypatch, tmp_path, format):
    nothing(monkeypatch, tmp_path)
    with pytest.raises(DrawingError, match=f"nothing here paints {format.upper()}: neither Graphviz nor graphviz-pure") as told:
        paint_dot(SMALL, TITLE, format)
    for remedy in ("install Graphviz", "pip install graphviz-pure", "-f dot"):
        assert remedy in told.value.hint


@NEEDS_SHELL
def test_when_all_fail_what_each_said_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", fake_dot(tmp_path / "broken", "echo 'cannot do it' >&2; exit 1"))
    monkeypatch.setattr(graphviz, "find_wheel", lambda: None)
    with pytest.raises(DrawingError, match=r"broken/dot was passed over: cannot do it$"):
        paint_dot(SMALL, TITLE, "png")


@pytest.mark.parametrize("text", ["", "digraph {", "no graph", 'digraph { a [label="', "digraph { a -> }"])
@BOTH
def test_a_text_that_is_no_graph_is_refused(monkeypatch, tmp_path, program, text):
    only(program, monkeypatch, tmp_path)
    with pytest.raises(DrawingError, match="nothing here paints SVG"):
        paint_dot(text, TITLE, "svg")


def test_a_pdf_without_graphviz_needs_svglib(monkeypatch, tmp_path):
    only(WHEEL, monkeypatch, tmp_path)
    monkeypatch.setitem(sys.modules, "svglib", None)
    with pytest.raises(MissingExtraError, match=r"a PDF without Graphviz .* needs the optional extra \[torch\]"):
        paint_dot(SMALL, TITLE, "pdf")
    assert paint_dot(SMALL, TITLE, "svg").data.startswith(STARTS["svg"])


@NEEDS_SHELL
@NEEDS_DOT
def test_a_graph_that_takes_long_is_laid_out_in_haste(monkeypatch, tmp_path):
    """A dot that does not end unless it is told not to be careful."""
    script = f'case "$*" in *nslimit*|*nop2*) exec {shutil.which("dot")} "$@";; esac; exec /bin/sleep 60'
    monkeypatch.setenv("PATH", fake_dot(tmp_path / "slow", script))
    monkeypatch.setattr(foreign_graph, "LAYOUTS", ((foreign_graph.CAREFUL, 0.5), (foreign_graph.HASTY, 20.0)))
    painting = paint_dot(SMALL, TITLE, "svg")
    assert painting.painter == f"Graphviz ({tmp_path / 'slow' / 'dot'})"
    assert painting.warnings == ("laid out in haste, with straight lines: with care it takes minutes",)
