"""Text measured without a font: never narrower than the usual fonts paint it, and shortened until it fits."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import ImageFont

from modelscope_cli.render.letters import SLACK, fitted, width
from tests.drawn import diagram_of, scene_of, texts
from tests.families import FAMILIES


@pytest.mark.parametrize(
    "text", ["", "a", "iiii", "WWWWWWWW", "n" * 10_000, "层" * 500, "🦙" * 70, "e\u0301" * 90, "a·b – c → d × e"]
)
@pytest.mark.parametrize("room", [0, 3, 11.4, 12, 60, 250.0])
def test_fitted_text_fits(text, room):
    short = fitted(text, room, 11.5)
    assert width(short, 11.5) <= room + SLACK * 2
    assert short == text if width(text, 11.5) <= room else len(short) < len(text)


FONTS = (
    ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", False),
    ("/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf", True),
    ("/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf", False),
    ("/usr/share/fonts/truetype/liberation/LiberationSans-Bold.ttf", True),
)


@pytest.mark.parametrize(("path", "bold"), FONTS)
def test_text_is_measured_no_narrower_than_the_usual_fonts_paint_it(path, bold):
    if not Path(path).exists():
        pytest.skip("the font is not here")
    font = ImageFont.truetype(path, 1000, layout_engine=ImageFont.Layout.BASIC)
    for text in {text for shapes in FAMILIES.values() for text in texts(scene_of(diagram_of(shapes)))} | {
        bytes(range(32, 127)).decode()
    }:
        assert font.getlength(text) <= width(text, 1000, bold=bold) * 1.01, text
