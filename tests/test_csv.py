"""CSV and TSV: tables that come back as they were, numbers as numbers, and no text that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.render import csv as comma
from modelscope_cli.render import json as machine
from modelscope_cli.render import tsv as tab
from modelscope_cli.render.plain import visible
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import PEOPLE, BytesChange, Column, Count, Document, Phrase, Ratio, Report, Row, Table
from tests.documents import DOCUMENTS, HOSTILE, TEXTS, document, filled

FORMATS = ((comma, ","), (tab, "\t"))
STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def cells(one: Document, module=comma, delimiter: str = ",") -> list[list[str]]:
    text = module.render(one, Look()).decode()
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def table(*values: object) -> Document:
    """A document with a table of one column."""
    rows = [Row((value,)) for value in values]
    return Document("mscope.inspect/1", [Report("mscope.inspect/1", "a.pt", [Table("main", "", (Column("c"),), rows)])])


def values(*given: object, module=comma, delimiter: str = ",") -> list[str]:
    return [row[1] for row in cells(table(*given), module, delimiter)[1:]]


def test_an_ordinary_table():
    assert comma.render(document(rows=2), Look()).decode() == (
        "path,label,kind,parameters,share,bytes,tensors,depth,section\n"
        "models/decoder.pth,layer.0 ×2,Linear,10,0.5,40,2,0,false\n"
        "models/decoder.pth,layer.1 ×2,Linear,10,0.5,40,2,1,false\n"
        "models/decoder.pth,[header],,,,8,0,0,true\n"
        "models/decoder.pth,TOTAL,,20,1.0,88,4,0,true\n"
    )


def test_the_same_rows_as_json():
    one = document(rows=7)
    rows = json.loads(machine.render(one, Look()))["checkpoints"][0]["modules"]
    header, *lines = cells(one)
    assert header == ["path", *rows[0]]
    written = [
        ["" if value is None else value if isinstance(value, str) else json.dumps(value) for value in row.values()]
        for row in rows
    ]
    assert [line[1:] for line in lines] == written


def test_numbers_are_raw_and_negative_ones_stay_numbers():
    big = 2**70
    assert values(Count(-3), BytesChange(-(10**15)), Ratio(-0.25), -1, -1.5, big, True, None) == [
        "-3", "-1000000000000000", "-0.25", "-1", "-1.5", str(big), "true", "",
    ]  # fmt: skip


def test_phrases_and_lists_are_plain_text():
    assert values(Phrase((Count(4_204_032), " params each")), [4, 3], {"float32": 3}) == [
        "4,204,032 params each",
        "[4, 3]",
        '{"float32": 3}',
    ]


def test_several_files_are_one_table_of_all_columns():
    one, two = table("x").reports[0], Report("s", "b.pt", [Table("t", "", (Column("d"), Column("c")), [Row((1, 2))])])
    assert cells(Document("s", [one, two])) == [["path", "c", "d"], ["a.pt", "x", ""], ["b.pt", "2", "1"]]


def test_without_a_table_the_verdicts_are_the_table():
    one = document()
    sections = [section for section in one.reports[0].sections if not isinstance(section, Table)]
    header, *rows = cells(one._replace(reports=[one.reports[0]._replace(sections=sections)]))
    assert header == ["path", "status", "rule", "target", "limit", "actual", "message", "todo"]
    assert [row[1:6] for row in rows] == [
        ["passed", "max-bytes", "", "1000", "128"],
        ["failed", "max-share", "layer.*", "0.3", "0.4"],
        ["warning", "dtype", "lora_*", "float16", ""],
    ]
    assert rows[0][6] == "128 B of at most 1.0 KiB"


def test_tables_for_people_are_passed_over():
    one = table("x").reports[0]
    people = one.sections[0]._replace(audience=PEOPLE)
    assert cells(Document("s", [one._replace(sections=[people, Table("m", "", (Column("d"),), [Row((1,))])])])) == [
        ["path", "d"],
        ["a.pt", "1"],
    ]


def test_nothing_at_all_is_a_header():
    for module, _ in FORMATS:
        assert module.render(Document("s", []), Look()) == b"path\n"


@pytest.mark.parametrize(
    "text",
    [
        "=1",
        "+1",
        "-1",
        "@a",
        "＝1",
        "＋1",
        "－1",
        "＠a",
        " =1",
        "\t=1",
        "\n=1",
        "\u3000=1",
        "\u00a0=1",
        "\ufeff=1",
        "\u200b=1",
        "\tx",
        "\rx",
        '"=1',
        "'=1",
    ],
)
def test_what_starts_a_formula_is_text(text):
    for module, delimiter in FORMATS:
        assert values(text, module=module, delimiter=delimiter) == ["'" + visible(text)]


def test_a_semicolon_starts_no_formula_where_it_parts_columns():
    assert values("a; =1", "a;b") == ["a;' =1", "a;b"]


def test_long_runs_of_blanks_take_no_time():
    assert values(" \n" * 30_000 + "x")[0].endswith("x")


@pytest.mark.parametrize(("module", "delimiter"), FORMATS)
@given(one=DOCUMENTS)
@settings(max_examples=80, deadline=None)
def test_every_line_is_a_row(module, delimiter, one):
    data = module.render(one, Look())
    lines = data.decode().removesuffix("\n").split("\n")
    rows = cells(one, module, delimiter)
    assert len(lines) == len(rows)
    assert {len(row) for row in rows} == {len(rows[0])}
    assert all(
        character == "\n" or character == delimiter or visible(character) == character for character in set(data.decode())
    )
    if delimiter == "\t":
        assert [line.count("\t") for line in lines] == [len(row) - 1 for row in rows]


@pytest.mark.parametrize(("module", "delimiter"), FORMATS)
@given(text=st.one_of(TEXTS, st.sampled_from(HOSTILE)))
@settings(max_examples=300, deadline=None)
def test_hostile_text_comes_back_visible_and_starts_nothing(module, delimiter, text):
    (written,) = values(text, module=module, delimiter=delimiter)
    assert not written.lstrip(" \u00a0\u3000").startswith(STARTS)
    assert written.replace("'", "") == visible(text).replace("'", "")


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text_in_every_place(text):
    for verdicts in (True, False):
        for row in cells(filled(text, verdicts=verdicts)):
            assert all(not cell.lstrip().startswith(STARTS) or cell.removeprefix("-").isdigit() for cell in row)
