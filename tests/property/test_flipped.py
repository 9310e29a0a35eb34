"""A file with any bytes changed gives a result or a ModelscopeError, and a result is accounted for to the byte."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders.samples import SAMPLES
from tests.property.reading import check_analyses, read_bytes

EXAMPLES = settings(
    max_examples=150, deadline=4_000, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_byte_flipped(name):
    data = bytearray(SAMPLES[name])
    for position in range(len(data)):
        kept = data[position]
        data[position] = kept ^ (1 << position % 8)
        checkpoint = read_bytes(bytes(data), name)
        if checkpoint is not None:
            check_analyses(checkpoint)
        data[position] = kept


@pytest.mark.parametrize("name", SAMPLES)
@EXAMPLES
@given(edits=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4))
def test_bytes_replaced(name, edits):
    data = bytearray(SAMPLES[name])
    for position, byte in edits:
        data[position % len(data)] = byte
    checkpoint = read_bytes(bytes(data), name)
    if checkpoint is not None:
        check_analyses(checkpoint)


@pytest.mark.parametrize("name", SAMPLES)
@EXAMPLES
@given(
    position=st.integers(0, 1 << 16),
    removed=st.integers(0, 40),
    inserted=st.one_of(
        st.binary(max_size=12), st.sampled_from([b"\xff" * 4, b"\xff" * 8, b"(" * 9, b"0" * 20, b"e9", b"-1", b"null"])
    ),
)
def test_bytes_removed_and_inserted(name, position, removed, inserted):
    data = SAMPLES[name]
    position %= len(data)
    checkpoint = read_bytes(data[:position] + inserted + data[position + removed :], name)
    if checkpoint is not None:
        check_analyses(checkpoint)


@EXAMPLES
@given(
    data=st.binary(max_size=200),
    head=st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04", b"(", b"]q", b"}", b"\x10\0\0\0\0\0\0\0{"]),
)
def test_random_bytes(data, head):
    checkpoint = read_bytes(head + data, "random.bin")
    if checkpoint is not None:
        check_analyses(checkpoint)
