"""Arrays of joblib's between the instructions: read as joblib reads them, and said where others read something else."""

from __future__ import annotations

import struct

import pytest

from modelscope_cli.containers.joblib_arrays import behind
from modelscope_cli.containers.pickle_machine import PickleMachine
from modelscope_cli.core.limits import DEFAULT_LIMITS
from tests.builders.attacks import SYSTEM
from tests.builders.pickle_code import (
    BUILD,
    EMPTY_TUPLE,
    NEWOBJ,
    POP,
    STOP,
    Code,
    built,
    call,
    frame,
    name,
    pickled,
    proto,
    value,
)
from tests.scanned import codes, paths, scanned

MODULE = "joblib.numpy_pickle"
BYTES = call("numpy.dtype", "u1", False, True)
HIDING = b"N0" * 5 + b"NB" + struct.pack("<I", len(SYSTEM) + 1)  # 16 bytes: an array, or instructions that take up what follows
ATTACK = HIDING + SYSTEM + POP + b"N0N0."


def dtype(code: str, *state: object) -> Code:
    return built(call("numpy.dtype", code, False, True), state) if state else call("numpy.dtype", code, False, True)


OBJECTS = dtype("O8", 3, "|", None, None, None, -1, -1, 63)
RECORDS = dtype("V8", 3, "|", None, ("a",), {"a": (OBJECTS, 0)}, 8, 1, 63)


def wrapper(shape: object = (16,), kind: Code = BYTES, made: bytes = b"", **more: object) -> Code:
    state = {"subclass": name("numpy.ndarray"), "shape": shape, "order": "C", "dtype": kind, "allow_mmap": False, **more}
    return Code((made or name(f"{MODULE}.NumpyArrayWrapper") + EMPTY_TUPLE + NEWOBJ) + value(state) + BUILD)


def read(kind: Code, shape: tuple[int, ...] = (3,)) -> tuple[int | None, bool, str]:
    """(bytes, whether objects, doubt) of an array with this dtype."""
    node = PickleMachine(pickled(kind), "x", DEFAULT_LIMITS).run()
    found = behind({"dtype": node, "shape": shape})
    return found.nbytes, found.objects, found.doubt


@pytest.mark.parametrize(
    ("code", "state", "size"),
    [
        ("f8", (3, "<", None, None, None, -1, -1, 0), 8),
        ("b1", (3, "|", None, None, None, -1, -1, 0), 1),
        ("i8", (), 8),
        ("c16", (3, "<", None, None, None, -1, -1, 0), 16),
        ("U5", (3, "<", None, None, None, 20, 4, 8), 20),
        ("S7", (3, "|", None, None, None, 7, 1, 0), 7),
        ("M8", (4, "<", None, None, None, -1, -1, 0, ({}, (b"ns", 1, 1, 1))), 8),
        ("V12", (3, "|", None, ("a", "b"), {"a": (BYTES, 0), "b": (dtype("f8"), 4)}, 12, 1, 16), 12),
    ],
)
def test_dtypes_that_numpy_writes(code, state, size):
    assert read(dtype(code, *state)) == (3 * size, False, "")


def test_objects_are_a_pickle():
    assert read(OBJECTS)[1:] == (True, "")
    assert read(RECORDS)[1:] == (True, "")


@pytest.mark.parametrize(
    "kind",
    [
        dtype("u1", 3, "|", None, None, None, -1, -1, 1),
        dtype("O8", 3, "|", None, None, None, -1, -1, 0),
        dtype("V8", 3, "|", None, ("a",), {"a": (OBJECTS, 0)}, 8, 1, 0),
        dtype("V8", 3, "|", None, ("a",), {"a": (BYTES, 0)}, 8, 1, 1),
        dtype("i4,O"),
        dtype(">f8"),
        dtype("f8", 2, "<", None),
        call("argparse.Namespace"),
        name("numpy.float64"),
    ],
)
def test_other_dtypes_are_doubtful(kind):
    assert read(kind)[2]


def test_shapes():
    assert read(BYTES, (2, 3))[0] == 6
    assert read(BYTES, ())[0] == 1
    assert read(BYTES, (1 << 40, 1 << 40))[2]
    assert read(BYTES, (-1,))[2]
    assert read(BYTES, (1,) * 65)[2]
    assert read(BYTES, (True,))[2]


