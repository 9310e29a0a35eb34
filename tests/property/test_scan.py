"""A scan ends in a verdict, whatever the bytes; and no change of one byte makes an attack safe that still runs."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelscope_cli.analysis.safety_report import to_report
from modelscope_cli.render.json import render
from modelscope_cli.render.registry import Look
from modelscope_cli.render.sarif import render as render_sarif
from modelscope_cli.report.document import EVERYTHING, READABLE, Document
from tests.builders.attacks import ATTACKS
from tests.builders.samples import SAMPLES
from tests.scanned import scanned

EXAMPLES = settings(
    max_examples=80, deadline=4_000, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
)


def check(data: bytes, name: str) -> None:
    """There is a verdict, and it can be written."""
    safety = scanned(data, name)
    assert safety.verdict in (None, "safe", "unknown", "suspicious", "dangerous")
    assert safety.why
    to_report([safety], READABLE, name)
    document = Document("mscope.scan/1", [to_report([safety, safety], EVERYTHING, name)])
    assert render(document, Look())
    assert render_sarif(document, Look())


@pytest.mark.parametrize("name", SAMPLES)
def test_every_eighth_truncation(name):
    for length in range(0, len(SAMPLES[name]), 8):
        check(SAMPLES[name][:length], name)


@pytest.mark.parametrize("name", SAMPLES)
@EXAMPLES
@given(edits=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4))
def test_bytes_replaced(name, edits):
    data = bytearray(SAMPLES[name])
    for position, byte in edits:
        data[position % len(data)] = byte
    check(bytes(data), name)


@EXAMPLES
@given(st.binary(max_size=400), st.sampled_from(["a.pt", "a.pkl", "a.npy", "a.json", "a.distcp", "a.h5", "a.py"]))
def test_any_bytes(data, name):
    check(data, name)
    check(b"\x80\x04" + data, name)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_with_bytes_before_stop_changed(attack):
    data = ATTACKS[attack][0]
    for position in range(len(data)):
        check(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :], "a.pkl")
        check(data[:position], "a.pkl")


@EXAMPLES
@given(st.lists(st.sampled_from([b"N", b"]", b"}", b"K\x01", b"\x8c\x01x", b"(", b"0", b"1", b"2", b"t", b"l", b"d", b"a", b"s", b"R", b"b", b"\x94",
                                 b"h\x00", b"q\x00", b"\x93", b"\x81", b"Q", b"o", b"e", b"u", b"\x85", b"cos\nsystem\n"]), max_size=30))  # fmt: skip
def test_any_program_agrees_with_its_imports(instructions):
    """Whatever stands around it: a name that is imported before anything breaks is told."""
    data = b"\x80\x02cposix\nsystem\n0" + b"".join(instructions) + b"."
    assert "posix.system" in {item.path for item in scanned(data, "a.pkl").imports}
