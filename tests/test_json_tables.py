"""Tables in JSON are written by columns: cell for cell the same as if each row were written as an object of its own."""

from __future__ import annotations

import json
import math
from array import array

from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.render.json import render
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import (
    PEOPLE,
    Bytes,
    Column,
    Count,
    CountChange,
    Document,
    Fact,
    Facts,
    Inferred,
    Phrase,
    Ratio,
    Report,
    Row,
    Table,
)

TEXTS = st.text(st.characters(), max_size=6)  # half characters too
WHOLE = st.integers(-(1 << 66), 1 << 66)
PARTS = st.floats()
SCALARS = st.none() | st.booleans() | TEXTS | WHOLE | PARTS
ODD = (
    WHOLE.map(Count)
    | WHOLE.map(Bytes)
    | WHOLE.map(CountChange)
    | PARTS.map(Ratio)
    | TEXTS.map(Inferred)
    | st.lists(TEXTS | WHOLE.map(Count), max_size=3).map(Phrase)
    | st.lists(st.integers(-9, 9), max_size=3).map(lambda numbers: array("q", numbers))
)
LISTS = st.lists(WHOLE, max_size=4) | st.lists(WHOLE, max_size=4).map(tuple) | st.lists(SCALARS, max_size=4)
CELLS = SCALARS | ODD | LISTS | st.dictionaries(TEXTS, SCALARS | LISTS, max_size=2)
COLUMNS = st.sampled_from(
    (CELLS, SCALARS, TEXTS, st.none() | TEXTS, st.none() | WHOLE.map(Count), st.none() | PARTS.map(Ratio), st.none() | LISTS)
)


@st.composite
def tables(draw):
    kinds = draw(st.lists(COLUMNS, min_size=1, max_size=4))
    count = draw(st.sampled_from((0, 1, 2, 5)))
    cells = draw(st.lists(st.tuples(*kinds), min_size=count, max_size=count))
    rows = [Row(each, draw(st.integers(0, 3)), draw(st.sampled_from(("", "section", "total")))) for each in cells]
    return Table("main", "", [Column(f"c%{number}s") for number in range(len(kinds))], rows, tree=draw(st.booleans()))


def rendered(section):
    return render(Document("mscope.inspect/1", [Report("mscope.inspect/1", "a.pt", [section])]), Look())


def by_rows(table):
    """The same as a list of objects."""
    objects = []
    for row in table.rows:
        each = {column.key: value for column, value in zip(table.columns, row.cells, strict=True)}
        objects.append(each | {"depth": row.level, "section": row.mark in ("section", "total")} if table.tree else each)
    return Facts("", "", [Fact("main", "", objects)])


@given(tables())
@settings(deadline=None, derandomize=True, database=None, max_examples=600)
def test_by_columns_as_by_rows(table):
    assert rendered(table) == rendered(by_rows(table))


def test_what_people_alone_see_is_left_out():
    columns = [Column("a"), Column("b", audience=PEOPLE), Column("c")]
    rows = [Row((1, 2, (3, 4))), Row(("more", 5, 6), mark="more"), Row((None, 7, math.nan))]
    found = rendered(Table("main", "", columns, rows))
    assert json.loads(found)["checkpoints"][0]["main"] == [{"a": 1, "c": [3, 4]}, {"a": None, "c": "nan"}]


def test_a_long_table():
    count = 1_201  # more than are written at once
    rows = [Row((f"t{number}", (number, 1))) for number in range(count)]
    found = rendered(Table("main", "", [Column("name"), Column("shape")], rows))
    assert json.loads(found)["checkpoints"][0]["main"] == [{"name": f"t{n}", "shape": [n, 1]} for n in range(count)]
    assert b'"shape": [1200, 1]' in found
