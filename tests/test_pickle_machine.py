"""The pickle machine: all instructions of protocols 0 to 5, without doing what they say."""

from __future__ import annotations

import collections
import pickle
import pickletools
import struct
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.containers.pickle_machine import PickleMachine
from modelscope_cli.containers.pickle_nodes import Call, Global, Mapping, SetOf
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.errors import CorruptFileError, LimitError
from tests.builders import pickle_code as code
from tests.builders.pickle_code import call, frame, get, instance, laughs, name, pickled, proto, put, text


def machine(program: bytes, limits=DEFAULT_LIMITS, load=None, **options) -> PickleMachine:
    made = PickleMachine(program, "test", limits, load, **options)
    made.run()
    return made


def run(program: bytes, **options) -> Any:
    return machine(program, **options).result


def plain(node: Any) -> Any:
    """The result as Python's own unpickler gives it, for plain data."""
    if isinstance(node, Mapping):
        return {plain(key): plain(value) for key, value in node.pairs}
    if isinstance(node, SetOf):
        return {plain(item) for item in node.items}
    if isinstance(node, list | tuple):
        return type(node)(plain(item) for item in node)
    if isinstance(node, Call):
        path, args = node.function.path, [plain(arg) for arg in node.args]
        if path == "_codecs.encode":
            return args[0].encode(args[1])
        return {"bytes": bytes, "bytearray": bytearray, "complex": complex}[path.rpartition(".")[2]](*args)
    return node


# opcode name → (program, what it leaves)
INSTRUCTIONS: dict[str, tuple[bytes, Any]] = {
    "INT": (b"I-42\n.", -42),
    "INT true": (b"I01\n.", True),
    "INT false": (b"I00\n.", False),
    "BININT": (b"J" + struct.pack("<i", -70_000) + b".", -70_000),
    "BININT1": (b"K\xff.", 255),
    "BININT2": (b"M\x34\x12.", 0x1234),
    "LONG": (b"L123456789012345678901L\n.", 123456789012345678901),
    "LONG1": (b"\x8a\x02\x00\xff.", -256),
    "LONG4": (b"\x8b\x02\x00\x00\x00\xff\x00.", 255),
    "STRING": (b"S'a\\x41\\n'\n.", "aA\n"),
    "STRING double": (b'S"it\'s"\n.', "it's"),
    "BINSTRING": (b"T\x02\x00\x00\x00ab.", "ab"),
    "SHORT_BINSTRING": (b"U\x02ab.", "ab"),
    "SHORT_BINSTRING bytes": (b"U\x02\xff\xfe.", b"\xff\xfe"),
    "BINBYTES": (b"B\x02\x00\x00\x00ab.", b"ab"),
    "SHORT_BINBYTES": (b"C\x02ab.", b"ab"),
    "BINBYTES8": (b"\x8e" + struct.pack("<Q", 2) + b"ab.", b"ab"),
    "BYTEARRAY8": (b"\x96" + struct.pack("<Q", 2) + b"ab.", b"ab"),
    "NONE": (b"N.", None),
    "NEWTRUE": (b"\x88.", True),
    "NEWFALSE": (b"\x89.", False),
    "UNICODE": (b"Vna\\u00efve \xef\n.", "naïve ï"),
    "SHORT_BINUNICODE": (b"\x8c\x02\xc3\xa9.", "é"),
    "BINUNICODE": (b"X\x02\x00\x00\x00\xc3\xa9.", "é"),
    "BINUNICODE8": (b"\x8d" + struct.pack("<Q", 2) + b"\xc3\xa9.", "é"),
    "FLOAT": (b"F-1.5e3\n.", -1500.0),
    "BINFLOAT": (b"G" + struct.pack(">d", 0.1) + b".", 0.1),
    "EMPTY_LIST": (b"].", []),
    "APPEND": (b"]K\x01a.", [1]),
    "APPENDS": (b"](K\x01K\x02e.", [1, 2]),
    "LIST": (b"(K\x01K\x02l.", [1, 2]),
    "EMPTY_TUPLE": (b").", ()),
    "TUPLE": (b"(K\x01K\x02t.", (1, 2)),
    "TUPLE1": (b"K\x01\x85.", (1,)),
    "TUPLE2": (b"K\x01K\x02\x86.", (1, 2)),
    "TUPLE3": (b"K\x01K\x02K\x03\x87.", (1, 2, 3)),
    "EMPTY_DICT": (b"}.", {}),
    "DICT": (b"(K\x01K\x02d.", {1: 2}),
    "SETITEM": (b"}K\x01K\x02s.", {1: 2}),
    "SETITEMS": (b"}(K\x01K\x02K\x03K\x04u.", {1: 2, 3: 4}),
    "EMPTY_SET": (b"\x8f.", set()),
    "ADDITEMS": (b"\x8f(K\x01K\x02\x90.", {1, 2}),
    "FROZENSET": (b"(K\x01K\x02\x91.", {1, 2}),
    "POP": (b"K\x01K\x020.", 1),
    "POP of a mark": (b"K\x01(0.", 1),
    "DUP": (b"K\x012\x86.", (1, 1)),
    "MARK": (b"((K\x01tt.", ((1,),)),
    "POP_MARK": (b"K\x01(K\x02K\x031.", 1),
    "GET": (b"K\x07p5\n0g5\n.", 7),
    "BINGET": (b"K\x07q\x050h\x05.", 7),
    "LONG_BINGET": (b"K\x07r\x05\x00\x01\x000j\x05\x00\x01\x00.", 7),
    "PUT": (b"K\x07p5\ng5\n\x86.", (7, 7)),
    "BINPUT": (b"K\x07q\x05h\x05\x86.", (7, 7)),
    "LONG_BINPUT": (b"K\x07r\xff\xff\xff\xffj\xff\xff\xff\xff\x86.", (7, 7)),
    "MEMOIZE": (b"K\x07\x94K\x08\x94h\x00h\x01\x86\x86\x86.", (7, (8, (7, 8)))),
    "PROTO": (b"\x80\x05N.", None),
    "FRAME": (frame(2) + b"N.", None),
    "STOP": (b"K\x01.K\x02.", 1),
    "READONLY_BUFFER": (b"B\x01\x00\x00\x00a\x98.", b"a"),
}  # fmt: skip

