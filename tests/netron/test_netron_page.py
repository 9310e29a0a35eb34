"""What is written anew in Netron's page, and names of models in it."""

from __future__ import annotations

import re
import sys

import pytest

from modelscope_cli.bridges.netron import page
from modelscope_cli.bridges.netron.page import Model, assets, wheel_folder
from modelscope_cli.errors import DrawingError, MissingExtraError


def index(theme: str | None = None, name: str = "net.onnx", title: str = "net", ours: bool = False, *scripts: str) -> str:
    content = assets(Model(name, title, b"", ours), theme, *scripts)[""].content
    assert isinstance(content, bytes)
    return content.decode()


def test_neither_telemetry_nor_an_expiry_date_is_left(wheel):
    text = index()
    assert re.findall(r'<meta name="version" content="(.*?)">', text) == ["0.0.0"]
    assert 'name="date"' not in text
    assert ("Set-Cookie", "consent=1; SameSite=Strict") in page.HEADERS


def test_a_page_that_is_built_otherwise_is_refused(wheel):
    (wheel / "index.html").write_text("<html></html>")
    with pytest.raises(DrawingError, match="in a way not known here"):
        index()


@pytest.mark.parametrize(
    "name",
    ['"><script>alert(1)</script>.onnx', "a\x1b[2J\u202eb.onnx", "'&<>.onnx", "a\nb.onnx", "\\1\\g<0>.onnx", "x\ud800.onnx"],
)
def test_a_hostile_name_is_text(wheel, name):
    text = index(name=name, title=name)
    assert "<script>" not in text
    assert "\x1b" not in text
    assert text.count("<meta") == index().count("<meta")
    assert '<meta name="file" content="/data/model.onnx">' in text


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.onnx", "data/model.onnx"),
        ("net", "data/model"),
        ("a/b.tar.gz", "data/model.tar.gz"),
        ("x./../../etc", "data/model"),
        ("x.%2e%2e", "data/model"),
        ("x." + "y" * 500, "data/model"),
    ],
)
def test_of_a_name_only_the_suffix_gets_into_the_address(name, path):
    assert page.model_path(name) == path


def test_a_theme_is_forced_on_the_page_and_its_style(wheel):
    assert "prefers-color-scheme" in index()
    assert "@media all {" in index("dark")
    assert "@media not all {" in index("light")
    assert assets(Model("a", "a", b""), "dark")["grapher.css"].content.startswith(b"@media all {")


def test_only_a_drawing_of_ours_is_marked(wheel):
    assert 'name="mscope"' in index(ours=True)
    assert 'name="mscope"' not in index(ours=False)
    assert '<script src="mscope-export.js"></script>' in index(None, "a", "a", True, "export.js")


def test_without_netron_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "netron", None)
    with pytest.raises(MissingExtraError, match="the engine netron needs"):
        wheel_folder()
