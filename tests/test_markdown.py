"""Markdown: read by a CommonMark parser with tables, what comes from files is text and nothing else, and the page fits."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from modelscope_cli.render.markdown import MOST_BYTES, render
from modelscope_cli.render.markdown_text import code, code_in_html, cut, prose
from modelscope_cli.render.plain import visible
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import Column, Count, Document, Phrase, Report, Row, Table
from tests.documents import DOCUMENTS, HOSTILE, TEXTS, document, filled, sizes, twice

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
ELEMENTS = {
    "h3",
    "p",
    "strong",
    "em",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "code",
    "br",
    "sub",
    "ul",
    "li",
}
# What GitHub and GitLab make links, mentions, pictures and formulas of, anywhere in text that is not code.
ALIVE = re.compile(
    r"@|#|\$|://|www\.|:[\w+-]+:|\b[0-9a-f]{7,40}\b|\b[A-Za-z]+-\d|[\[\]{}`|_*<\\]|\w\.\w*[a-z]|![\w\[]|(?<!\w)%\w|&\w"
)
BELOW = re.compile(r"<(?=\d)")


class Page(HTMLParser):
    """The page as a browser has it: elements, open text, the text of each code, the cells of each row."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.elements: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.text: list[str] = []
        self.codes: list[str] = []
        self.rows: list[int] = []
        self.tables: list[list[int]] = []
        self.odd: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes.update(attrs)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append(0)
        if tag in ("td", "th"):
            self.tables[-1][-1] += 1
        if tag == "code":
            self.codes.append("")
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.odd.append(tag)

    def handle_data(self, data: str) -> None:
        if "code" in self.open:
            self.codes[-1] += data
        else:
            self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.odd.append(f"comment {data}")

    def handle_decl(self, decl: str) -> None:
        self.odd.append(f"declaration {decl}")


def parsed(markdown: str) -> Page:
    return Page(PARSER.render(markdown))


def check(page: Page) -> None:
    """Only our elements, each closed; no attribute but the alignment of figures; text that starts nothing; whole tables."""
    assert page.elements <= ELEMENTS
    assert page.attributes <= {("style", "text-align:right")}
    assert page.open == page.odd == []
    for text in page.text:
        assert not ALIVE.search(BELOW.sub("", text)), text
    for table in page.tables:
        assert len(table) >= 1
        assert len(set(table)) == 1


def shown(one, most_bytes: int | None = None) -> str:
    return render(one, Look(most_bytes=most_bytes)).decode()


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text_in_every_place_is_text(text):
    for one in (filled(text), twice(filled(text))):
        check(parsed(shown(one, 10_000_000)))


@pytest.mark.parametrize("text", [text for text in HOSTILE if visible(text).strip() and len(text) < 100], ids=ascii)
def test_hostile_names_are_all_there(text):
    page = parsed(shown(filled(text), 10_000_000))
    assert visible(text) in [*page.codes, *page.text]


@given(TEXTS)
@settings(max_examples=400, deadline=None)
def test_a_code_span_shows_what_it_holds(text):
    for markdown in (f"### {code(text)}\n", f"| a |\n| --- |\n| {code(text).replace('|', chr(92) + '|')} |\n"):
        page = parsed(markdown)
        assert page.codes == ([cut(visible(text), 160)] if text else [])
    assert Page(code_in_html(text)).codes == ([cut(visible(text), 160)] if text else [])


@given(TEXTS)
@settings(max_examples=400, deadline=None)
def test_prose_says_the_same_words(text):
    page = parsed(f"x {prose(text, 10**6)}\n")
    check(page)
    everything = "".join(token.content for block in PARSER.parse(f"x {prose(text, 10**6)}") for token in block.children or ())
    assert everything.split() == ["x", *visible(text).split()]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("uses model.layers.0.mlp, 39.9 % of the file", "uses `model.layers.0.mlp`, 39.9 % of the file"),
        ("~decoder layer", "\\~decoder layer"),
        ("<0.1", "&lt;0.1"),
        ("16,384 → 7,168", "16,384 → 7,168"),
        ("step, exp_avg, exp_avg_sq", "step, `exp_avg`, `exp_avg_sq`"),
        ("[0.9, 0.999]", "`[0.9, 0.999]`"),
        ("by @somebody in #12", "by `@somebody` in `#12`"),
        ("8 active a token (config.json)", "8 active a token (`config.json`)"),
        ("commit deadbeef", "commit `deadbeef`"),
        ("bfloat16 99.4 %", "`bfloat16` 99.4 %"),
    ],
)
def test_words_stand_open_and_names_are_code(text, written):
    assert prose(text) == written


@given(DOCUMENTS, st.one_of(st.integers(0, 3_000), st.integers(3_000, 100_000), st.none()))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_the_page_fits_and_is_whole(one, most_bytes):
    data = render(one, Look(most_bytes=most_bytes))
    assert len(data) <= (MOST_BYTES if most_bytes is None else most_bytes)
    check(parsed(data.decode()))


def test_an_ordinary_page():
    assert shown(document(rows=2)) == ORDINARY


