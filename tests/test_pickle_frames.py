"""Instructions that reach across the end of a frame: unpicklers go on in different places. Both ways are told, and no reader takes it."""

from __future__ import annotations

import contextlib
import io
import pickle

import pytest

from modelscope_cli.containers.pickle_machine import PickleMachine
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.errors import CorruptFileError
from tests.builders.pickle_code import frame, proto
from tests.scanned import codes, paths, scanned

CALL = b")R"
DROP, STRAIGHT = b"0cposix\nsystem\n" + CALL + b".", b"0cos\npopen\n" + CALL + b"."
BEGIN = b"N" * 20


def behind(straight: int, drop: int) -> bytes:
    """From `straight` on a text leads past what stands at `drop`."""
    rest = bytearray(b"N" * 200)
    rest[straight : straight + 2] = b"\x8c\x50"
    rest[drop : drop + len(DROP)] = DROP
    rest[straight + 2 + 0x50 :] = STRAIGHT
    return bytes(rest)


CROSSING = {
    "BININT": (b"J\0\0", behind(2, 4)),
    "BINFLOAT": (b"G\0\0\0", behind(5, 8)),
    "LONG1": (b"\x8a\x14" + b"a" * 10, behind(10, 20)),
    "BINUNICODE": (b"X\x14\0\0\0" + b"a" * 10, b"a" * 10 + b"\x12\x50" + b"a" * 8 + DROP.ljust(0x50, b"N") + STRAIGHT),
    "FRAME": (frame(len(STRAIGHT) + 40) + STRAIGHT, DROP + b"N" * 60),
}


class Asking(pickle.Unpickler):
    """Python's own, written in C, with nothing to get hold of."""

    def find_class(self, module: str, name: str):
        self.asked = f"{module}.{name}"
        return lambda: None


def asked_by(file) -> str:
    unpickler = Asking(file)
    with contextlib.suppress(pickle.UnpicklingError, UnicodeDecodeError, EOFError):
        unpickler.load()
    return getattr(unpickler, "asked", "")


def crossing(which: str) -> bytes:
    inside, rest = CROSSING[which]
    return proto(4) + frame(len(BEGIN + inside)) + BEGIN + inside + rest


@pytest.mark.parametrize("which", CROSSING)
def test_what_reaches_across_the_end_of_a_frame(which):
    data = crossing(which)
    ran = {asked_by(io.BytesIO(data)), asked_by(io.BufferedReader(io.BytesIO(data)))} - {""}
    assert "posix.system" in ran or which == "BINUNICODE"
    safety = scanned(data, "model.pkl")
    assert (safety.verdict, "pickle-frame" in codes(safety)) == ("dangerous", True)
    assert ran <= paths(safety)
    with pytest.raises(CorruptFileError):
        PickleMachine(data, "test", DEFAULT_LIMITS).run()


def test_a_pickle_that_ends_before_its_frame():
    data = proto(4) + frame(30) + b"N.".ljust(30, b"N") + proto(4) + DROP[1:]
    safety = scanned(data, "model.pkl")
    assert (safety.verdict, "posix.system" in paths(safety)) == ("dangerous", True)
    with pytest.raises(CorruptFileError):
        PickleMachine(data, "test", DEFAULT_LIMITS).run()


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("size", [0, 3, 4, 65_520, 65_530, 65_535, 65_536, 65_537, 65_545, 131_072])
def test_what_pickle_writes_is_taken(protocol, size):
    for thing in ({"a": "x" * size}, [b"x" * size, 1], ["q" * (size // 2)] * 2 + list(range(size // 8)), bytearray(size)):
        for write in (pickle.dumps, pickle._dumps):
            raw = write(thing, protocol)
            machine = PickleMachine(raw, "test", DEFAULT_LIMITS)
            machine.run()
            assert machine.end == len(raw)
            assert "pickle-frame" not in codes(scanned(raw, "model.pkl"))


@pytest.mark.parametrize("index", [b"1_0", b"-0", b"0_1", b"-00", b" 1 ", b"0" * 30, b"9" * 30])
def test_places_in_the_memo_as_python_takes_them(index):
    for begin in (b"", proto(2)):
        safety = scanned(begin + b"Np" + index + b"\n0cposix\nsystem\n(Vx\ntR.", "model.pkl")
        assert (safety.verdict, "posix.system" in paths(safety)) == ("dangerous", True)


@pytest.mark.parametrize("begin", [b"", b"N0", b"N0\x80\x04"])
def test_a_long_name_hides_nothing(begin):
    data = begin + b"cposixpath\n" + b"os." + b"path.os." * 30 + b"system\n(Vx\ntR."
    assert scanned(data, "model.pkl").verdict == "dangerous"


def test_calls_in_calls_in_calls():
    nested = b"ctorch._tensor\n_rebuild_from_type_v2\n"
    chain = b"cposix\nsystem\ncx\ny\nVa\n\x85}"
    for _ in range(25):
        chain = nested + b"cx\ny\n(" + chain + b"t}"
    chain = nested + b"(" + chain + b"tR."
    safety = scanned(proto(2) + chain, "model.pkl")
    assert safety.verdict == "dangerous"


def test_imports_behind_a_break_are_told():
    safety = scanned(proto(2) + b"ca\nb\n)R\xffcposix\nsystem\n(Vx\ntR.", "model.pkl")
    assert "pickle-behind-break" in codes(safety)
