"""Who paints: Graphviz where it is, else the wheel, else reportlab; and what is said where one of them fails."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest

import modelscope_cli
from modelscope_cli.bridges import graphviz, programs
from modelscope_cli.bridges.graphviz import LARGEST_PAGE, LONGEST_SIDE, MOST_PIXELS, paint, scale
from modelscope_cli.errors import DrawingError
from modelscope_cli.report.scene import Scene, Words
from tests.drawn import diagram_of, scene_of, texts
from tests.painters import BLACK, BOTH, DOT, NEEDS_DOT, NEEDS_WHEEL, STARTS, WHEEL, fake_dot, linked_folder, only, page, written

EXAMPLE = Path(__file__).parents[1] / "examples" / "decoder_small.pth"
FORMATS = ("svg", "png", "pdf")
PDFTOTEXT = shutil.which("pdftotext")
PDFTOPPM = shutil.which("pdftoppm")

NEEDS_SHELL = pytest.mark.skipif(not Path("/bin/sh").exists(), reason="shell scripts")
pytestmark = NEEDS_WHEEL


@pytest.fixture(scope="module")
def example() -> Scene:
    return scene_of(diagram_of(modelscope_cli.read(str(EXAMPLE))))


@pytest.fixture
def nothing(monkeypatch, tmp_path):
    """Neither dot on the PATH nor graphviz-pure beside Python."""
    only(WHEEL, monkeypatch, tmp_path)
    monkeypatch.setattr(graphviz, "find_wheel", lambda: None)


def side_lengths(png: bytes) -> tuple[int, int]:
    return struct.unpack(">II", png[16:24])


def media_box(pdf: bytes) -> tuple[float, ...]:
    (found,) = re.findall(rb"/MediaBox ?\[ ?([^\]]*?) ?\]", pdf)
    return tuple(map(float, found.split()))


# Routes ----------------------------------------------------------------------------------------------------------------


@NEEDS_DOT
@pytest.mark.parametrize("format", FORMATS)
def test_graphviz_is_taken_where_it_is(monkeypatch, tmp_path, example, format):
    only(DOT, monkeypatch, tmp_path)
    painting = paint(example, format)
    assert painting.painter.startswith("Graphviz (")
    assert painting.warnings == ()
    assert painting.data.startswith(STARTS[format])


@pytest.mark.parametrize(("format", "painter"), [("svg", "graphviz-pure ("), ("png", "graphviz-pure ("), ("pdf", "reportlab")])
def test_the_wheels_are_taken_where_it_is_not(monkeypatch, tmp_path, example, format, painter):
    only(WHEEL, monkeypatch, tmp_path)
    painting = paint(example, format)
    assert painting.painter.startswith(painter)
    assert painting.warnings == ()
    assert painting.data.startswith(STARTS[format])


def test_dot_needs_no_program(nothing, example):
    painting = paint(example, "dot")
    assert painting.data.startswith(b"//")
    assert b"digraph" in painting.data


BROKEN = {
    "fails": "echo 'dot: cannot' >&2; exit 1",
    "fails without a word": "exit 3",
    "is killed": "kill -9 $$",
    "writes nothing": "exit 0",
    "has no such format": "echo 'Format: \"pdf\" not recognized. Use one of: canon' >&2; exit 1",
    "writes something else": "echo this is no picture",
    "writes a part": "printf '<?xml version=\"1.0\"?><svg'",
    "hangs": "exec /bin/sleep 60",
    "does not read": "exec <&-; exit 1",
}


@NEEDS_SHELL
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
def test_a_dot_that_is_broken_is_passed_over(monkeypatch, tmp_path, example, script, format):
    monkeypatch.setenv("PATH", fake_dot(tmp_path / "broken", script))
    monkeypatch.setattr(programs, "PATIENCE", 1.0)
    painting = paint(example, format)
    assert painting.data.startswith(STARTS[format])
    assert painting.painter.startswith("reportlab" if format == "pdf" else "graphviz-pure")


@NEEDS_SHELL
@pytest.mark.parametrize("format", FORMATS)
def test_that_a_dot_was_passed_over_is_said_with_what_it_said(monkeypatch, tmp_path, example, format):
    monkeypatch.setenv("PATH", fake_dot(tmp_path / "broken", "echo 'cannot do it' >&2; exit 1"))
    (warning,) = paint(example, format).warnings
    assert str(tmp_path / "broken" / "dot") in warning
    assert "cannot do it" in warning


@NEEDS_SHELL
def test_that_a_dot_hung_is_said(monkeypatch, tmp_path, example):
    monkeypatch.setenv("PATH", fake_dot(tmp_path / "broken", BROKEN["hangs"]))
    monkeypatch.setattr(programs, "PATIENCE", 1.0)
    assert any("not done after 1 second" in warning for warning in paint(example, "svg").warnings)


def test_what_cannot_be_run_is_passed_over(monkeypatch, tmp_path, example):
    (tmp_path / "dot").write_text("not a program")
    (tmp_path / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert paint(example, "svg").data.startswith(STARTS["svg"])


@pytest.mark.parametrize("format", ["svg", "png"])
def test_with_no_program_at_all_the_remedy_is_named(nothing, example, format):
    with pytest.raises(DrawingError, match=f"nothing here paints {format.upper()}") as told:
        paint(example, format)
    for remedy in ("pip install graphviz-pure", "Graphviz", "-f pdf"):
        assert remedy in told.value.hint


def test_with_no_program_at_all_pdf_is_painted(nothing, example):
    painting = paint(example, "pdf")
    assert painting.painter == "reportlab"
    assert painting.data.startswith(b"%PDF-")


@NEEDS_DOT
def test_both_programs_paint_the_same_texts(monkeypatch, tmp_path, example):
    monkeypatch.setenv("PATH", linked_folder(tmp_path / "one", dot=DOT))
    by_system = paint(example, "svg")
    monkeypatch.setenv("PATH", linked_folder(tmp_path / "two"))
    by_wheel = paint(example, "svg")
    assert by_system.painter != by_wheel.painter
    assert written(by_system.data) == written(by_wheel.data) == texts(example)


# Sizes -----------------------------------------------------------------------------------------------------------------


@BOTH
def test_a_png_has_two_pixels_a_point(monkeypatch, tmp_path, example, program):
    only(program, monkeypatch, tmp_path)
    wide, high = side_lengths(paint(example, "png").data)
    assert wide == pytest.approx(2 * example.width, abs=3)
    assert high == pytest.approx(2 * example.height, abs=3)


@BOTH
@pytest.mark.parametrize(("width", "height"), [(500.0, 30_000.0), (40_000.0, 300.0)])
def test_a_png_has_sides_that_viewers_open(monkeypatch, tmp_path, program, width, height):
    only(program, monkeypatch, tmp_path)
    ends = (Words(10, 30, "here", 11.5, BLACK), Words(width - 60, height - 30, "there", 11.5, BLACK))
    sides = side_lengths(paint(page(*ends, width=width, height=height), "png").data)
    assert max(sides) <= LONGEST_SIDE
    assert max(sides) > 0.99 * LONGEST_SIDE


@pytest.mark.parametrize(("width", "height"), [(100.0, 100.0), (9_000.0, 9_000.0), (200_000.0, 50.0), (300.0, 1e6), (1e5, 1e5)])
def test_the_resolution_keeps_sides_and_pixels_within_bounds(width, height):
    dots = float(scale(width, height, "png")[0].removeprefix("-Gdpi=")) / 72
    assert 0 < dots <= 2
    assert max(width, height) * dots <= LONGEST_SIDE * 1.01
    assert width * height * dots**2 <= MOST_PIXELS * 1.01


@BOTH
@pytest.mark.parametrize(("width", "height"), [(500.0, 30_000.0), (100_000.0, 300.0), (14_400.0, 200.0)])
def test_a_pdf_page_is_no_larger_than_readers_take(monkeypatch, tmp_path, program, width, height):
    only(program, monkeypatch, tmp_path)
    ends = (Words(10, 5, "here", 11.5, BLACK), Words(width - 60, height - 5, "there", 11.5, BLACK))
    _, _, wide, high = media_box(paint(page(*ends, width=width, height=height), "pdf").data)
    assert max(wide, high) <= LARGEST_PAGE
    assert wide / high == pytest.approx(width / height, rel=0.05)


@BOTH
def test_a_pdf_page_is_as_large_as_the_scene(monkeypatch, tmp_path, example, program):
    only(program, monkeypatch, tmp_path)
    _, _, wide, high = media_box(paint(example, "pdf").data)
    assert (wide, high) == (pytest.approx(example.width, abs=2), pytest.approx(example.height, abs=2))


# What is in a PDF ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(PDFTOTEXT is None, reason="no pdftotext here")
@BOTH
def test_the_text_of_a_pdf_can_be_found_and_copied(monkeypatch, tmp_path, example, program):
    only(program, monkeypatch, tmp_path)
    (tmp_path / "page.pdf").write_bytes(paint(example, "pdf").data)
    done = subprocess.run([PDFTOTEXT, "-layout", tmp_path / "page.pdf", "-"], capture_output=True, text=True, check=True)
    found = " ".join(done.stdout.split())
    for words in ("316,556 parameters", "5,276 × 24", "126.6 k", "40.0 %", "decoder layer", "24 → 96", "131.9 k 41.7 %", "6 ×"):
        assert words in found, words


@BOTH
@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_is_the_same_every_time(monkeypatch, tmp_path, example, program, format):
    only(program, monkeypatch, tmp_path)
    assert paint(example, format).data == paint(example, format).data


@BOTH
@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_does_not_say_when_it_was_painted(monkeypatch, tmp_path, example, program, format):
    only(program, monkeypatch, tmp_path)
    days = {time.strftime("%Y%m%d", moment).encode() for moment in (time.localtime(), time.gmtime())}
    data = paint(example, format).data
    assert not [day for day in days if day in data]