def test_what_is_wrong_comes_before_the_rows_and_the_total_stays():
    page = shown(document(rows=5_000), 8_000)
    assert "**❌ 1 of 3 rules failed, 1 met nothing to judge**" in page
    assert "os.system" in page
    assert "**TOTAL**" in page
    written = page.count("| &nbsp;\u00a0\u00a0") + page.count("| `layer.")
    missing = 5_000 - written + 2  # the row that says "more" and [header] come after them
    assert f"| *… {missing:,} more* |" in page
    said = re.search(r"\*3 sections and ([0-9,]+) rows left out to fit 8 kB; the html and json reports have all.\*", page)
    assert said is None or said[1] == f"{missing:,}"
    assert f"{missing:,} rows left out to fit 8 kB; the html and json reports have all." in page


def test_rows_files_and_sections_left_out_are_counted():
    names = [f"run/{n:04}.pt" for n in range(400)]
    page = shown(document(*names), 60_000)
    listed = page.count("\n| `")
    folded = page.count("<summary>❌ <code>")
    assert 0 < folded < 400
    assert f"{400 - folded} files" in page
    assert listed >= 400


def test_counts_of_giants_are_short():
    assert "| 9,999,999,990 |" in shown(of_counts(9_999_999_990))
    assert "| 10.0\u00a0B |" in shown(of_counts(10_000_000_000))


def of_counts(count: int) -> Document:
    table = Table("t", "Counts", (Column("a", "A"), Column("b", "B")), [Row(("x", Count(count)))])
    return Document("s", [Report("s", "a.pt", [table])])


def test_a_page_without_limit_leaves_nothing_out():
    page = shown(document(rows=5_000), 10**9)
    assert "left out" not in page
    assert page.count("×2") == 5_000


def test_several_files_are_listed_and_folded():
    page = shown(document("a/one.pt", "a/two.pt", "b/model.safetensors", problems=2))
    assert page.startswith(
        "### 3 checkpoints\n\n**❌ 3 of 9 rules failed, 3 met nothing to judge**\n\n**2 inputs could not be read**\n\n- ❌ `broken0.pt`: "
    )
    assert "| `one.pt` | 128 B | 30 | ❌ 1 of 3 rules failed, 1 met nothing to judge |" in page
    assert "<summary>❌ <code>b/model.safetensors</code> · 128 B · 30 parameters · <code>float32</code></summary>" in page
    assert "\n| `layer.0`" in page


def test_files_of_one_name_are_told_apart():
    page = shown(document("a/x.pt", "b/x.pt"))
    assert "<code>a/x.pt</code>" in page
    assert "<code>b/x.pt</code>" in page


def test_a_file_that_cannot_be_read_in_full_says_so():
    assert "❌ Not everything could be read." in shown(document())


def test_a_line_that_only_sums_up_the_verdicts_is_not_said_twice():
    one = document()
    sections = [section._replace(caption="1 of 3 rules failed, 1 met nothing to judge") if section.key == "checks" else section
                for section in one.reports[0].sections]  # fmt: skip
    said = one.reports[0]._replace(sections=sections, headline=Phrase(("1 of 3 rules failed, 1 met nothing to judge",)))
    page = shown(one._replace(reports=[said]))
    assert page.count("of 3 rules failed") == 1
    assert "**128 B · 30 parameters · `float32`**" in page


def test_long_names_are_cut_by_characters_and_keep_both_ends():
    table = sizes(1, "é" * 5_000)
    one = document()
    page = shown(one._replace(reports=[one.reports[0]._replace(sections=[table])]))
    name = re.search(r"`(é+…é+\.0)` ×2|`(é+…[^`]*)`", page.replace("\u00a0", " "))
    assert name
    assert len(name[1] or name[2]) == 160


ORDINARY = """\
### `decoder.pth`

**❌ 1 of 3 rules failed, 1 met nothing to judge**

**128 B · 30 parameters · `float32`**

❌ Not everything could be read.

|  | Rule | Limit | Actual | Result |
| --- | --- | ---: | ---: | --- |
| ❌ | `max-share` `layer.*` | 30.0 % | 40.0 % | 40.0 % of the parameters<br>→ make it smaller |
| ⚠️ | `dtype` `lora_*` | `float16` |  | no module matches |
| ✅ | `max-bytes` | 1.0 KiB | 128 B | 128 B of at most 1.0 KiB |

<sub>rules of `mscope.toml`</sub>

| Module | Kind | Params | % | Bytes |
| --- | --- | ---: | ---: | ---: |
| `layer.0`\u00a0×2 | \\~Linear | 10 | 50.0 | 40\u00a0B |
| &nbsp;\u00a0\u00a0`layer.1`\u00a0×2 | \\~Linear | 10 | 50.0 | 40\u00a0B |
| (7 more) |  |  |  |  |
| `[header]` |  |  |  | 8\u00a0B |
| **TOTAL** |  | **20** | **100.0** | **88\u00a0B** |

<sub>\\~ kind inferred</sub>

- ❌ `b.bin`: it ends at byte 8
- ⚠️ `data.pkl`: loading it with pickle would import and call `os.system`

<details>
<summary>File</summary>

|  |  |
| --- | --- |
| File | `models/decoder.pth` |
| Size | 128 B |
| Parameters | 30 |
| Dtypes | `float32` |

</details>

<details>
<summary>By kind</summary>

| By kind | Change |
| --- | ---: |
| Linear | −30 |

</details>

<details>
<summary>Architecture</summary>

|  |  |
| --- | --- |
| Layers | 3 |

</details>

<details>
<summary>Findings</summary>

- ℹ️ 2 tied tensors, counted once: `a.weight` = `b.weight`

</details>
"""
