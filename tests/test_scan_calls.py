"""What is called while unpickling without an instruction that calls it, and where unpicklers go on and others stop."""

from __future__ import annotations

import gzip
import io
import pickletools
import zipfile

import pytest

from modelscope_cli.cli.clock import SpentError
from modelscope_cli.cli.scan import judged
from modelscope_cli.containers.judging_machine import JudgingMachine
from modelscope_cli.containers.pickle_machine import PickleMachine
from modelscope_cli.containers.pickle_nodes import is_shortened, shortened
from modelscope_cli.containers.tolerant_machine import number_of
from modelscope_cli.core.checkpoint import GlobalUse, PickleTrace
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.formats import scanning
from tests.builders.attacks import BOX, COMMAND, LOADER, NESTED, SYSTEM
from tests.builders.pickle_code import (
    APPEND,
    BUILD,
    DUP,
    POP,
    REDUCE,
    STOP,
    TUPLE1,
    Code,
    built,
    call,
    data,
    get,
    name,
    pickled,
    proto,
    put,
    text,
    value,
)
from tests.builders.samples import SAMPLES
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.scanned import codes, paths, scanned

GETATTR = name("builtins.getattr")
MACHINES = (PickleMachine, JudgingMachine)


def trace_of(code: bytes, machine: type[PickleMachine] = PickleMachine) -> PickleTrace:
    running = machine(code, "x", DEFAULT_LIMITS)
    running.run()
    return running.trace()


def use_of(trace: PickleTrace, path: str) -> GlobalUse:
    (found,) = [use for use in trace.globals if f"{use.module}.{use.name}" == path]
    return found


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("code", "loose"),
    [
        (call("builtins.getattr", name("a.B"), "c"), 0),
        (GETATTR + put(0) + value((name("a.B"), "c")) + REDUCE + POP + get(0) + value((name("a.B"), "d")) + REDUCE, 0),
        (GETATTR + put(0) + POP + get(0) + value((name("a.B"), "c")) + REDUCE, 0),
        (Code(b"(") + GETATTR + name("a.B") + text("c") + b"o", 0),
        (GETATTR, 1),
        (value([GETATTR]), 1),
        (GETATTR + put(0) + POP + value([get(0), get(0)]), 2),
        (value([Code(GETATTR + DUP + value((name("a.B"), "c")) + REDUCE), 1]), 1),
        (call("torch._tensor._rebuild_from_type_v2", GETATTR, name("torch.Tensor"), (name("a.B"), "c"), {}), 1),
    ],
)
def test_mentions_beside_calls_are_counted(code, loose, machine):
    assert use_of(trace_of(proto() + code + STOP, machine), "builtins.getattr").loose == loose


def test_what_a_state_dict_is_made_of_is_not_counted():
    trace = trace_of(pickled(call("torch._utils._rebuild_tensor_v2", call("collections.OrderedDict"))))
    assert [use.loose for use in trace.globals] == [None, None]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_stored_function_is_called_where_the_instruction_is(machine):
    first = proto() + built(BOX, {"__setstate__": name("posix.system")})
    code = first + value(COMMAND) + BUILD + STOP
    (found,) = [one for one in trace_of(code, machine).calls if one.through]
    assert (found.through, found.args, found.offset) == ("__setstate__", (COMMAND,), len(code) - 2)
    (kept,) = [one for one in trace_of(first + STOP, machine).calls if one.through]
    assert (kept.through, kept.offset, use_of(trace_of(first + STOP, machine), "posix.system").calls) == ("__setstate__", len(first) - 1, 1)


@pytest.mark.parametrize("name_of_it", ["__setstate__", "__reduce__", "__new__", "__call__"])
def test_a_stored_result_is_an_indirect_call(name_of_it):
    assert "indirect-call" in codes(scanned(pickled(built(BOX, {name_of_it: call("shop.find")})), "model.pkl"))


def test_an_object_with_a_part_called_add_is_ordinary():
    parts = {"_modules": {"add": call("torch.ao.nn.quantized.modules.functional_modules.FloatFunctional")}}
    assert "indirect-call" not in codes(scanned(pickled(built(call("shop.Net"), parts)), "model.pkl"))
    used = built(BOX, {"append": call("shop.find")}) + value(1) + APPEND
    assert "indirect-call" in codes(scanned(proto() + used + STOP, "model.pkl"))


