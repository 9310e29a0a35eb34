"""Netron itself in a real Chromium: our page without any other host, hostile names, and the pictures."""

from __future__ import annotations

import re
import shutil
import struct
import sys
import threading
import xml.etree.ElementTree as ElementTree
import zlib
from contextlib import ExitStack
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from modelscope_cli.bridges import chromium
from modelscope_cli.bridges.netron.page import assets
from modelscope_cli.bridges.netron.server import Server
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.engines import netron
from modelscope_cli.engines.registry import Wish
from modelscope_cli.errors import DrawingError
from modelscope_cli.formats.registry import read
from tests.browser.conftest import NAMES, lacking
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.torch_code import module, parameter, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.families import deepseek, llama
from tests.tables import checkpoint_of

SVG = "{http://www.w3.org/2000/svg}"
CANARY = '<img src=x onerror="window.owned=1">'
HOSTILE = {
    f"{CANARY}.0.{CANARY}.weight": ("F32", (2, 3)),
    f"{CANARY}.1.{CANARY}.weight": ("F32", (2, 3)),
    "</script><script>window.owned=1</script>.weight": ("F32", (4,)),
    "]]><script>window.owned=1</script>.weight": ("F32", (4,)),
    "javascript:window.owned=1.weight": ("F32", (4,)),
    "a\"b'c`${window.owned=1}.weight": ("F32", ()),
    f"{'x' * 10_000}.weight": ("F32", (5, 5)),
    "\x1b[2J\u202eevil\x00\x07.bias": ("F32", (1,)),
    "__proto__.weight": ("F32", (3, 3)),
    "constructor.weight": ("F32", (3, 3)),
}
WATCH = 'setInterval(() => { if (window.owned) console.error("owned"); }, 10);'


@pytest.fixture(scope="module", autouse=True)
def needed():
    if find_spec("netron") is None:
        lacking("netron")
    if next(filter(None, map(shutil.which, NAMES)), None) is None:
        lacking("Chromium")


@pytest.fixture
def hostile(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(HOSTILE))
    return read(str(path))


@pytest.fixture
def scripted(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "net.pt"
    torch.jit.script(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())).save(str(path))
    return read(str(path))


