"""The gallery shows what the command draws today, and the documentation lists the engines there are."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from examples.draw_gallery import PICTURES
from modelscope_cli.cli.visualize import HELP
from modelscope_cli.engines.registry import ENGINES, FORMATS, engines_for
from tests.command import mscope
from tests.painters import NEEDS_WHEEL, written

ROOT = Path(__file__).resolve().parent.parent
GALLERY = ROOT / "docs" / "gallery"


def kept(name: str) -> bytes:
    return (GALLERY / f"{name}.svg").read_bytes()


@NEEDS_WHEEL
def test_the_picture_of_the_readme_is_what_the_command_draws(tmp_path):
    picture = tmp_path / "decoder_small.svg"
    mscope("visualize", ROOT / "examples" / "decoder_small.pth", "-o", picture)
    assert written(picture.read_bytes()) == written(kept("decoder_small"))


def test_every_picture_is_shown_and_every_shown_picture_is_there():
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\(gallery/([\w.-]+)\.svg\)", page)) | set(re.findall(r"\(docs/gallery/([\w.-]+)\.svg\)", readme))
    assert shown == {file.stem for file in GALLERY.glob("*.svg")} == set(PICTURES)


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_pictures_are_well_formed_and_ask_for_nothing(name):
    root = ElementTree.fromstring(kept(name))
    assert not [value for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")]
    assert not list(root.iter("{http://www.w3.org/2000/svg}image"))


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("decoder", {"50.5 M", "40.0 %", "6 ×"}),
        ("llama-2-7b", {"32 ×", "202.4 M each", "96.1 %", "one of 32", "all 32"}),
        ("mixtral-8x7b", {"32 ×", "8 ×", "one of 256", "58.7 M"}),
        ("deepseek-v3", {"58 ×", "256 ×", "one of 14,848", "97.8 %"}),
        ("gpt2_tied", {"tied to tok_emb.weight", "38.6 M", "31.0 %"}),
        ("resnet50", {"Conv2d + BN", "5 ×"}),
        ("training_checkpoint", {"Bytes of the file: 5.0 MiB", "48.4 %"}),
    ],
)
def test_pictures_have_the_figures_of_their_models(name, texts):
    assert texts <= set(written(kept(name)))


def test_readme_and_help_list_the_engines():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for engine in ENGINES:
        assert f"| `{engine.name}` | {', '.join(engine.formats)} |" in readme
        assert re.search(rf"^  {engine.name} +{' '.join(engine.formats)} ", HELP, re.MULTILINE)


def test_every_format_has_an_engine():
    assert all(engines_for(format) for format in FORMATS)
    assert [engines_for(format)[0].name for format in ("pdf", "svg", "png", "dot", "html")] == ["diagram"] * 4 + ["treemap"]