def test_functions_that_call_what_they_are_given():
    for code in (
        call("functools.partial", name("m.f"), 1),
        call("copyreg.__newobj__", name("m.f"), 1),
        call("copyreg.__newobj_ex__", name("m.f"), (1,), {}),
        call("numpy.random._pickle.__randomstate_ctor", 1, name("m.f")),
        call("torch._tensor._rebuild_from_type", name("m.f"), None, (1,), {}),
        call("torch._tensor._rebuild_from_type", name("copyreg.__newobj__"), None, (name("m.f"), 1), {}),
    ):
        (found,) = [one for one in trace_of(pickled(code)).calls if one.through and one.function.path == "m.f"]
        assert found.args == (1,)
    old = [one.function.path for one in trace_of(pickled(call("copyreg._reconstructor", name("m.C"), name("m.B"), 1))).calls]
    assert old == ["copyreg._reconstructor", "m.C", "m.B"]


def test_functions_in_one_another_end_somewhere():
    deep = (name("torch._tensor._rebuild_from_type"), name("torch.Tensor"), (1, 2, 3))
    for _ in range(40):
        deep = (name("torch._tensor._rebuild_from_type"), name("torch.Tensor"), deep)
    assert scanned(proto() + name("torch._tensor._rebuild_from_type") + value(deep) + REDUCE + STOP, "m.pkl").verdict != "safe"


def test_unpickled_bytes_are_harmless_only_where_they_can_be_seen():
    loader = "torch.storage._load_from_bytes"
    assert scanned(pickled(call(loader, pickled({"a": 1}))), "model.pkl").verdict == "safe"
    assert scanned(pickled(call(loader, call("_codecs.encode", pickled({"a": 1}).decode("latin-1"), "latin1"))), "m.pkl").verdict == "safe"
    for hidden in (
        call("builtins.bytes", list(NESTED)),
        call("_codecs.encode", NESTED.decode("cp500"), "cp500"),
        Code(call("builtins.bytearray") + b"(" + b"".join(value(byte) for byte in NESTED) + b"e"),
        Code(b"\x96" + (4).to_bytes(8, "little") + NESTED[:4] + b"(" + b"".join(value(byte) for byte in NESTED[4:]) + b"e"),
    ):
        for packed in (pickled, lambda thing: gzip.compress(pickled(thing))):
            safety = scanned(packed(call(loader, hidden)), "model.pkl")
            assert (safety.verdict, "computed-bytes" in codes(safety)) == ("dangerous", True)


def test_two_nested_files_of_one_checksum_are_both_looked_at():
    """The last four bytes make the CRC-32 of the second that of the first."""
    import zlib

    first, second = proto() + b"N." + bytes(8), NESTED
    table = [zlib.crc32(bytes([byte])) ^ zlib.crc32(b"\0") for byte in range(256)]
    wanted, ends = zlib.crc32(first), {}
    for byte in range(256):
        table[byte] = zlib.crc32(bytes([byte]), 0xFFFFFFFF) ^ 0xFFFFFFFF
        ends[table[byte] >> 24] = byte
    left, order = wanted ^ 0xFFFFFFFF, []
    for _ in range(4):
        order.append(ends[left >> 24])
        left = (left ^ table[order[-1]]) << 8 & 0xFFFFFFFF
    at, patch = zlib.crc32(second) ^ 0xFFFFFFFF, b""
    for index in reversed(order):
        patch += bytes([(at ^ index) & 0xFF])
        at = at >> 8 ^ table[index]
    twin = second + patch
    assert zlib.crc32(twin) == wanted
    code = [call("torch.storage._load_from_bytes", first), call("torch.storage._load_from_bytes", twin)]
    assert "posix.system" in paths(scanned(pickled(code), "model.pkl"))


@pytest.mark.parametrize("numbered", [proto(), b""])
@pytest.mark.parametrize(
    "odd",
    [b"]p0\0x\n0", b"I0\0x\n0", b"L0\0x\n0", b"I010\n0", b"I" + b"0" * 1_100_000 + b"\n0", b"cbuiltins\nlist\n]R0", b"F1\0x\n0"],
    ids=["PUT", "INT", "LONG", "octal", "long", "list", "FLOAT"],
)
def test_what_one_unpickler_takes_ends_no_scan(odd, numbered):
    text_protocol = b"cposix\nsystem\n(S'" + COMMAND.encode() + b"'\ntR."
    for packed in (bytes, gzip.compress):
        safety = scanned(packed(numbered + odd + text_protocol), "model.pkl")
        assert (safety.verdict, "posix.system" in paths(safety)) == ("dangerous", True)


