"""The treemap page as a reader meets it: pointer, keys, address, dark, narrow, hostile, and ninety thousand tensors."""

from __future__ import annotations

import itertools
import re

import pytest

from modelscope_cli.analysis.byte_tree import byte_tree
from modelscope_cli.analysis.overview import inspect
from modelscope_cli.render.treemap_page import Start, component, page, script, style
from tests.tables import checkpoint_of, linear, transformer
from tests.test_treemap_page import hostile

LAYERS = 8
SLOWEST = 1_000  # ms for a drawing; some 30 are usual, and this is no benchmark
MAP = ".mscope-treemap canvas[tabindex]"
POINT = """(path) => {
  const map = document.querySelector(".mscope-treemap canvas[tabindex]");
  const { left, top, right, bottom } = map.getBoundingClientRect();
  for (let clientY = top + 3; clientY < bottom; clientY += 6) {
    for (let clientX = left + 3; clientX < right; clientX += 6) {
      map.dispatchEvent(new MouseEvent("mousemove", { clientX, clientY }));
      if (document.querySelector(".tip strong")?.textContent === path) return [clientX, clientY];
    }
  }
  return null;
}"""

# From now on window.words has the boxes, in the map, of the words of the latest drawing.
RECORD = """() => {
  const [pen, base] = [CanvasRenderingContext2D.prototype, document.querySelector(".map canvas")];
  const [write, wipe] = [pen.fillText, pen.fillRect];
  const scale = base.width / base.clientWidth;
  pen.fillRect = function (x, y, width, height) {
    if (this.canvas === base && width === base.clientWidth && height === base.clientHeight) window.words = [];
    return wipe.call(this, x, y, width, height);
  };
  pen.fillText = function (text, x, y) {
    const box = this.measureText(text);
    const ends = [[x, y - box.actualBoundingBoxAscent], [x + box.width, y + box.actualBoundingBoxDescent]];
    const corners = ends.map((end) => new DOMPoint(...end).matrixTransform(this.getTransform()));
    const [xs, ys] = [corners.map((corner) => corner.x / scale), corners.map((corner) => corner.y / scale)];
    window.words.push([text, Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)]);
    return write.call(this, text, x, y);
  };
}"""


@pytest.fixture(scope="module")
def model() -> bytes:
    return page(byte_tree(inspect(checkpoint_of(transformer(LAYERS, 64, hidden=256, vocabulary=2_000)))))


def crumbs(shown) -> list[str]:
    return shown.page.locator(".mscope-treemap nav button").all_inner_texts()


def expect(locator):
    """Playwright's assertions, which wait."""
    from playwright.sync_api import expect

    return expect(locator)


def chosen(shown) -> str:
    return shown.page.locator(".mscope-treemap .chosen b").first.inner_text()


def cell(shown, path: str) -> tuple[float, float]:
    """A point on the map whose tip names this path."""
    point = shown.page.evaluate(POINT, path)
    assert point, f"no cell says {path}"
    shown.page.mouse.move(*point)
    return point


def picture(shown) -> str:
    return shown.page.evaluate("document.querySelector('.map canvas').toDataURL()")


def settled(shown) -> None:
    """Nobody asked for anything but the page, and it had nothing to say."""
    assert set(shown.requests) == {shown.address}
    assert shown.said == []
    assert shown.page.evaluate("window.owned") is None


def test_opening_asks_for_nothing_and_says_nothing(show, model):
    shown = show(model)
    shown.page.wait_for_timeout(200)
    settled(shown)
    assert "parameters" in shown.page.locator(".mscope-treemap .title").inner_text()
    assert shown.page.locator(".legend li").count() >= 4


def test_a_click_zooms_in_and_crumbs_lead_out(show, model):
    shown = show(model)
    shown.page.mouse.click(*cell(shown, "model.layers.5"))
    assert crumbs(shown) == ["model.pt", "model", "layers", "5"]
    assert shown.page.url.endswith("#path=model.layers.5")
    shown.page.locator("nav button", has_text="layers").click()
    assert crumbs(shown) == ["model.pt", "model", "layers"]
    shown.page.go_back()
    assert crumbs(shown)[-1] == "5"
    shown.page.go_back()
    assert crumbs(shown) == ["model.pt"]
    settled(shown)