TO_DO = {
    "GLOBAL",
    "STACK_GLOBAL",
    "REDUCE",
    "BUILD",
    "INST",
    "OBJ",
    "NEWOBJ",
    "NEWOBJ_EX",
    "PERSID",
    "BINPERSID",
    "EXT1",
    "EXT2",
    "EXT4",
    "NEXT_BUFFER",
}


@pytest.mark.parametrize("which", INSTRUCTIONS)
def test_instruction(which):
    program, left = INSTRUCTIONS[which]
    found = plain(run(program))
    assert found == left
    assert type(found) is type(left)


def test_every_instruction_is_tested():
    assert {which.split()[0] for which in INSTRUCTIONS} | TO_DO == {opcode.name for opcode in pickletools.opcodes}


def test_global_is_two_words():
    made = machine(b"cos.path\njoin\n0cos.path\njoin\n.")
    assert isinstance(made.result, Global)
    assert (made.result.module, made.result.name, made.result.offset) == ("os.path", "join", 0)
    assert len(made.globals) == 1


def test_stack_global_takes_what_is_on_the_stack():
    """Not the last two strings of the file, which a memo can make others."""
    found = run(
        text("os") + put(0) + text("system") + put(1) + code.POP + code.POP + get(0) + get(1) + code.STACK_GLOBAL + code.STOP
    )
    assert found.path == "os.system"
    with pytest.raises(CorruptFileError):
        run(b"NN\x93.")


@pytest.mark.parametrize(
    "made",
    [
        call("m.f", 1, "a"),
        code.Code(b"(K\x01\x8c\x01aim\nf\n"),
        code.Code(b"(cm\nf\nK\x01\x8c\x01ao"),
        instance("m.f", None, 1, "a"),
    ],
)
def test_calls_are_nodes(made):
    ran = machine(made + code.STOP)
    assert isinstance(ran.result, Call)
    assert (ran.result.function.path, ran.result.args) == ("m.f", (1, "a"))
    assert ran.result.function.calls == 1


def test_newobj_ex_keeps_keywords():
    found = run(name("m.C") + b"K\x01\x85" + b"}\x8c\x01kK\x02s" + code.NEWOBJ_EX + code.STOP)
    assert (found.args, found.entries) == ((1,), [("k", 2)])


def test_build_keeps_the_state():
    found = run(instance("m.C", {"a": 1}) + code.STOP)
    assert plain(found.state) == {"a": 1}
    mapping = run(call("collections.OrderedDict") + b"}\x8c\x01aK\x01sb.")
    assert plain(mapping.state) == {"a": 1}