@pytest.fixture
def large(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "large.pt"
    torch.jit.script(torch.nn.Sequential(torch.nn.Linear(500, 500), torch.nn.ReLU())).save(str(path))
    return read(str(path))


@pytest.fixture
def visit(browser):
    """Opens the page of a checkpoint as a reader's browser would, other hosts out of reach."""
    contexts = []
    ended = ExitStack()

    def visited(checkpoint: Checkpoint, **options: str) -> SimpleNamespace:
        context = browser.new_context(viewport={"width": 1300, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        wish = Wish("browser")
        whole = netron.holds_graph(checkpoint, wish)
        model = ended.enter_context(netron.archive(checkpoint, values=True)) if whole else netron.drawing(checkpoint, wish)
        server = ended.enter_context(Server(assets(model, None)))
        shown = SimpleNamespace(page=page, requests=[], said=[])
        page.on("request", lambda request: shown.requests.append(request.url))
        page.on("console", lambda message: shown.said.append(message.text))
        page.on("pageerror", lambda error: shown.said.append(str(error)))
        page.on("dialog", lambda dialog: (shown.said.append(dialog.message), dialog.dismiss()))
        page.route("**/*", lambda route: route.continue_() if route.request.url.startswith(server.address) else route.abort())
        page.add_init_script(WATCH)
        page.goto(server.address)
        page.wait_for_selector("body.default")
        shown.address = server.address
        return shown

    yield visited
    for context in contexts:
        context.close()
    ended.close()


def check_quiet(shown) -> None:
    """No error was logged, and nothing was asked of anybody but our server."""
    shown.page.wait_for_timeout(300)
    assert shown.said == []
    assert shown.requests
    assert [url for url in shown.requests if not url.startswith(shown.address)] == []


def shows(shown, text: str) -> bool:
    """Whether a text is in the drawing. Netron and the policy let playwright evaluate nothing in the page."""
    return shown.page.locator("#canvas text").filter(has_text=text).count() > 0


def drawing(checkpoint, format: str = "svg", **options) -> bytes:
    return netron.draw(checkpoint, Wish(format, **options)).data


def words(svg: bytes) -> list[str]:
    return ["".join(part.itertext()) for part in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def size(png: bytes) -> tuple[int, int]:
    return struct.unpack(">II", png[16:24])


def test_a_drawing_of_ours_is_shown_with_no_word_to_anybody(visit):
    shown = visit(checkpoint_of(llama(4)))
    assert shows(shown, "4 × decoder layer")
    assert shows(shown, "gated MLP"), "the folded layer is open"
    for button in ("#sidebar-model-button", "#sidebar-target-button"):
        shown.page.locator(button).click()
        shown.page.wait_for_timeout(200)
    shown.page.keyboard.press("Control+f")
    shown.page.keyboard.type("weight")
    shown.page.wait_for_selector("#sidebar li")
    check_quiet(shown)


def test_a_torchscript_archive_is_shown_with_no_word_to_anybody(visit, scripted):
    shown = visit(scripted)
    assert shows(shown, "linear")
    check_quiet(shown)


def test_hostile_names_are_words(visit, hostile):
    shown = visit(hostile)
    assert shows(shown, CANARY)
    assert shown.page.locator("img").count() == 0
    for title in shown.page.locator(".node-item-type").all()[:6]:
        title.click(force=True)
        shown.page.wait_for_timeout(100)
    shown.page.keyboard.press("Control+f")
    shown.page.wait_for_timeout(200)
    check_quiet(shown)


def test_a_picture_of_hostile_names_holds_them_as_words(hostile):
    svg = drawing(hostile)
    root = ElementTree.fromstring(svg)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "title", "g", "rect", "path", "text", "tspan", "defs", "marker", "line",
    }  # fmt: skip
    assert not [name for element in root.iter() for name in element.attrib if name.lower().startswith("on") or "href" in name]
    assert any(CANARY in text for text in words(svg))
    assert float(root.get("width")) < 2000


def test_an_svg_needs_nothing_beside_it():
    svg = drawing(checkpoint_of(llama(4)))
    root = ElementTree.fromstring(svg)
    assert root[0].tag == f"{SVG}title"
    assert root[0].text == "model.pt"
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
    assert not re.search(rb"<script|@import|https?://(?!www\.w3\.org/)|url\((?!&quot;#|\"#|#)", svg)
    fonts = [element.get("style", "") for element in root.iter(f"{SVG}text")]
    assert fonts
    assert all("font-family" in font and "sans-serif" in font for font in fonts)
    assert all(float(element.get("textLength")) > 0 for element in root.iter(f"{SVG}text"))


@pytest.mark.parametrize("format", ["svg", "png", "pdf"])
def test_the_same_model_gives_the_same_picture(format):
    model = checkpoint_of(llama(2))
    assert drawing(model, format) == drawing(model, format)


def test_a_png_has_two_pixels_a_point():
    model = checkpoint_of(llama(2))
    root = ElementTree.fromstring(drawing(model))
    assert size(drawing(model, "png")) == (2 * int(root.get("width")), 2 * int(root.get("height")))


def test_a_tall_png_stays_within_what_viewers_open():
    shapes = {f"step{number}.weight": (number + 2, number + 3) for number in range(950)}
    width, height = size(drawing(checkpoint_of(shapes), "png"))
    assert 19_000 < max(width, height) <= 20_000


def test_a_pdf_is_one_page_of_the_size_of_the_drawing():
    model = checkpoint_of(deepseek(6, 2))
    root = ElementTree.fromstring(drawing(model))
    pdf = drawing(model, "pdf")
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf)) == 1
    box = [float(number) for number in re.search(rb"/MediaBox\s*\[([\d. ]+)\]", pdf)[1].split()]
    assert box[2] == pytest.approx(float(root.get("width")) * 0.75, abs=1.5)
    assert box[3] == pytest.approx(float(root.get("height")) * 0.75, abs=1.5)


def corner(png: bytes) -> tuple[int, ...]:
    """The colour of the upper left pixel; filters leave the first pixel of the first line as it is."""
    data, position = b"", 8
    while position < len(png):
        (length,) = struct.unpack(">I", png[position : position + 4])
        if png[position + 4 : position + 8] == b"IDAT":
            data += png[position + 8 : position + 8 + length]
        position += 12 + length
    return tuple(zlib.decompressobj().decompress(data, 4)[1:4])


def test_pictures_have_a_theme():
    model = checkpoint_of(llama(2))
    assert corner(drawing(model, "png")) == (255, 255, 255)
    assert corner(drawing(model, "png", theme="light")) == (255, 255, 255)
    assert corner(drawing(model, "png", theme="dark")) == (0x40, 0x40, 0x40)
    assert b"rgb(223, 223, 223)" in drawing(model, theme="dark")


def test_a_torchscript_archive_is_drawn_as_the_graph_it_holds(scripted):
    assert {"linear", "relu"} <= set(words(drawing(scripted)))


def test_parts_of_a_torchscript_archive_are_drawn_by_us(scripted):
    assert "Linear" in words(drawing(scripted, levels=1))


def test_a_large_torchscript_archive_is_drawn_without_its_numbers(large, monkeypatch):
    """A megabyte of weights, of which Netron gets none, makes the same picture."""
    whole = drawing(large)
    monkeypatch.setattr(netron, "SMALL", 0)
    monkeypatch.setattr(netron, "LARGEST", 20_000)
    assert drawing(large) == whole
    with netron.archive(large, values=True) as model:
        assert isinstance(model.content, bytes)
        assert len(model.content) < 20_000


def test_a_graph_that_netron_cannot_draw_is_drawn_from_names_which_is_said(scripted):
    with open(scripted.path, "wb") as file:
        file.write(b"PK\x03\x04 something else meanwhile")
    painting = netron.draw(scripted, Wish("svg"))
    assert painting.warnings[0].startswith("drawn from names and shapes: Netron cannot draw it: ")
    assert "Linear" in words(painting.data)


def test_a_pickled_module_is_drawn_folded_and_its_code_not_run(tmp_path):
    linear = {
        f"layer{number}": module("torch.nn.modules.linear.Linear", {"weight": parameter(tensor(str(number), (4, 4)))})
        for number in range(3)
    }
    path = tmp_path / "whole.pt"
    path.write_bytes(torch_zip_bytes(module("evil_canary.Net", **linear), dict.fromkeys("012", bytes(64))))
    drawn = words(drawing(read(str(path))))
    assert "Linear" in drawn
    assert "_modules:" not in drawn
    assert "evil_canary" not in sys.modules


def test_a_file_that_only_netron_reads(tmp_path):
    path = tmp_path / "net.netron"
    path.write_text('{"signature": "netron:test", "format": "Foreign", "graphs": [{"nodes": [{"type": {"name": "Foreign"}}]}]}')
    painting = netron.draw_file(str(path), Wish("svg"))
    assert words(painting.data) == ["Foreign"]
    assert b"<title>net.netron</title>" in painting.data


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("broken.onnx", b"\x08\x07\x12\xff\xff\xff", "cannot draw it: "),
        ("broken.netron", b'{"signature": "netron:x", ' + b" " * 80, "Unsupported|Invalid|Unexpected|Expected|nothing"),
        ("text.txt", b"hello", "Unsupported file content"),
        ("text.toml", b"hello", "it finds nothing to draw"),
        ("empty.onnx", b"", "cannot draw it: "),
    ],
)
def test_what_netron_cannot_read_is_said_in_its_words(tmp_path, name, data, said):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DrawingError, match=said):
        netron.draw_file(str(path), Wish("svg"))


def test_a_file_too_large_for_netron_is_refused_unread(tmp_path):
    path = tmp_path / "large.onnx"
    with open(path, "wb") as file:
        file.truncate(netron.LARGEST + 1)
    with pytest.raises(DrawingError, match="1,000,000,001 bytes are more than Netron takes") as raised:
        netron.draw_file(str(path), Wish("svg"))
    assert "application" in raised.value.hint


def test_serving_tells_the_address_once_and_ends_in_peace(monkeypatch):
    told = []
    ends = threading.Event()

    def interrupted(seconds: float) -> None:
        ends.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(netron.time, "sleep", interrupted)
    before = threading.active_count()
    netron.serve(checkpoint_of(llama(2)), Wish("browser"), told.append)
    assert ends.is_set()
    (address,) = told
    assert address.startswith("http://127.0.0.1:")
    assert threading.active_count() == before


def test_nothing_of_the_browser_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    drawing(checkpoint_of(llama(2)), "pdf")
    assert list(tmp_path.iterdir()) == []


def test_a_browser_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(chromium, "PATIENCE", 0.01)
    with pytest.raises(DrawingError, match="was not done after"):
        drawing(checkpoint_of(llama(2)))