def test_a_click_on_a_piece_of_one_tensor_goes_to_what_is_around_it(show, model):
    shown = show(model)
    shown.page.mouse.click(*cell(shown, "model.layers.2.mlp.up_proj"))
    assert crumbs(shown)[-2:] == ["2", "mlp"]
    assert chosen(shown) == "model.layers.2.mlp.up_proj"


def test_the_tip_tells_everything(show, model):
    shown = show(model)
    cell(shown, "model.layers.2.mlp.up_proj")
    tip = shown.page.locator(".tip").inner_text()
    for fact in ("Linear 64 → 256", "256 × 64 float32 · weight", "16,384 parameters", "64.0 KiB (65,536 bytes)", "of mlp"):
        assert fact in tip


def test_keys_alone_are_enough(show, model):
    shown = show(model)
    shown.page.focus(MAP)
    press = shown.page.keyboard.press
    press("ArrowRight")
    assert chosen(shown) == "model"
    press("ArrowDown")
    press("ArrowDown")
    assert chosen(shown) == "model.layers.0"
    press("ArrowRight")
    press("ArrowRight")
    press("ArrowLeft")
    assert chosen(shown) == "model.layers.1"
    press("End")
    assert chosen(shown) == f"model.layers.{LAYERS - 1}"
    press("ArrowUp")
    assert chosen(shown) == "model.layers"
    press("Enter")
    assert crumbs(shown) == ["model.pt", "model", "layers"]
    press("Escape")
    press("Backspace")
    assert crumbs(shown) == ["model.pt"]
    assert shown.page.evaluate("document.activeElement.tabIndex") == 0
    settled(shown)


def test_finding_counts_dims_and_goes_from_one_to_the_next(show, model):
    shown = show(model)
    before = picture(shown)
    shown.page.focus(MAP)
    shown.page.keyboard.press("/")
    shown.page.keyboard.type(r"layers\.[25]\.mlp")
    expect(shown.page.locator(".found")).to_have_text(re.compile(r"6 tensors · 98\.3 k parameters .*"))
    assert picture(shown) != before
    shown.page.keyboard.press("Enter")
    first = chosen(shown)
    shown.page.keyboard.press("Enter")
    second = chosen(shown)
    shown.page.keyboard.press("Enter")
    assert (first, second, chosen(shown)) == ("model.layers.2.mlp", "model.layers.5.mlp", "model.layers.2.mlp")
    shown.page.keyboard.press("Escape")
    expect(shown.page.locator(".found")).to_be_empty()
    assert picture(shown) == before
    settled(shown)


def test_half_a_pattern_is_no_error(show, model):
    shown = show(model)
    shown.page.fill("input", "layers.(")
    expect(shown.page.locator(".found")).to_have_text("Not a regular expression yet: Unterminated group")
    shown.page.fill("input", "no such name")
    expect(shown.page.locator(".found")).to_have_text("No tensor has a name like that.")
    settled(shown)


def test_layout_and_measure_change_the_picture_and_the_address(show, model):
    shown = show(model)
    pictures = {picture(shown)}
    for name in ("Icicle", "Bytes", "Treemap"):
        shown.page.get_by_role("button", name=name).click()
        pictures.add(picture(shown))
    assert len(pictures) == 4
    assert shown.page.url.endswith("#by=bytes")
    assert shown.page.get_by_role("button", name="Bytes").get_attribute("aria-pressed") == "true"
    settled(shown)


def test_arrows_follow_the_icicle(show, model):
    shown = show(model, "#view=icicle&path=model.layers")
    shown.page.focus(MAP)
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowRight"):
        shown.page.keyboard.press(key)
    assert chosen(shown).startswith("model.layers.2.")