@pytest.mark.parametrize(
    "made",
    [
        wrapper(Code(b"I0x10\n\x85")),
        wrapper(Code(b"L16L\n\x85")),
        wrapper(Code(b"\x8b\x01\0\0\0\x10\x85")),
        wrapper(made=call("copyreg._reconstructor", name(f"{MODULE}.NumpyArrayWrapper"), name("builtins.object"), None)),
        wrapper(made=call("copyreg.__newobj__", name(f"{MODULE}.NumpyArrayWrapper"))),
    ],
    ids=["hexadecimal", "long as text", "long", "reconstructor", "newobj"],
)
def test_an_array_is_as_long_as_joblib_says(made):
    safety = scanned(proto() + made + ATTACK, "model.joblib")
    assert (safety.verdict, "posix.system" in paths(safety)) == ("dangerous", True)
    honest = scanned(proto() + made + bytes(16) + STOP, "model.joblib")
    assert (honest.verdict, honest.scanned.streams[0].trace.problem, codes(honest)) == ("safe", None, set())


@pytest.mark.parametrize(
    "made",
    [
        wrapper([16]),
        wrapper(b"\x10"),
        wrapper(Code(b"I020\n\x85")),
        wrapper(kind=dtype("u1", 3, "|", None, None, None, -1, -1, 1)),
        wrapper(made=name("joblib.other.NumpyArrayWrapper") + EMPTY_TUPLE + NEWOBJ),
        wrapper(made=call("shop.make", name(f"{MODULE}.NumpyArrayWrapper"))),
        wrapper(made=call(f"{MODULE}.NumpyArrayWrapper", None, (16,), "C", BYTES)),
        wrapper((16,) + (1,) * 70),
    ],
)
def test_where_joblib_may_read_something_else_both_are_run(made):
    safety = scanned(proto() + made + bytes(16) + value({"a": 1}) + STOP, "model.joblib")
    assert safety.verdict == ("dangerous" if "forged-dtype" in codes(safety) else "suspicious")
    assert "joblib-array" in codes(safety)
    assert scanned(proto() + made + SYSTEM + b"0" + bytes(16) + STOP, "model.joblib").verdict == "dangerous"


def test_records_with_objects_are_a_pickle():
    inner = (SYSTEM + STOP).ljust(-(-len(SYSTEM + STOP) // 8) * 8, b".")
    safety = scanned(proto() + wrapper((len(inner) // 8,), RECORDS) + inner + STOP, "model.joblib")
    assert (safety.verdict, "posix.system" in paths(safety)) == ("dangerous", True)


def test_a_wrapper_in_an_unfinished_frame_is_odd():
    hidden = SYSTEM + POP
    inside = wrapper((len(hidden),)) + hidden + STOP
    safety = scanned(proto(4) + frame(len(inside)) + inside + bytes(len(hidden)), "model.joblib")
    assert (safety.verdict, "joblib-array" in codes(safety)) == ("dangerous", True)
    tidy = wrapper()
    assert scanned(proto(4) + frame(len(tidy)) + tidy + bytes(16) + STOP, "model.joblib").verdict == "safe"


def test_attributes_stay_from_one_state_to_the_next():
    first = name(f"{MODULE}.NumpyArrayWrapper") + EMPTY_TUPLE + NEWOBJ + b"q\x00" + value({"shape": (16,), "dtype": BYTES}) + BUILD
    code = first + bytes(16) + POP + b"h\x00" + value({"order": "C"}) + BUILD + ATTACK
    assert scanned(proto() + code, "model.joblib").verdict == "dangerous"


def test_the_array_takes_the_place_of_its_wrapper():
    """A BUILD behind it gives the array a state: no second array follows."""
    code = wrapper() + bytes(16) + value({"a": 1}) + BUILD + SYSTEM + POP + value(1) + STOP
    assert "posix.system" in paths(scanned(proto() + code, "model.joblib"))


def test_elements_that_are_a_pickle_too():
    """joblib reads an array, pickle.load runs it."""
    hidden = (b"0" + SYSTEM + STOP).ljust(64, b".")
    safety = scanned(proto() + wrapper((64,)) + hidden + STOP, "model.joblib")
    assert (safety.verdict, "joblib-array" in codes(safety), "posix.system" in paths(safety)) == ("dangerous", True, True)
    for first in range(256):
        numbers = bytes([first]) + bytes(range(63))
        assert scanned(proto() + wrapper((64,)) + numbers + STOP, "model.joblib").verdict == "safe", first


def test_many_odd_arrays_end_somewhere():
    code = b"".join(wrapper([1]) + b"N" + POP for _ in range(200))
    safety = scanned(proto() + code + value(1) + STOP, "model.joblib")
    assert safety.verdict == "suspicious"
    assert len(safety.found) < 30


def test_what_only_python_would_show_is_not_multiplied():
    extents = b"(" + value((1 << 47) - 1) * 200_000 + b"t"
    assert scanned(proto() + wrapper(Code(extents)) + STOP, "model.joblib").verdict == "suspicious"
