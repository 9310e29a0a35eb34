"""A scan ends in a verdict, whatever the bytes; and no change of some bytes makes an attack safe that still runs.

What runs is known from Python's own unpickler, which is given the same bytes where it can get hold of nothing: tests/hostile/unpickler.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders.attacks import ATTACKS
from tests.builders.samples import SAMPLES
from tests.scanned import check_scan, scanned

NAMES = ["a.pt", "a.pkl", "a.npy", "a.distcp", "a.h5", "a.json", "a.py", "a.yaml", "a.pbtxt", "a.jinja", "a.keras", "a.mar"]
EXAMPLES = settings(
    max_examples=80, deadline=4_000, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_eighth_truncation(name):
    for length in range(0, len(SAMPLES[name]), 8):
        check_scan(SAMPLES[name][:length], name)


@pytest.mark.parametrize("name", SAMPLES)
@EXAMPLES
@given(edits=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4))
def test_bytes_replaced(name, edits):
    data = bytearray(SAMPLES[name])
    for position, byte in edits:
        data[position % len(data)] = byte
    check_scan(bytes(data), name)


@EXAMPLES
@given(st.binary(max_size=400), st.sampled_from(NAMES))
def test_any_bytes(data, name):
    check_scan(data, name)
    check_scan(b"\x80\x04" + data, name)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_with_bytes_before_stop_changed(attack):
    data = ATTACKS[attack][0]
    for position in range(len(data)):
        check_scan(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :], "a.pkl")
        check_scan(data[:position], "a.pkl")


@EXAMPLES
@given(st.lists(st.sampled_from([b"N", b"]", b"}", b"K\x01", b"\x8c\x01x", b"(", b"0", b"1", b"2", b"t", b"l", b"d", b"a", b"s", b"R", b"b", b"\x94",
                                 b"h\x00", b"q\x00", b"\x93", b"\x81", b"Q", b"o", b"e", b"u", b"\x85", b"cos\nsystem\n"]), max_size=30))  # fmt: skip
def test_any_program_agrees_with_its_imports(instructions):
    """Whatever stands around it: a name that is imported before anything breaks is told."""
    data = b"\x80\x02cposix\nsystem\n0" + b"".join(instructions) + b"."
    assert "posix.system" in {item.path for item in scanned(data, "a.pkl").imports}


# What codecs says of strings of protocol 0; Python's own unpickler passes it on as well.
pytestmark = pytest.mark.filterwarnings("ignore:invalid (octal )?escape sequence")

UNPICKLER = Path(__file__).parents[1] / "hostile" / "unpickler.py"
HARMLESS = {("codecs", "decode"), ("_codecs", "encode"), ("torch", "Size"), ("torch.storage", "_load_from_bytes"), ("collections", "defaultdict")}


@pytest.fixture(scope="module")
def unpickled():
    """Gives what Python asks for and calls when it unpickles some bytes: two lists of (module, name)."""
    process = subprocess.Popen([sys.executable, "-W", "ignore", str(UNPICKLER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(data: bytes) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        process.stdin.write(data.hex() + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, f"the unpickler was held: {process.wait()}"
        asked, called = json.loads(line)
        return [tuple(pair) for pair in asked], [tuple(pair) for pair in called]

    yield ask
    process.stdin.close()
    process.stdout.close()
    assert process.wait(10) == 0


def agrees(data: bytes, unpickled, name: str) -> bool:
    """Nothing that Python asks for goes untold, and nothing that it calls is safe. Returns whether something foreign was called.

    Without a protocol number any text may begin with an import: it is told once something is called.
    """
    asked, called = unpickled(data)
    safety = scanned(data, name)
    told = {(item.module, item.name) for item in safety.imports}
    computed = any(module == "(computed)" for module, _ in told)
    if called or data.startswith(b"\x80"):
        assert computed or set(asked) <= told, (set(asked) - told, data)
    foreign = set(called) - HARMLESS
    assert not foreign or safety.verdict not in (None, "safe"), (foreign, data)
    return bool(foreign)


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_attacks_do_run(unpickled, attack):
    """Or, where they only bind or patch, ask for what they name."""
    data, named, _ = ATTACKS[attack]
    if attack == "extension code":
        pytest.skip("runs where the number is registered only")
    ran = agrees(data, unpickled, "a.pkl")
    assert ran or attack in ("builtins of numpy", "state of a function", "computed name", "bound for defaultdict", "mutated class"), named


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", ["a.pkl", "a.json", "a.py"])
@EXAMPLES
@given(
    edits=st.lists(
        st.tuples(st.sampled_from(["replace", "insert", "delete", "repeat"]), st.integers(0, 1 << 12), st.binary(min_size=1, max_size=3)),
        min_size=1,
        max_size=3,
    )
)
def test_an_attack_that_was_changed_and_still_runs(unpickled, attack, name, edits):
    data = bytearray(ATTACKS[attack][0])
    for kind, number, piece in edits:
        at = number % max(1, len(data))
        if kind == "replace":
            data[at : at + len(piece)] = piece
        elif kind == "insert":
            data[at:at] = piece
        elif kind == "delete":
            del data[at : at + len(piece)]
        else:
            data[at:at] = data[at : at + 20]
    agrees(bytes(data), unpickled, name)


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_byte_of_an_attack_changed(unpickled, attack):
    data = ATTACKS[attack][0]
    ran = 0
    for position in range(min(len(data), 200)):
        for byte in (data[position] ^ 1, data[position] ^ 0x20, 0x2E, 0x30, 0x0A, 0x28):
            ran += agrees(data[:position] + bytes([byte & 255]) + data[position + 1 :], unpickled, "a.pkl")
    assert ran or not agrees(data, unpickled, "a.pkl")