def test_an_address_opens_where_it_says(show, model):
    shown = show(model, "#path=model.layers.3.mlp&view=icicle&by=bytes&theme=dark&find=up")
    assert crumbs(shown)[-2:] == ["3", "mlp"]
    assert shown.page.evaluate("window.drawn.at(-1)")["view"] == "icicle"
    assert shown.page.evaluate("window.drawn.at(-1)")["by"] == "bytes"
    assert shown.page.locator("section").get_attribute("data-theme") == "dark"
    assert shown.page.input_value("input") == "up"
    settled(shown)


def test_a_page_can_start_inside(show):
    treemap = byte_tree(inspect(checkpoint_of(transformer(4, 8))))
    shown = show(page(treemap, Start("model.layers.1", "icicle", "bytes", "dark")))
    assert crumbs(shown) == ["model.pt", "model", "layers", "1"]
    assert shown.page.evaluate("window.drawn.at(-1)")["view"] == "icicle"
    assert shown.page.locator("section").get_attribute("data-theme") == "dark"
    shown.page.locator("nav button").first.click()
    assert crumbs(shown) == ["model.pt"]
    shown.page.reload()
    assert crumbs(shown) == ["model.pt"]
    shown.page.go_back()
    assert crumbs(shown)[-1] == "1"
    settled(shown)


@pytest.mark.parametrize("fragment", ["#path=nowhere", "#path=model.layers.99&view=x&by=y&theme=z", "#", "#%", "#find=("])
def test_an_address_that_means_nothing_shows_the_whole(show, model, fragment):
    shown = show(model, fragment)
    assert crumbs(shown) == ["model.pt"]
    settled(shown)


def test_dark_follows_the_system_and_the_button(show, model):
    def paper(shown) -> str:
        return shown.page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = show(model), show(model, color_scheme="dark")
    assert paper(light) == "rgb(255, 255, 255)"
    assert paper(dark) == "rgb(11, 17, 32)"
    light.page.get_by_role("button", name="Light or dark").click()
    dark.page.get_by_role("button", name="Light or dark").click()
    assert paper(light) == "rgb(11, 17, 32)"
    assert paper(dark) == "rgb(255, 255, 255)"
    assert light.page.url.endswith("#theme=dark")
    settled(light)


@pytest.mark.parametrize("view", ["treemap", "icicle"])
@pytest.mark.parametrize("content", ["model", "hostile"])
def test_a_telephone_is_wide_enough(show, model, content, view):
    data = model if content == "model" else page(hostile())
    shown = show(data, f"#view={view}", (390, 844), has_touch=True, is_mobile=True)
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= 390
    outside = "[...document.querySelectorAll('button, input')].filter((one) => one.getBoundingClientRect().right > 391).length"
    assert shown.page.evaluate(outside) == 0
    shown.page.locator(".parts button").first.tap()
    assert len(crumbs(shown)) == 2 or content == "hostile"
    settled(shown)


def test_the_list_says_the_same_and_leads_in(show, model):
    shown = show(model)
    assert shown.page.locator(".parts .name").all_inner_texts()[0] == "model"
    shown.page.locator(".parts button").first.click()
    assert crumbs(shown) == ["model.pt", "model"]


def test_ties_are_told(show):
    shapes = linear("embed", 8, 4, bias=False) | linear("head", 8, 4, bias=False)
    shown = show(page(byte_tree(inspect(checkpoint_of(shapes, ties={"head.weight": "embed.weight"})))), "#path=head")
    assert "tied to embed.weight" in shown.page.locator(".chosen").inner_text()


def test_too_many_neighbours_are_bundled(show):
    treemap = byte_tree(inspect(checkpoint_of({f"blocks.{number}.weight": (4, 4) for number in range(3_000)})))
    shown = show(page(treemap), "#path=blocks")
    assert shown.page.locator(".parts .name").all_inner_texts()[:2] == ["0–99", "100–199"]
    shown.page.locator(".parts button").nth(12).click()
    assert crumbs(shown) == ["model.pt", "blocks", "1200–1299"]
    shown.page.reload()
    assert crumbs(shown)[-1] == "1200–1299"
    shown.page.goto(f"{shown.address}#path=blocks.2345.weight")
    assert chosen(shown) == "blocks.2345.weight"
    settled(shown)


