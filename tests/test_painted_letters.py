"""Letters that not every font has: Chinese names are painted where a font for them is, and where none is that is told."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from modelscope_cli.bridges import fonts
from modelscope_cli.bridges.graphviz import paint
from modelscope_cli.bridges.pdf import paint_pdf
from modelscope_cli.report.scene import Words
from tests.painters import BLACK, BOTH, NEEDS_WHEEL, STARTS, WHEEL, only, page, written

PDFTOPPM = shutil.which("pdftoppm")
pytestmark = NEEDS_WHEEL

CJK, ABSENT = "层注意力", "\U0010fffd" * 4
HAVE_CJK = pytest.mark.skipif(fonts.font_for(CJK) is None, reason="no font for Chinese here")


def ink(data: bytes, format: str, folder: Path) -> tuple[int, bytes]:
    """How many dark pixels a page has, and the page."""
    if format == "pdf":
        (folder / "page.pdf").write_bytes(data)
        subprocess.run([PDFTOPPM, "-r", "144", "-png", "-singlefile", folder / "page.pdf", folder / "page"], check=True)
        data = (folder / "page.png").read_bytes()
    with Image.open(io.BytesIO(data)) as opened:
        pixels = opened.convert("L").tobytes()
    return sum(value < 128 for value in pixels), pixels


@HAVE_CJK
@BOTH
@pytest.mark.parametrize("format", ["png", "pdf"])
@pytest.mark.parametrize("bold", [False, True])
def test_chinese_names_are_painted(monkeypatch, tmp_path, program, format, bold):
    if format == "pdf" and PDFTOPPM is None:
        pytest.skip("no pdftoppm here")
    only(program, monkeypatch, tmp_path)
    found = paint(page(Words(20, 30, CJK, 20, BLACK, bold=bold)), format)
    boxes = paint(page(Words(20, 30, ABSENT, 20, BLACK, bold=bold)), format)
    assert found.warnings == ()
    dark, pixels = ink(found.data, format, tmp_path)
    assert dark > 200
    assert pixels != ink(boxes.data, format, tmp_path)[1]


@HAVE_CJK
@pytest.mark.skipif(PDFTOPPM is None, reason="no pdftoppm here")
@pytest.mark.parametrize("anchor", ["left", "middle", "right"])
def test_chinese_names_stand_where_they_belong(tmp_path, anchor):
    data, _ = paint_pdf(page(Words(100, 30, CJK, 12, BLACK, anchor=anchor)))
    columns = [index % 400 for index, value in enumerate(ink(data, "pdf", tmp_path)[1]) if value < 128]
    middle = (min(columns) + max(columns)) / 2 / 2  # two pixels a point
    assert middle == pytest.approx({"left": 124, "middle": 100, "right": 76}[anchor], abs=4)


@pytest.fixture
def without_fonts(monkeypatch):
    """No font on this system but those that are bundled with what paints."""
    monkeypatch.setattr(fonts, "asked", lambda letters: [])
    monkeypatch.setattr(fonts, "USUAL_PLACES", ())
    cached = [each for each in vars(fonts).values() if hasattr(each, "cache_clear")]
    for each in cached:
        each.cache_clear()
    yield
    for each in cached:
        each.cache_clear()


@BOTH
@pytest.mark.parametrize("format", ["png", "pdf"])
def test_letters_without_a_font_are_told(monkeypatch, tmp_path, without_fonts, program, format):
    only(program, monkeypatch, tmp_path)
    painting = paint(page(Words(20, 20, CJK, 12, BLACK), Words(20, 40, "编码器", 12, BLACK)), format)
    assert painting.data.startswith(STARTS[format])
    (warning,) = painting.warnings
    assert "no font" in warning
    assert "Noto Sans CJK" in warning
    assert "-f svg" in warning


@BOTH
def test_an_svg_keeps_all_letters_as_text(monkeypatch, tmp_path, without_fonts, program):
    only(program, monkeypatch, tmp_path)
    painting = paint(page(Words(20, 20, CJK, 12, BLACK)), "svg")
    assert written(painting.data) == [CJK]
    assert painting.warnings == ()


@pytest.mark.parametrize("text", ["plain", "Größe é ñ", "a → b × c · d – e …", "w\u0142\u0105"])
@pytest.mark.parametrize("format", ["png", "pdf"])
def test_letters_of_europe_need_no_font_of_the_system(monkeypatch, tmp_path, text, format):
    only(WHEEL, monkeypatch, tmp_path)
    assert paint(page(Words(20, 20, text, 12, BLACK)), format).warnings == ()
