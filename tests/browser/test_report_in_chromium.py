"""The page of a report as a reader meets it: sorting, searching, folding, light and dark, narrow, on paper, hostile."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from modelscope_cli.analysis.byte_tree import byte_tree
from modelscope_cli.analysis.full_report import to_report
from modelscope_cli.analysis.overview import inspect
from modelscope_cli.bridges.graphviz import paint
from modelscope_cli.render.diagram import lay_out
from modelscope_cli.render.palette import THEMES
from modelscope_cli.render.registry import Look
from modelscope_cli.render.report_page import render
from modelscope_cli.report.document import (
    PICTURED,
    Areas,
    Bytes,
    Column,
    Count,
    Document,
    Drawing,
    Inferred,
    Problem,
    Report,
    Row,
    Table,
    Verdict,
    Verdicts,
)
from tests.browser.conftest import WATCH
from tests.tables import checkpoint_of, transformer
from tests.test_report_page import HOSTILE, hostile

SLOWEST = 3_000  # ms for seven changes of five thousand rows; some 300 are usual, and this is no benchmark
LONG = "very_long_name_" * 700
WHITE, NIGHT = "rgb(244, 246, 250)", "rgb(6, 10, 20)"


@pytest.fixture
def show(browser, tmp_path):
    """Opens a document. What comes back has `page`, `requests` (addresses) and `said` (console, errors, dialogs)."""
    contexts = []

    def opened(document: Document, fragment: str = "", size: tuple[int, int] = (1280, 900), **options):
        path = tmp_path / f"page{len(contexts)}.html"
        path.write_bytes(render(document, Look()))
        options = {"reduced_motion": "reduce", "color_scheme": "light", **options}
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        page = context.new_page()
        shown = SimpleNamespace(page=page, address=path.as_uri(), requests=[], said=[])
        page.on("request", lambda request: shown.requests.append(request.url.partition("#")[0]))
        page.on("console", lambda message: shown.said.append(message.text))
        page.on("pageerror", lambda error: shown.said.append(str(error)))
        page.on("dialog", lambda dialog: (shown.said.append(dialog.message), dialog.dismiss()))
        page.add_init_script(WATCH)
        page.goto(shown.address + fragment)
        return shown

    yield opened
    for context in contexts:
        context.close()


def settled(shown) -> None:
    """Nobody asked for anything but the page, and it had nothing to say."""
    assert {address for address in shown.requests if not address.startswith("data:")} == {shown.address}
    assert shown.said == []
    assert shown.page.evaluate("window.owned") is None


@pytest.fixture(scope="module")
def report() -> Report:
    """A model with checks, a drawing as our painter makes it, and a map."""
    from modelscope_cli.analysis import diagram
    from modelscope_cli.errors import DrawingError

    checkpoint = checkpoint_of(transformer(8, 64, hidden=256, vocabulary=2_000))
    overview = inspect(checkpoint)
    content = diagram.draw(checkpoint, diagram.DiagramOptions())
    pictures = [Areas("map", "Where the bytes are", byte_tree(overview))]
    try:
        drawn = [paint(lay_out(content, THEMES[theme]), "svg").data.decode() for theme in ("light", "dark")]
    except DrawingError:  # nothing here paints
        drawn = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9" width="900pt"><text>x</text></svg>'] * 2
    pictures.append(Drawing("diagram", "Diagram", *drawn))
    items = [
        Verdict("passed", "max-bytes", "", Bytes(9), Bytes(8), "fits"),
        Verdict("failed", "max-bytes", "lm_head", Bytes(9), Bytes(10), "is 1 B too large", "prune it"),
    ]
    return to_report(overview, PICTURED, verdicts=Verdicts("checks", "Checks", items), pictures=pictures)


def one(report: Report) -> Document:
    return Document(report.schema, [report])


def tree() -> Document:
    """A small tree whose rows are known: two blocks with parts, a fold, sections and a total."""
    rows = [
        Row(("model", None, Count(60), Bytes(600)), 0, "block"),
        Row(("embed", Inferred("Embedding"), Count(10), Bytes(100)), 1, "embedding"),
        Row(("layers", None, Count(50), Bytes(500)), 1, "block"),
        Row(("0–31 ×32", Inferred("decoder layer"), Count(20), Bytes(200)), 2, "block"),
        Row(("mlp", Inferred("Linear"), Count(9), Bytes(90)), 3, "mlp"),
        Row(("attn", Inferred("Linear"), Count(11), Bytes(110)), 3, "attention"),
        Row(("32,34,…,60 ×15", Inferred("decoder layer"), Count(30), Bytes(300)), 2, "block"),
        Row(("norm", Inferred("RMSNorm"), Count(30), Bytes(300)), 3, "norm"),
        Row(("head", Inferred("Linear"), Count(100), Bytes(1_000)), 0, "head"),
        Row(("[header]", None, None, Bytes(5_000)), 0, "section"),
        Row(("TOTAL", None, Count(160), Bytes(6_600)), 0, "total"),
    ]
    columns = (Column("label", "Module"), Column("kind", "Kind", show_from=112), Column("p", "Params"), Column("b", "Bytes"))
    table = Table("modules", "Modules", columns, rows, tree=True)
    return Document("s", [Report("s", "net.pt", [table])])


def labels(shown) -> list[str]:
    """The first cells of the rows that can be seen, without what tells copies."""
    return [text.partition(" ×")[0] for text in shown.page.locator("table.tree tbody tr:visible > th").all_inner_texts()]


EVERY = ["model", "embed", "layers", "0–31", "mlp", "attn", "32,34,…,60", "norm", "head", "[header]", "TOTAL"]


def test_opening_asks_for_nothing_and_says_nothing(show, report):
    shown = show(one(report))
    shown.page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    shown.page.wait_for_timeout(300)
    settled(shown)
    assert shown.page.title() == "model.pt · mscope"
    assert shown.page.locator(".badge.failed").inner_text() == "✗ 1 check failed"


def test_sorting_keeps_children_with_their_parent_and_the_end_at_the_end(show):
    shown = show(tree())
    heading = shown.page.locator("th", has_text="Params")
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert labels(shown) == [
        "head",
        "model",
        "layers",
        "32,34,…,60",
        "norm",
        "0–31",
        "attn",
        "mlp",
        "embed",
        "[header]",
        "TOTAL",
    ]
    shown.page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert labels(shown) == [
        "model",
        "embed",
        "layers",
        "0–31",
        "mlp",
        "attn",
        "32,34,…,60",
        "norm",
        "head",
        "[header]",
        "TOTAL",
    ]
    shown.page.keyboard.press("Space")
    assert heading.get_attribute("aria-sort") is None
    assert labels(shown) == EVERY
    shown.page.locator("thead button", has_text="Module").click()
    assert labels(shown)[0] == "head"
    assert shown.page.locator("[aria-sort]").count() == 1
    settled(shown)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("norm", ["model", "layers", "32,34,…,60", "norm"]),
        ("RMSNORM", ["model", "layers", "32,34,…,60", "norm"]),
        ("layers.17", ["model", "layers", "0–31", "mlp", "attn"]),
        ("layers.17.mlp", ["model", "layers", "0–31", "mlp"]),
        ("model.layers.36.norm", ["model", "layers", "32,34,…,60", "norm"]),
        ("linear mlp", ["model", "layers", "0–31", "mlp"]),
        ("layers.61", []),
        ("total", ["TOTAL"]),
    ],
)
def test_a_search_leaves_what_it_found_and_what_is_around_it(show, words, found):
    shown = show(tree())
    shown.page.fill("input", words)
    assert labels(shown) == found
    said = shown.page.locator(".tools output").inner_text()
    assert said == "No row says that." if not found else said.endswith("of 11 rows")
    shown.page.keyboard.press("Escape")
    assert labels(shown) == EVERY
    settled(shown)


def test_twigs_fold_by_mouse_and_by_keys(show):
    shown = show(tree())
    shown.page.get_by_role("button", name="Inside layers").click()
    assert labels(shown) == ["model", "embed", "layers", "head", "[header]", "TOTAL"]
    press = shown.page.keyboard.press
    press("ArrowLeft")
    press("ArrowLeft")
    assert labels(shown) == ["model", "head", "[header]", "TOTAL"]
    press("ArrowRight")
    press("ArrowRight")
    press("ArrowRight")
    press("ArrowDown")
    press("Enter")
    assert labels(shown) == [name for name in EVERY if name not in ("mlp", "attn")]
    assert shown.page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false"
    shown.page.get_by_role("button", name="Collapse all").click()
    assert labels(shown) == ["model", "head", "[header]", "TOTAL"]
    shown.page.fill("input", "attn")
    assert labels(shown) == ["model", "layers", "0–31", "attn"]
    shown.page.fill("input", "")
    assert labels(shown) == ["model", "head", "[header]", "TOTAL"]
    shown.page.get_by_role("button", name="Expand all").click()
    assert labels(shown) == EVERY
    settled(shown)


def test_one_switch_turns_the_page_its_drawing_and_its_map(show, report):
    def state(shown):
        return shown.page.evaluate(
            """() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector(".mscope-treemap")).colorScheme,
              getComputedStyle(document.querySelector(".in-dark")).display, getComputedStyle(document.querySelector(".in-light")).display]"""
        )

    light, dark = [WHITE, "light", "none", "block"], [NIGHT, "dark", "block", "none"]
    for scheme, before, after in (("light", light, dark), ("dark", dark, light)):
        shown = show(one(report), color_scheme=scheme)
        began = state(shown)
        assert [began[0], *began[2:]] == [before[0], *before[2:]]
        shown.page.get_by_role("button", name="Light or dark").first.click()
        assert state(shown) == after
        shown.page.get_by_role("button", name="Light or dark").first.click()
        assert state(shown) == before
        settled(shown)


def test_a_map_is_drawn_when_it_is_come_to(show, report):
    shown = show(Document("s", [report, report._replace(title="other.pt")]))
    shown.page.wait_for_timeout(200)
    assert shown.page.evaluate("window.drawn.length") == 0
    for number in (0, 1):
        shown.page.locator(".map-place").nth(number).scroll_into_view_if_needed()
        shown.page.locator(".map-place").nth(number).locator(".parts li").first.wait_for()
        assert shown.page.evaluate("window.drawn.map(({ by }) => by)") == ["bytes"] * (number + 1)
    settled(shown)


def test_links_open_what_is_folded_and_tell_where_one_is(show):
    rows = [Row((f"shard {number}", Count(number))) for number in range(80)]
    table = Table("shards", "Shards", (Column("a", "Shard"), Column("b", "Tensors")), rows)
    shown = show(Document("s", [Report("s", "net.pt", [tree().reports[0].sections[0], table])]))
    assert not shown.page.get_by_text("shard 79").is_visible()
    shown.page.locator(".top").get_by_role("link", name="Shards").click()
    assert shown.page.get_by_text("shard 79").is_visible()
    shown.page.wait_for_function("document.querySelector('.top [aria-current]')?.textContent === 'Shards'")
    settled(shown)


@pytest.mark.parametrize("content", ["model", "hostile", "several", "long"])
def test_nothing_leaves_a_telephone(show, report, content):
    document = {
        "model": one(report),
        "hostile": hostile(HOSTILE[0]),
        "several": Document("s", [report, report._replace(title="a/" * 80 + "b")], [Problem("E", LONG, LONG)]),
        "long": hostile(LONG),
    }[content]
    for size in ((390, 844), (1280, 900)):
        shown = show(document, size=size)
        for place in shown.page.locator(".map-place").all():
            place.scroll_into_view_if_needed()
            place.locator(".parts li").first.wait_for()
        for search in shown.page.locator("main .tools:visible button").all():
            search.click()
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        outside = shown.page.evaluate(
            """[...document.querySelectorAll("button:not(.box *, .paper *), input, h1, h2, .tile")]
              .filter((one) => one.getBoundingClientRect().right > innerWidth + 1).length"""
        )
        assert outside == 0
        settled(shown)


def test_it_is_a_document_without_scripts(show, report):
    shown = show(one(report), java_script_enabled=False)
    assert shown.page.locator("table.tree tbody tr:visible").count() > 10
    assert shown.page.locator("button:visible, input:visible").count() == 0
    assert shown.page.locator(".in-light").is_visible()
    assert shown.page.locator("summary").first.is_visible()


def test_paper_has_everything_and_no_controls(show, report):
    rows = [Row((f"shard {number}", Count(number))) for number in range(80)]
    table = Table("shards", "Shards", (Column("a", "Shard"), Column("b", "Tensors")), rows)
    shown = show(one(report._replace(sections=[*report.sections, table])), color_scheme="dark")
    page = shown.page
    page.get_by_role("button", name="Collapse all").click()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("table.tree tbody tr:visible").count() == page.locator("table.tree tbody tr").count() > 10
    assert page.get_by_text("shard 79").is_visible()
    assert (
        page.locator("button:visible").count()
        == page.locator(".mscope-treemap nav button:visible, thead button:visible").count()
    )
    assert page.locator(".in-light").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("window.drawn.length") >= 1
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert not page.get_by_text("shard 79").is_visible()
    settled(shown)


def test_a_drawing_fits_or_has_its_size(show, report):
    shown = show(one(report), size=(600, 800))
    drawn = shown.page.locator(".in-light svg")
    fitted = drawn.bounding_box()["width"]
    assert fitted <= 600
    shown.page.get_by_role("button", name="Actual size").click()
    assert drawn.bounding_box()["width"] > fitted
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= 600
    settled(shown)


def test_keys_reach_the_content_first(show):
    shown = show(tree())
    shown.page.keyboard.press("Tab")
    assert shown.page.evaluate("document.activeElement.textContent") == "Skip to the report"
    shown.page.keyboard.press("Enter")
    assert shown.page.evaluate("document.activeElement.id") == "content"


@pytest.mark.parametrize("name", [*HOSTILE, "nul\0", "]]>"])
def test_names_do_nothing(show, name):
    shown = show(hostile(name))
    page = shown.page
    for button in page.locator("thead button:visible").all():
        button.click()
    for field in page.locator(".tools input:visible").all():
        field.fill(name.replace("\0", ""))
    for place in page.locator(".map-place").all():
        place.scroll_into_view_if_needed()
        place.locator(".parts li").first.wait_for()
    page.goto(f"{shown.address}#{name}".replace("\0", "").encode("utf-8", "replace").decode())
    page.wait_for_timeout(50)
    assert page.locator("img, body script:not([type])").count() == 1
    settled(shown)


def test_five_thousand_rows_answer_at_once(show):
    rows = []
    for number in range(500):
        rows.append(Row((f"blocks.{number}", Count(number), Bytes(number * 7 % 501)), 0, "block"))
        rows += [Row((f"part.{part}", Count(part), Bytes(part)), 1, "linear") for part in range(9)]
    columns = (Column("label", "Module"), Column("p", "Params"), Column("b", "Bytes"))
    shown = show(Document("s", [Report("s", "net.pt", [Table("modules", "Modules", columns, rows, tree=True)])]))
    changes = """() => {
      const began = performance.now();
      const click = (text) => [...document.querySelectorAll("main button")].find((one) => one.textContent === text).click();
      for (const text of ["Expand all", "Bytes", "Bytes", "Collapse all"]) click(text);
      const field = document.querySelector("input");
      for (const text of ["b", "blocks.4", ""]) { field.value = text; field.dispatchEvent(new Event("input")); }
      return performance.now() - began;
    }"""
    took = [shown.page.evaluate(changes) for _ in range(3)]
    assert min(took) < SLOWEST  # of three: other programs may want the processor too
    settled(shown)