@pytest.mark.parametrize("size", [(1400, 900), (900, 700), (390, 844)])
@pytest.mark.parametrize("view", ["treemap", "icicle"])
def test_no_words_stand_on_others_or_over_the_edge(show, model, view, size):
    shown = show(model, f"#view={view}", size)
    shown.page.evaluate(RECORD)
    for name in ("Bytes", "Parameters"):
        shown.page.get_by_role("button", name=name).click()
    map_box = shown.page.locator(MAP).bounding_box()
    words = shown.page.evaluate("window.words")
    assert len(words) > LAYERS / 2
    for text, x0, y0, x1, y1 in words:
        assert 0 <= x0 < x1 <= map_box["width"], text
        assert 0 <= y0 < y1 <= map_box["height"], text
    for one, other in itertools.combinations(words, 2):
        apart = one[3] <= other[1] or other[3] <= one[1] or one[4] <= other[2] or other[4] <= one[2]
        assert apart, (one, other)


def test_names_do_nothing(show):
    shown = show(page(hostile()))
    box = shown.page.locator(MAP).bounding_box()
    for step in range(1, 20):
        shown.page.mouse.move(box["x"] + box["width"] * step / 20, box["y"] + box["height"] * step / 20)
    for part in range(shown.page.locator(".parts button").count()):
        shown.page.locator(".parts button").nth(part).click()
        shown.page.goto(shown.address)
    for path in ("__proto__", "constructor", "</script><script>alert(1)</script>", "javascript:alert(1)"):
        shown.page.goto(f"{shown.address}#path={path}&find={path}")
        assert "tied to" not in shown.page.locator(".chosen").inner_text()
    shown.page.wait_for_timeout(200)
    assert shown.page.locator("img, section script:not([type])").count() == 0
    settled(shown)


def test_zooming_with_motion_ends_in_the_picture_without(show, model):
    still, moving = show(model), show(model, reduced_motion="no-preference")
    for shown in (still, moving):
        shown.page.mouse.click(*cell(shown, "model.layers.5"))
        shown.page.mouse.move(1, 1)
    moving.page.wait_for_timeout(700)
    assert picture(moving) == picture(still)
    settled(moving)


def test_two_maps_in_one_page(show, model):
    treemap = byte_tree(inspect(checkpoint_of(transformer(2, 8))))
    parts = "".join([component(treemap), component(treemap, linked=True)])
    text = f"<!doctype html><meta charset=utf-8><style>{style()}</style><body>{parts}<script>{script()}</script>"
    shown = show(text.encode())
    assert shown.page.locator(".map").count() == 2
    shown.page.locator(".parts").first.locator("button").first.click()
    assert shown.page.url == shown.address
    shown.page.locator(".parts").last.locator("button").first.click()
    assert shown.page.url == f"{shown.address}#path=model"
    settled(shown)


def test_ninety_thousand_tensors_are_drawn_at_once(show):
    parts = ("gate_proj", "up_proj", "down_proj")
    shapes = {
        f"model.layers.{n // 900}.mlp.experts.{n % 900 // 3}.{parts[n % 3]}.weight": (1_000 + n % 7, 7168)
        for n in range(90_000)
    }
    shown = show(page(byte_tree(inspect(checkpoint_of(shapes)))), size=(1600, 1100))
    views = ("Icicle", "Bytes", "Treemap", "Parameters")
    for name in views * 3:
        shown.page.get_by_role("button", name=name).click()
    drawn = shown.page.evaluate("window.drawn")
    assert len(drawn) == 1 + 3 * len(views)
    assert drawn[-1]["cells"] > 5_000
    for place, name in enumerate(views, 1):  # the fastest of three: other programs may want the processor too
        assert min(each["ms"] for each in drawn[place :: len(views)]) < SLOWEST, name
    settled(shown)