def test_build_on_a_class():
    found = run(name("m.C") + b"}\x8c\x01aK\x01sb.")
    assert isinstance(found, Call)
    assert plain(found.state) == {"a": 1}


def test_items_of_an_object():
    found = run(instance("m.List") + b"(K\x01K\x02e" + b"\x8c\x01kK\x03s.")
    assert (found.items, found.entries) == ([1, 2], [("k", 3)])


@pytest.mark.parametrize(
    "cls", ["collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict", "__builtin__.dict"]
)
def test_dictionaries_of_all_classes(cls):
    found = run(name(cls) + b")R(K\x01K\x02u.")
    assert plain(found) == {1: 2}


def test_ordered_dictionary_of_protocol_0():
    assert plain(run(pickle.dumps(collections.OrderedDict([("a", 1), ("b", 2)]), 0))) == {"a": 1, "b": 2}


def test_persistent_ids_are_the_callers():
    assert run(b"K\x05Q.", load=lambda pid, offset: ("loaded", pid, offset)) == ("loaded", 5, 2)
    assert run(b"Pa b\n.", load=lambda pid, offset: ("loaded", pid, offset)) == ("loaded", "a b", 0)
    with pytest.raises(CorruptFileError):
        run(b"K\x05Q.")


@pytest.mark.parametrize(
    ("program", "number"), [(b"\x82\x07.", 7), (b"\x83\x07\x01.", 263), (b"\x84\x07\x00\x00\x01.", 16_777_223)]
)
def test_extensions_are_named(program, number):
    assert run(program).path == f"copyreg.extension {number}"


data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.tuples(inner, inner)
        | st.tuples()
        | st.tuples(inner, inner, inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.integers() | st.tuples(st.integers()), inner, max_size=5)
        | st.sets(st.integers() | st.text(max_size=3), max_size=4)
    ),
    max_leaves=30,
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(thing=data, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_data_comes_out_as_it_went_in(thing, protocol):
    raw = pickle.dumps(thing, protocol)
    made = machine(raw)
    assert plain(made.result) == thing
    assert made.end == len(raw)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(thing=data, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL), step=st.integers(1, 9))
def test_stream_in_pieces_gives_the_same(thing, protocol, step):
    """The machine takes an instruction up again where its operands were not all there."""
    raw = pickle.dumps(thing, protocol) + b"behind"
    position = 1

    def more(wanted: int) -> bytes:
        nonlocal position
        piece = raw[position : position + step]
        position += step
        return piece

    made = PickleMachine(bytearray(raw[:1]), "test", DEFAULT_LIMITS, None, more)
    assert plain(made.run()) == thing
    assert made.end == len(raw) - 6


def test_sharing_is_kept():
    shared: list[int] = [1]
    found = run(pickle.dumps([shared, shared]))
    assert found[0] is found[1]


def test_cycles_are_kept():
    looped: list[Any] = []
    looped.append(looped)
    found = run(pickle.dumps(looped))
    assert found[0] is found


def test_huge_memo_index_costs_nothing():
    assert run(proto() + b"Nr\xff\xff\xff\xff.") is None


def test_deep_nesting():
    found = run(b"]" * 100_000 + b"a" * 99_999 + code.STOP)
    depth = 0
    while found:
        (found,) = found
        depth += 1
    assert depth == 99_999


@pytest.mark.parametrize("closing", [code.TUPLE, code.LIST, code.FROZENSET])
def test_billion_laughs(closing):
    ran = machine(pickled(laughs(60, 10, "ha", closing=closing)))
    assert ran.opcodes < 1_000


def test_keys_are_never_hashed():
    """Hashing a tuple whose halves are shared sixty times over would take for ever."""
    found = run(code.EMPTY_DICT + laughs(60, 2, "ha") + b"K\x01s.")
    assert len(found.pairs) == 1


