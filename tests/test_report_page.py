"""The page of a report: real tables that say everything, nothing from outside, nothing that a name could do; and small."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from html.parser import HTMLParser

import pytest

from modelscope_cli.analysis.byte_tree import byte_tree
from modelscope_cli.analysis.full_report import to_report
from modelscope_cli.analysis.overview import inspect
from modelscope_cli.render.inline_svg import NotAPictureError, inline
from modelscope_cli.render.plain import UNSAFE, visible
from modelscope_cli.render.registry import Look
from modelscope_cli.render.report_page import render, script, style
from modelscope_cli.report.document import (
    MACHINES,
    PICTURED,
    Areas,
    Bytes,
    BytesChange,
    Column,
    Count,
    Document,
    Drawing,
    Fact,
    Facts,
    Finding,
    Findings,
    Inferred,
    Phrase,
    Problem,
    Ratio,
    RatioChange,
    Report,
    Row,
    Table,
    Verdict,
    Verdicts,
)
from tests.tables import checkpoint_of, transformer
from tests.test_treemap_page import HOSTILE

MOST_BYTES = 3_000_000
SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">{}</svg>'
PICTURE = SVG.format('<g id="node1"><a xlink:title="a tip"><text x="1" fill="#0f172a">layers</text></a></g>')
VOID = frozenset({"meta", "link", "input", "br", "wbr"})


class Page(HTMLParser):
    """The elements of a page: (tag, attributes, text of it and all in it) in order of their beginnings."""

    def __init__(self, data: bytes):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(data.decode())
        self.close()
        assert not self.open, "elements that nothing ends"

    def handle_starttag(self, tag, attributes):
        element = (tag, dict(attributes), [])
        assert len(element[1]) == len(attributes), f"an attribute given twice: {attributes}"
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, _, text in self.open:
            text.append(data)

    def all(self, tag: str, kind: str | None = None) -> list[str]:
        """The texts of the elements of a tag, and of a class."""
        return [
            "".join(text)
            for name, attributes, text in self.elements
            if name == tag and (kind is None or kind in (attributes.get("class") or "").split())
        ]

    def attributes(self, key: str) -> list[str]:
        return [value for _, attributes, _ in self.elements if (value := attributes.get(key)) is not None]


def report_of(*sections, title: str = "models/net.pt", **rest) -> Report:
    return Report("mscope.report/1", title, sections, **rest)


def document(*reports: Report, problems=()) -> Document:
    return Document("mscope.report/1", reports, problems)


def shown(*sections, **rest) -> Page:
    return Page(render(document(report_of(*sections, **rest)), Look()))


def model(layers: int = 4) -> Report:
    overview = inspect(checkpoint_of(transformer(layers)))
    pictures = [Drawing("diagram", "Diagram", PICTURE, PICTURE), Areas("map", "Where the bytes are", byte_tree(overview))]
    return to_report(overview, PICTURED, pictures=pictures)


def hostile(name: str) -> Document:
    """Everything that can hold a name holds this one."""
    columns = (Column("label", name), Column("bytes", name), Column("kind", name, show_from=112))
    rows = [Row((name, Bytes(3), Phrase((name, Count(4)))), level, "linear") for level in (0, 1, 2)]
    overview = inspect(checkpoint_of({"n": (2, 2)}))
    sections = (
        Facts("", "", [Fact("path", "File", name, f"{name}  ·  {name}"), Fact("x", name, {name: Bytes(1)}, None)]),
        Facts("more", name, [Fact("y", name, Inferred(name), None)]),
        Verdicts("checks", name, [Verdict("failed", name, name, name, name, Phrase((name,)), name)], caption=name),
        Table("modules", name, columns, rows, tree=True, caption=name),
        Findings("findings", name, [Finding("error", name, name, name)]),
        Areas("map", name, byte_tree(overview)._replace(title=name, facts=[name])),
    )
    problem = Problem(name, name, name, 7, name)
    report = report_of(*sections, title=f"{name}/{name}", headline=Phrase((name, " ", BytesChange(3))))
    return document(report, report, problems=[problem])


def test_every_figure_of_every_table_is_there_without_a_script():
    report = model()
    page = Page(render(document(report), Look()))
    cells = page.all("td")
    for section in report.sections:
        if isinstance(section, Table) and section.audience != MACHINES:
            for row in section.rows:
                for column, value in zip(section.columns, row.cells, strict=True):
                    if isinstance(value, Count) and column.audience != MACHINES and column.key != "bar":
                        assert f"{value:,}" in cells
    assert len(page.all("tr")) == sum(
        len(s.rows) + 1 for s in report.sections if isinstance(s, Table) and s.rows and s.audience != MACHINES
    )


def test_what_is_for_machines_or_narrow_terminals_is_left_out():
    table = Table(
        "t",
        "Things",
        (
            Column("a", "A"),
            Column("b", "Both", show_until=111),
            Column("c", "Cent", audience=MACHINES),
            Column("d", "D", show_from=112),
        ),
        [Row(("one", "two", "three", "four"))],
    )
    page = shown(
        table,
        table._replace(title="Hidden", audience=MACHINES),
        Facts("f", "Facts", [Fact("m", "Not for people", 1, audience=MACHINES)]),
    )
    assert page.all("th") == ["A", "D", "one"]
    assert page.all("td") == ["four"]
    assert page.all("h2") == ["Things"]


def test_a_number_carries_what_it_is_sorted_by():
    columns = (Column("n", "N"), Column("b", "Bytes"), Column("c", "Count"), Column("r", "%"), Column("d", "Change"))
    page = shown(Table("t", "T", columns, [Row(("x", Bytes(2**70), Count(1_234_567), Ratio(0.123456), BytesChange(-5)))]))
    assert page.attributes("data-v") == [str(2**70), "1234567", "0.123456", "-5"]
    assert page.attributes("data-s") == ["1.2 M"]
    assert page.all("td")[1] == "1,234,567"
    assert page.all("span", "down") == ["−5 B"]


def test_levels_and_marks_are_those_of_the_rows():
    rows = [
        Row(("model", Ratio(1.0)), 0, "block"),
        Row(("layers.0–3 ×4", Ratio(0.5)), 1, "attention"),
        Row(("q", Ratio(0.25)), 2, "linear"),
        Row(("[header]", None), 0, "section"),
        Row(("TOTAL", Ratio(1.0)), 0, "total"),
    ]
    page = shown(Table("modules", "", (Column("label", "Module"), Column("bar", "")), rows, tree=True))
    kinds = [attributes.get("class") for tag, attributes, _ in page.elements if tag == "tr"][1:]
    assert kinds == ["c-block", "c-attention", "c-linear", "section", "total"]
    assert page.attributes("data-level") == ["1", "2"]
    assert [tip for tip in page.attributes("title") if tip.startswith("model.")] == ["model.layers.0–3", "model.layers.0–3.q"]
    widths = [attributes["width"] for tag, attributes, _ in page.elements if tag == "rect" and "%" in attributes["width"]]
    assert widths == ["100.0%", "50.0%", "25.0%"]
    assert page.all("h2") == ["By module"]


def test_checks_and_findings_stand_the_gravest_first_with_a_word():
    items = [Verdict(status, f"rule-{status}", "", None, Ratio(0.5), "said", "") for status in ("passed", "warning", "failed")]
    found = [Finding(severity, "code", "", f"a {severity}") for severity in ("info", "error", "warning")]
    page = shown(Verdicts("checks", "Checks", items), Findings("findings", "Findings", found))
    assert page.all("span", "word") == ["failed", "warning", "passed", "error", "warning", "info"]
    assert [text for text in page.all("th") if text.startswith("rule-")] == ["rule-failed", "rule-warning", "rule-passed"]
    assert page.all("a", "badge") == ["✗ 1 check failed", "✗ 1 error", "! 2 warnings", "✓ 1 passed"]
    assert page.all("td").count("50.0 %") == 3


@pytest.mark.parametrize(
    ("value", "kind"), [(RatioChange(0.05), "up"), (RatioChange(-0.05), "down"), (RatioChange(0.0), "same")]
)
def test_growth_is_told_from_shrinkage(value, kind):
    page = shown(Table("t", "T", (Column("a", "A"), Column("b", "B")), [Row(("x", Phrase(("by ", value))))]))
    assert page.all("span", kind) == [page.all("td")[0].removeprefix("by ")]


def test_every_link_leads_somewhere():
    page = Page(render(document(model(), model()._replace(title="other/net.pt"), problems=[Problem("E", "p", "m")]), Look()))
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    targets = {link for link in page.attributes("href") if not link.startswith("data:")}
    assert targets <= {f"#{name}" for name in ids}
    assert {"#overview", "#problems", "#r1", "#r2"} <= targets
    assert set(page.attributes("aria-labelledby")) <= set(ids)


@pytest.mark.parametrize("reports", [0, 1, 2])
@pytest.mark.parametrize("problems", [0, 1])
def test_headings_begin_with_one_and_leave_none_out(reports, problems):
    page = Page(render(document(*[model()] * reports, problems=[Problem("E", "p", "m")] * problems), Look()))
    levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_nothing_is_loaded_from_anywhere():
    text = render(hostile("n"), Look()).decode()
    banner = "// https://d3js.org/d3-hierarchy/ v3.1.2 Copyright 2010-2021 Mike Bostock"
    for known in (banner, "xmlns='http://www.w3.org/2000/svg'"):
        assert known in text
        text = text.replace(known, "")
    assert not re.search(r"https?:|url\(|@import|\bfetch\(|XMLHttpRequest|WebSocket|import\(", text)
    page = Page(text.encode())
    assert page.attributes("src") == []
    assert all(link.startswith(("#", "data:image/svg+xml,%3Csvg")) for link in page.attributes("href"))


@pytest.mark.parametrize("maps", [True, False])
def test_the_policy_allows_this_script_and_this_style_alone(maps):
    report = model()
    if not maps:
        report = report._replace(sections=[section for section in report.sections if not isinstance(section, Areas)])
    text = render(document(report), Look()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for rule, tag, content in (("script-src", "script", script(maps)), ("style-src", "style", style(maps))):
        assert f"<{tag}>{content}</{tag}>" in text
        assert rules[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert ("hierarchy" in text) == maps
    assert not re.search(r'\s(style|on\w+)="', text.replace(script(maps), ""))


@pytest.mark.parametrize("name", [*HOSTILE, "nul\0", "]]>", "=cmd()|' '!A0", "$title ${script}", "](javascript:alert(1))"])
def test_hostile_names_stay_text(name):
    page = Page(render(hostile(name), Look()))
    plain = Page(render(hostile("n"), Look()))
    skeleton = [[(tag, sorted(attributes)) for tag, attributes, _ in one.elements if tag != "wbr"] for one in (page, plain)]
    unfolded = [
        [(tag, [key for key in keys if key != "title"]) for tag, keys in bones if (tag, keys) != ("span", [])]
        for bones in skeleton
    ]
    assert unfolded[0] == unfolded[1]
    assert visible(name) in page.all("h3")
    assert f"{visible(name)}4" in page.all("td")
    told = render(hostile(name), Look()).decode()
    assert not UNSAFE.search(told.replace("\n", ""))


def test_a_name_of_ten_thousand_characters_is_cut_and_its_tip_too():
    name = "x" * 5_000 + "y" * 5_000
    data = render(hostile(name), Look())
    page = Page(data)
    without_maps = re.sub(r'<script type="application/json">.*?</script>', "", data.decode())
    assert max(map(len, re.findall("[xy]+", without_maps))) <= 1_200
    assert max(map(len, page.attributes("title"))) <= 500
    labels = page.all("span", "label")
    assert all(len(label) <= 160 and label.startswith("x") and label.endswith("y") for label in labels[-3:])


def test_of_very_long_tables_the_rest_is_counted_and_the_total_kept():
    rows = [Row((f"row {number}", Count(number))) for number in range(6_000)] + [Row(("TOTAL", Count(1)), mark="total")]
    page = shown(Table("t", "T", (Column("a", "A"), Column("b", "B")), rows))
    labels = page.all("th")
    assert "row 4999" in labels
    assert "row 5000" not in labels
    assert labels[-1] == "TOTAL"
    assert page.all("tr", "more") == ["… 1,000 more rows are left out of this page; -f json and -f csv have them all"]


def test_equal_layers_cost_nothing():
    few, many = (len(render(document(model(layers)), Look())) for layers in (4, 4_000))
    assert many - few < 2_000
    assert many < MOST_BYTES / 10


def test_sizes_follow_the_unit():
    table = Table("t", "T", (Column("a", "A"), Column("b", "B")), [Row(("x", Bytes(2_000_000)))])
    for unit, said in (("iec", "1.9 MiB"), ("si", "2.0 MB"), ("bytes", "2,000,000")):
        assert Page(render(document(report_of(table)), Look(unit))).all("td") == [said]


def test_both_drawings_are_there_without_what_could_clash():
    page = shown(Drawing("d", "Diagram", f'<?xml version="1.0"?><!DOCTYPE svg>{PICTURE}', PICTURE))
    assert page.all("text") == ["layers", "layers"]
    assert page.all("title")[1:] == ["a tip", "a tip"]
    assert "node1" not in page.attributes("id")


@pytest.mark.parametrize(
    "inside",
    [
        "<script>alert(1)</script>",
        '<rect onload="alert(1)"/>',
        '<a href="javascript:alert(1)"><text>x</text></a>',
        '<a xlink:href="https://example.org"><text>x</text></a>',
        '<image href="data:image/png;base64,x"/>',
        '<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"/></foreignObject>',
        '<rect fill="url(#x)"/>',
        '<animate attributeName="x"/>',
        "<g>",
    ],
)
def test_what_is_more_than_a_picture_is_left_out(inside):
    with pytest.raises(NotAPictureError):
        inline(SVG.format(inside), "x")
    page = shown(
        Drawing("d", "Diagram", PICTURE, SVG.format(inside)), Findings("f", "Findings", [Finding("info", "c", "", "m")])
    )
    assert page.all("h2") == ["Findings"]


def test_a_name_in_a_drawing_is_no_reason_to_leave_it_out():
    text = "javascript:alert(1) onload=x &lt;script>"
    assert f">{text.replace('>', '&gt;')}</text>" in inline(SVG.format(f"<text>{text}</text>"), "x")


def test_the_script_puts_names_in_as_text_only():
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|localStorage|cookie", script(False)
    )
