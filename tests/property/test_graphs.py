"""Any change of a model that is a graph gives a verdict; and what changes no operator hides none."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.formats.wire import Kept, Shape, walk
from tests.builders.attacks import GRAPHS
from tests.builders.foreign import number, part, varint
from tests.builders.graph_file import coreml_custom, coreml_model, tf_node
from tests.scanned import check_scan, scanned

FILES = {attack: (name, data) for attack, (name, data, _, _) in GRAPHS.items()} | {"core ml": ("a.mlmodel", coreml_model(coreml_custom("Mine")))}
EXAMPLES = settings(max_examples=60, deadline=4_000, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None)


@pytest.mark.parametrize("attack", FILES)
def test_every_truncation_and_every_flip(attack):
    name, data = FILES[attack]
    for position in range(len(data)):
        check_scan(data[:position], name)
        check_scan(data[:position] + bytes([data[position] ^ 1 << position % 8]) + data[position + 1 :], name)


@pytest.mark.parametrize("attack", FILES)
@EXAMPLES
@given(edits=st.lists(st.tuples(st.integers(0, 1 << 12), st.integers(0, 255)), min_size=1, max_size=4))
def test_bytes_replaced(attack, edits):
    name, data = FILES[attack]
    changed = bytearray(data)
    for position, byte in edits:
        changed[position % len(changed)] = byte
    check_scan(bytes(changed), name)


FIELDS = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(0, 1 << 63)).map(lambda pair: number(*pair)),
    st.tuples(st.integers(8, 400), st.binary(max_size=200)).map(lambda pair: part(*pair)),
    st.integers(8, 40).map(lambda field: varint(field << 3 | 5) + bytes(4)),
    st.integers(8, 40).map(lambda field: varint(field << 3 | 1) + bytes(8)),
    st.integers(8, 40).map(lambda field: varint(field << 3 | 3) + number(1, 1) + varint(field << 3 | 4)),
)


@EXAMPLES
@given(before=st.lists(FIELDS, max_size=6), after=st.lists(FIELDS, max_size=6), around=st.integers(0, 70_000))
def test_fields_around_hide_nothing(before, after, around):
    """What a parser passes over, and where a piece of the file ends, makes no difference."""
    start, end = b"".join(before), b"".join(after)
    node = part(1, start + tf_node("WriteFile") + end)
    graph = part(1, tf_node("Relu") + part(300, bytes(around))) + node
    data = number(1, 1) + part(2, part(2, graph))
    assert scanned(data, "saved_model.pb").verdict == "dangerous"


@EXAMPLES
@given(texts=st.lists(st.binary(max_size=300), max_size=12), numbers=st.lists(st.integers(0, (1 << 64) - 1), max_size=12), gap=st.integers(0, 70_000))
def test_a_walk_keeps_what_was_written(texts, numbers, gap):
    told: list[Kept] = []
    data = b"".join(part(3, text) for text in texts) + part(200, bytes(gap)) + b"".join(number(4, value) for value in numbers)
    shape = Shape("outer", inside={7: Shape("inner", texts=(3,), numbers=(4,))})
    seen, trouble = walk(MemoryWindow(part(7, data), "a"), shape, lambda name, kept, start, stop: told.append(kept), 1_000)
    assert trouble is None
    assert seen >= len(texts) + len(numbers) + 2
    assert (told[0] if told else {}) == {key: values for key, values in ((3, texts), (4, numbers)) if values}