def test_numbers_are_read_as_python_reads_them_and_marked_where_c_does_not():
    assert [number_of(line) for line in (b"12", b"0x10", b"-7", b" 3 ")] == [12, 16, -7, 3]
    assert {type(number_of(line)) for line in (b"12", b"0x10")} == {int}
    odd = {b"010": 8, b"5\0x": 5, b"x": 0, b"0" * 5_000: 0}
    assert all(number_of(line) == number and type(number_of(line)) is not int for line, number in odd.items())


def test_what_may_be_a_pickle_and_meets_a_limit_is_not_safe():
    code = b"(lp0\n0(lp1\n0V" + b"x" * 5_000 + b"\n0."
    safety = scanned(gzip.compress(code), "model.pkl.gz", limits=DEFAULT_LIMITS._replace(pickle_bytes=1_000))
    assert safety.verdict == "unknown", safety.why


def test_a_name_of_many_characters_is_cut_and_suspicious():
    safety = scanned(pickled(call("torch.nn.modules." + "a" * 1_000_000 + ".Linear")), "model.pkl")
    assert safety.verdict == "suspicious"
    (item,) = safety.imports
    assert len(item.path) < 250
    assert item.path.endswith("(1,000,017 characters).Linear")
    assert max(len(found.message) + len(found.evidence) for found in safety.found) < 1_500
    assert is_shortened(shortened("a" * 201))
    assert shortened("a" * 200) == "a" * 200
    assert len(trace_of(pickled(call("m." + "a" * 1_000))).globals[0].name) < 250


def test_what_was_found_is_kept_when_the_time_is_up(tmp_path, monkeypatch):
    file = tmp_path / "model.pkl"
    file.write_bytes(proto() + SYSTEM + STOP)

    def late(*_: object) -> None:
        raise SpentError("seconds", 10)

    for place, function in ((scanning.Walk, "finish"), (JudgingMachine, "_proto")):
        with monkeypatch.context() as patched:
            if function == "_proto":
                file.write_bytes(proto() + SYSTEM + b"0" + proto() + STOP)
                patched.setitem(JudgingMachine.rare, 0x80, lambda machine, pos: late() if machine.globals else pos + 1)
            else:
                patched.setattr(place, function, late)
            safety = judged(str(file), DEFAULT_LIMITS, None)
        assert (safety.verdict, "posix.system" in paths(safety)) == ("dangerous", True)
        assert safety.problem is not None
        assert "seconds" in safety.problem.message


def test_a_grave_call_does_not_hide_behind_others():
    ordinary = [call("builtins.getattr", name("shop.A"), f"x{number}") + value((1,)) + REDUCE for number in range(5)]
    grave = call("builtins.getattr", name("torch.os"), "system") + text("x") + TUPLE1 + REDUCE
    safety = scanned(pickled([*map(Code, ordinary), Code(grave)]), "model.pkl")
    assert next(found.level for found in safety.found if found.code == "indirect-call") == "dangerous"


def test_the_loader_is_called_by_nothing_else():
    for code in (value([LOADER, call("torch.storage._load_from_bytes", pickled(1))]), built(BOX, {"add": LOADER})):
        trace = trace_of(proto() + code + STOP)
        assert use_of(trace, "torch.storage._load_from_bytes").loose == 1
    assert data(b"") == b"B\0\0\0\0"


CALLING = {"REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"}
MANY = {f"layers.{number}.weight": tensor(str(number), (2,)) for number in range(100)}


def calls_in(pickled: bytes) -> list[int]:
    """The positions of the instructions that call, by pickletools."""
    return [at for opcode, _, at in pickletools.genops(pickled) if opcode.name in CALLING and at is not None]


@pytest.mark.parametrize("data", [torch_zip_bytes(ordered(MANY), {str(number): bytes(8) for number in range(100)}), SAMPLES["module.pth"]])
def test_every_call_has_its_offset(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
        expected = calls_in(archive.read(member))
    imports = [item for item in scanned(data).imports if item.where == member]
    assert sorted(at for item in imports for at in item.sites) == expected
    assert all(len(item.sites) == item.calls for item in imports)


def test_calls_of_a_function_that_another_one_calls_stand_where_that_is_called():
    code = pickled(call("torch._tensor._rebuild_from_type_v2", name("os.system"), name("a.B"), ("x",), {}))
    (system,) = [item for item in scanned(code, "a.pkl").imports if item.name == "system"]
    assert [code[at : at + 1] for at in system.sites] == [REDUCE]