BROKEN = {
    "nothing": b"",
    "no STOP": b"]K\x01a",
    "STOP with nothing": b".",
    "STOP inside a tuple": b"K\x01(.",
    "cut operand": b"M\x01",
    "cut string": b"X\x05\x00\x00\x00ab",
    "cut line": b"I12",
    "unknown instruction": b"\xff.",
    "missing memo": b"h\x05.",
    "missing memo in text": b"g5\n.",
    "empty stack": b"a.",
    "no mark": b"K\x01t.",
    "SETITEMS of three": b"}(K\x01K\x02K\x03u.",
    "entries of a number": b"K\x01K\x02K\x03s.",
    "items of a number": b"K\x01K\x02a.",
    "a list as key": b"}]K\x01s.",
    "arguments that are a list": b"cm\nf\n]R.",
    "bad UTF-8": b"X\x02\x00\x00\x00\xff\xfe.",
    "bad UTF-8, short": b"\x8c\x01\xff.",
    "bad UTF-8 in a name": b"c\xff\nf\n.",
    "string without quotes": b"Sabc\n.",
    "string with half a quote": b"S'\n.",
    "number of words": b"Iabc\n.",
    "float of words": b"Fabc\n.",
    "memo of words": b"Nptest\n.",
    "protocol 6": b"\x80\x06N.",
    "negative LONG4": b"\x8b\xff\xff\xff\xff.",
    "buffer": b"\x97.",
    "OBJ of nothing": b"(o.",
    "huge string": b"\x8e" + struct.pack("<Q", 1 << 62) + b"a.",
    "huge text": b"\x8d" + struct.pack("<Q", 1 << 62) + b"a.",
    "long number": b"I" + b"9" * 5_000 + b"\n.",
    "long LONG": b"L" + b"9" * 5_000 + b"L\n.",
    "long LONG4": b"\x8b" + struct.pack("<i", 5_000) + bytes(5_000) + b".",
    "long float": b"F" + b"9" * 5_000 + b"\n.",
    "text that is not ASCII as persistent id": b"P\xff\n.",
    "bad escape": b"V\\uZZZZ\n.",
    "bad escape in a string": b"S'\\x'\n.",
}


@pytest.mark.parametrize("which", BROKEN)
def test_broken(which):
    with pytest.raises(CorruptFileError) as caught:
        run(BROKEN[which], load=lambda pid, offset: pid)
    assert caught.value.path == "test"


def test_escapes_are_those_of_python_and_others_are_kept_without_a_warning():
    for written in (rb"a\x20b\n\141", rb"\q\\ \? \'", rb"\400", b"plain"):
        with warnings.catch_warnings():  # where Python's own gives one
            warnings.simplefilter("ignore")
            expected = pickle.loads(b"S'" + written + b"'\n.")
        assert run(b"S'" + written + b"'\n.") == expected


def test_surrogates_survive():
    assert run(pickle.dumps("\ud800")) == "\ud800"


def test_problem_tells_what_would_have_been_imported():
    with pytest.raises(CorruptFileError) as caught:
        run(name("os.system") + b"h\x05.")
    assert "os.system" in caught.value.hint
    assert caught.value.offset == len(name("os.system"))


LIMITED = {
    "opcodes": code.NONE * 9_000 + code.STOP,
    "objects": code.EMPTY_DICT * 9_000 + code.STOP,
    "memo": code.NONE + code.MEMOIZE * 9_000 + code.STOP,
}


@pytest.mark.parametrize("resource", LIMITED)
def test_limits_are_named(resource):
    with pytest.raises(LimitError) as caught:
        run(LIMITED[resource], limits=DEFAULT_LIMITS._replace(**{resource: 1_000}))
    assert caught.value.resource == resource
    assert resource in caught.value.hint


def test_entries_of_states_count_as_instructions_do():
    """One state of 99 entries, given to eleven objects."""
    state = code.EMPTY_DICT + code.MARK + code.text("k") * 198 + code.SETITEMS + put(0) + code.POP
    program = state + (name("m.f") + code.EMPTY_TUPLE + code.REDUCE + get(0) + code.BUILD + code.POP) * 11 + code.NONE + code.STOP
    run(program, limits=DEFAULT_LIMITS._replace(opcodes=1_089))
    with pytest.raises(LimitError, match=r"1,088 entries of states") as caught:
        run(program, limits=DEFAULT_LIMITS._replace(opcodes=1_088))
    assert caught.value.resource == "opcodes"


def test_limit_on_a_stream():
    program = bytearray(b"X\xff\xff\xff\x7f")
    with pytest.raises(LimitError) as caught:
        PickleMachine(program, "test", DEFAULT_LIMITS._replace(pickle_bytes=10_000), None, lambda wanted: bytes(wanted)).run()
    assert caught.value.resource == "pickle_bytes"


def test_trace_counts_calls():
    ran = machine(name("m.f") + put(0) + b")R0h\x00)R0" + name("m.g") + code.STOP)
    trace = ran.trace()
    assert [(use.module, use.name, use.calls) for use in trace.globals] == [("m", "f", 2), ("m", "g", 0)]
    assert trace.nbytes == ran.end
