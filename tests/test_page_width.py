"""Nothing is wider than the terminal and nothing wraps, whatever the names, the width and the letters it can show."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

import modelscope_cli
from modelscope_cli.analysis.overview import Options, inspect, to_report
from modelscope_cli.render.plain import visible
from modelscope_cli.render.terminal import Page
from modelscope_cli.report.document import MACHINES, Bytes, Column, Facts, Report, Row, Table
from tests.printed import width
from tests.snapshots.checkpoints import CHECKPOINTS

WIDTHS = sorted({*range(60, 201, 9), 61, 73, 74, 75, 89, 90, 91, 95, 96, 97, 111, 112, 113, 199, 200})
BY = {"module": Options(levels=0), "tensor": Options(by=("tensor",), top=0), "pair": Options(by=("layer", "storage"), levels=0)}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    made = {}
    for name, make in CHECKPOINTS.items():
        checkpoint = modelscope_cli.read(str(folder / make(folder)))
        made |= {(name, key): to_report(inspect(checkpoint, options)) for key, options in BY.items()}
    return made


def page(report, columns: int, unit: str = "auto", encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", newline="\n")
    Page(Console(file=stream, width=columns, color_system=None, force_terminal=False), unit).show(report)
    stream.flush()
    return raw.getvalue().decode(encoding)


def above_findings(text: str) -> list[str]:
    """The lines of facts and tables; findings are sentences and may take several lines."""
    lines = text.split("\n")
    return lines[: lines.index("Findings")] if "Findings" in lines else lines


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("key", BY)
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_no_line_is_wider_than_the_terminal(reports, name, key, encoding):
    for columns in WIDTHS:
        for line in page(reports[name, key], columns, encoding=encoding).split("\n"):
            assert width(line.rstrip()) <= columns, (columns, line)


@pytest.mark.parametrize("unit", ["si", "bytes"])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_no_line_is_wider_in_other_units(reports, name, unit):
    for columns in (60, 80, 112, 200):
        for line in page(reports[name, "module"], columns, unit).split("\n"):
            assert width(line.rstrip()) <= columns, (columns, line)


def size_table(text: str) -> list[str]:
    """The lines of the table of modules."""
    lines = text.split("\n")
    first = next(number for number, line in enumerate(lines) if line.startswith(("Module", "Set of")))
    return lines[first : lines.index("", first)]


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_row_is_one_line_at_every_width(reports, name):
    heights = {len(size_table(page(reports[name, "module"], columns))) for columns in WIDTHS}
    assert len(heights) == 1


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_facts_and_their_evidence_are_whole_at_every_width(reports, name):
    """They are sentences: they go on in the next line."""
    report = reports[name, "module"]
    said = [
        fact.text for facts in report.sections if isinstance(facts, Facts) for fact in facts.items if fact.audience != MACHINES
    ]
    shown = [visible(text) for text in said if text]
    assert shown
    for columns in WIDTHS:
        text = squeezed(page(report, columns))
        assert [fact for fact in shown if squeezed(fact) not in text] == []
        assert "…" not in "".join(line for line in page(report, columns).split("\n") if line.startswith("Active"))


def squeezed(text: str) -> str:
    return "".join(text.split())


def bars(text: str) -> int:
    """The length of the longest bar."""
    return max((len(found) for found in re.findall("█+", text)), default=0)


def table(detail: str, columns: int) -> str:
    rows = [Row(("layer", detail, Bytes(2048), 1.0)), Row(("TOTAL", "", Bytes(2048), 1.0), mark="total")]
    layout = (Column("label", "Module"), Column("kind", "Kind"), Column("bytes", "Bytes"), Column("bar"))
    return page(Report("test", "model", [Table("modules", "", layout, rows)], False), columns)


@pytest.mark.parametrize(
    ("length", "bar", "whole"),
    [
        (20, 12, True),
        (29, 12, True),
        (31, 10, True),
        (37, 4, True),
        (40, 4, True),
        (41, 0, True),
        (45, 0, True),
        (46, 4, False),
    ],
)
def test_bars_give_way_before_texts(length, bar, whole):
    """Sixty columns: 6 for the module, 7 for its bytes, gaps of 2, or of 1 where it is narrow."""
    text = table("x" * length, 60)
    assert bars(text) == bar
    assert ("x" * length in text) == whole
    assert all(width(line) <= 60 for line in text.split("\n"))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_figures_are_never_cut(reports, name):
    for columns in WIDTHS:
        text = page(reports[name, "module"], columns)
        total = next(line for line in text.split("\n") if line.startswith("TOTAL"))
        assert re.search(r"100\.0 +\d[\d.]* (B|[KM]iB) +100\.0\s*$", total), (columns, total)


def test_a_narrow_terminal_gets_sixty_columns(reports):
    assert page(reports["llama", "module"], 20, "bytes") == page(reports["llama", "module"], 60, "bytes")
