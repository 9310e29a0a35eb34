"""Baselines that ask for much, and baselines with any byte cut off or changed."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.baseline import describe
from modelscope_cli.formats.registry import read_window
from tests.builders.samples import SAMPLES
from tests.opened import opened
from tests.property.reading import check_analyses, check_byte_maps

NAME = "bomb.baseline.json"
BASELINES = {name: describe(opened(data, name)) for name, data in SAMPLES.items()}


def document(tensors=None, views=None, nbytes=0, **rest) -> bytes:
    file = {
        "name": "m",
        "bytes": nbytes,
        "sections": {"data": nbytes} if nbytes else {},
        "tensors": tensors or {},
        "views": views or {},
    }
    return json.dumps({"schema": "mscope.baseline/1", "format": "torch-zip", "files": [file], **rest}).encode()


def read(data: bytes) -> Checkpoint | None:
    """The checkpoint, its bytes accounted for, or None where reading raised a ModelscopeError."""
    try:
        checkpoint = read_window(MemoryWindow(data, NAME), DEFAULT_LIMITS)
    except ModelscopeError:
        return None
    check_byte_maps(checkpoint, checkpoint.nbytes)
    return checkpoint


# Bombs ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern", ["{0-999999999}", "{0-999}.{0-999}.{0-999}.{0-999}", "{0-999999999999999999}.{0-999999999999999999}"]
)
@pytest.mark.parametrize("place", ["tensors", "groups", "grouped", "modules", "buffer"])
def test_names_are_counted_before_they_are_made(bounded, pattern, place):
    found = bounded(
        {
            "tensors": document({pattern: "uint8 [0]"}),
            "groups": document(groups=[pattern]),
            "grouped": document(groups=["a"], grouped={"a": [pattern]}),
            "modules": document(modules={pattern: None}),
            "buffer": document(recorded={"buffer": [pattern]}),
        }[place],
        NAME,
    )
    assert found.code == 3
    assert "tensors" in found.err


def test_long_names_are_counted_too(bounded):
    found = bounded(document({"x" * 100_000 + ".{0-299999}": "uint8 [0]"}), NAME)
    assert found.code == 3
    assert "name characters" in found.err


def test_as_many_names_as_there_may_be(bounded):
    assert bounded(document({"layers.{0-299999}.w": "uint8 [2]"}, nbytes=600_000), NAME).code == 0


def test_many_ranges(bounded):
    assert bounded(document({"{" + ",".join(str(2 * n) for n in range(120_000)) + "}.w": "uint8 [0]"}), NAME).code == 0
    assert bounded(document({"{" + ",".join(str(2 * n) for n in range(1_100_000)) + "}.w": "uint8 [0]"}), NAME).code == 3


def test_names_of_many_numbers(bounded):
    assert bounded(document({".".join(["7"] * 4_000_000): "uint8 [0]"}), NAME).code == 0


def test_many_views_of_one_storage(bounded):
    views = {"first": {"dtype": "uint8", "shape": [1], "storage_bytes": 400_000}}
    views |= {f"v{n}": {"dtype": "uint8", "shape": [2], "storage": "first", "offset": n} for n in range(60_000)}
    assert bounded(document(views=views, nbytes=400_000), NAME).code == 0


def test_a_long_chain_of_ties(bounded):
    views = {f"v{n}": f"= v{n - 1}" for n in range(1, 100_000)}
    assert bounded(document({"v0": "uint8 [2]"}, views, 2), NAME).code == 0


def test_ties_through_many_groups(bounded):
    views = {f"g{n}.v": f"= g{n - 1}.v" for n in range(1, 30_000)}
    data = document({"g0.v": "uint8 [2]"}, views, 2, groups=[f"g{n}" for n in range(30_000)])
    assert bounded(data, NAME).code == 0


def test_groups_within_groups(bounded):
    path = ".".join(["a"] * 4_000)
    groups = [path[: 2 * n + 1] for n in range(4_000)]
    assert bounded(document({path + ".{0-4000}": "uint8 [0]"}, groups=groups), NAME).code == 0


@pytest.mark.parametrize("filling", ["[],", "{},", '"aa",', "1,", "1e5,"])
def test_much_json(bounded, filling):
    data = b'{"schema": "mscope.baseline/1", "metadata": {"x": [' + filling.encode() * (31_000_000 // len(filling)) + b"0]}}"
    found = bounded(data, NAME)
    assert found.code == 3
    assert "objects" in found.err


def test_deeply_nested_json(bounded):
    depth = 500_000
    assert (
        bounded(b'{"schema": "mscope.baseline/1", "metadata": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}", NAME).code == 3
    )
    assert bounded(document(metadata=json.loads("[" * 300 + "]" * 300)), NAME).code == 3
    assert bounded(document(metadata={"x": json.loads("[" * 150 + "]" * 150)}), NAME).code == 0


def test_numbers_of_many_digits(bounded):
    digits = b"9" * 10_000_000
    assert bounded(document().replace(b'"bytes": 0', b'"bytes": ' + digits), NAME).code == 3
    assert bounded(document().replace(b'"bytes": 0', b'"bytes": 0.' + digits), NAME).code == 3
    assert bounded(document({"w": "uint8 [" + "9" * 10_000_000 + "]"}), NAME).code == 3


def test_shape_of_many_dimensions(bounded):
    assert bounded(document({"w": "uint8 [" + ", ".join(["251"] * 500_000) + "]"}), NAME).code == 3


def test_above_the_limit(bounded):
    found = bounded(document() + b" " * (33 << 20), NAME)
    assert found.code == 3
    assert "header bytes" in found.err


# Damage ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BASELINES)
def test_cut_anywhere(name):
    data = BASELINES[name]
    whole = len(data.rstrip())
    assert [length for length in range(len(data)) if read(data[:length]) is not None] == list(range(whole, len(data)))


@pytest.mark.parametrize("name", BASELINES)
def test_every_byte_flipped(name):
    data = bytearray(BASELINES[name])
    for position in range(len(data)):
        kept = data[position]
        data[position] = kept ^ (1 << position % 8)
        checkpoint = read(bytes(data))
        if checkpoint is not None:
            check_analyses(checkpoint)
        data[position] = kept


VALUES = (
    *(
        "0",
        "1",
        "-1",
        "2.5",
        "true",
        "null",
        '""',
        "[]",
        "{}",
        "9007199254740993",
        "4611686018427387904",
        "1e999",
        '"NaN"',
        '"\\ud800"',
    ),
    *('"= w"', '"= a"', '"w"', '["w", 1]', '"?x"', '"a.{0-3}"', '"float32 [2]"', '"all others"'),
    '{"dtype": "?q", "shape": [9], "storage_bytes": 2}',
)


@pytest.mark.parametrize("name", BASELINES)
@settings(max_examples=150, deadline=4_000, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 12), st.sampled_from(VALUES)), min_size=1, max_size=3))
def test_values_replaced(name, edits):
    """Numbers, words and lists of the document, each by any other."""
    text = BASELINES[name].decode()
    for position, value in edits:
        places = [match.span() for match in re.finditer(r'"[^"\n]*"(?!:)|\b\d+\b|\[[^\[\]{}]*\]', text)]
        start, stop = places[position % len(places)]
        text = text[:start] + value + text[stop:]
    checkpoint = read(text.encode())
    if checkpoint is not None:
        check_analyses(checkpoint)
        assert read(describe(checkpoint)) is not None
