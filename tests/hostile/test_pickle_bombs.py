"""Small files that ask for much: each is answered within ten seconds and 512 MiB."""

from __future__ import annotations

import itertools

import pytest

from tests.builders.pickle_code import (
    APPENDS,
    BUILD,
    DICT,
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_TUPLE,
    LIST,
    MARK,
    MEMOIZE,
    NONE,
    POP,
    REDUCE,
    SETITEM,
    SETITEMS,
    STOP,
    TUPLE,
    TUPLE1,
    Code,
    call,
    get,
    laughs,
    name,
    number,
    pickled,
    proto,
    put,
    remembered,
    text,
    value,
)
from tests.builders.torch_code import contiguous, storage, tensor
from tests.builders.torch_file import legacy_bytes, torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes

FALSE = b"\x89"


def compressed(program: bytes) -> bytes:
    """A torch zip with this data.pkl, deflated."""
    return zip_bytes([Entry("archive/data.pkl", program, deflate=True)])


def test_deflate_bomb(bounded):
    found = bounded(compressed(bytes(1 << 30)))
    assert found.code == 3
    assert "pickle bytes" in found.err


def test_deflate_bomb_that_lies_about_its_size(bounded):
    entry = Entry("archive/data.pkl", bytes(1 << 28), deflate=True, size=1_000)
    found = bounded(zip_bytes([entry]))
    assert found.code == 3
    assert "more bytes" in found.err


def test_huge_memo_index(bounded):
    found = bounded(proto() + EMPTY_DICT + b"r\xff\xff\xff\xff" + STOP, "bomb.pkl")
    assert found.code == 0


def test_opcodes_without_end(bounded):
    found = bounded(compressed(proto() + FALSE * 6_000_000 + STOP))
    assert "opcodes" in found.err


def test_objects_without_end(bounded):
    found = bounded(compressed(proto() + EMPTY_DICT * 2_000_000 + STOP))
    assert "objects" in found.err


def test_calls_without_end(bounded):
    found = bounded(
        compressed(proto() + name("a.b") + put(0) + MARK + (get(0) + EMPTY_TUPLE + REDUCE) * 1_150_000 + LIST + STOP)
    )
    assert found.code in (0, 3)


def test_tuples_without_end(bounded):
    found = bounded(compressed(proto() + EMPTY_LIST + MARK + (NONE + TUPLE1) * 2_000_000 + APPENDS + STOP))
    assert "objects" in found.err


def test_memo_without_end(bounded):
    found = bounded(compressed(proto() + NONE + MEMOIZE * 2_000_000 + STOP))
    assert "memo" in found.err


def test_strings_without_end(bounded):
    wide = "\U0001f600\U0001f600".encode()
    bounded(compressed(proto() + MARK + (b"\x8c" + bytes([len(wide)]) + wide) * 4_900_000 + LIST + STOP))


def test_globals_without_end(bounded):
    program = b"".join(b"cm\nn%x\n" % index for index in range(1_100_000))
    bounded(compressed(proto() + MARK + program + LIST + STOP))


def test_one_string_of_wide_characters(bounded):
    raw = b"a" * 60_000_000 + "\U0001f600".encode()
    bounded(compressed(proto() + b"X" + len(raw).to_bytes(4, "little") + raw + STOP))


def test_one_escaped_string_of_wide_characters(bounded):
    bounded(compressed(proto() + b"V" + b"a" * 60_000_000 + b"\\U0001f600\n" + STOP))


def test_line_without_end_in_a_stream(bounded):
    found = bounded(proto() + b"c" + b"a" * (63 << 20), "bomb.pkl")
    assert found.code == 3


def test_laughing_tuples(bounded):
    bounded(pickled(laughs(40, 10, "ha")), "bomb.pkl")


def test_laughing_lists(bounded):
    bounded(pickled(laughs(40, 10, "ha", closing=LIST)), "bomb.pkl")


def test_laughing_dictionaries(bounded):
    code = value({"ha": 1}) + put(0)
    for level in range(40):
        code += POP + MARK + b"".join(text(str(n)) + get(level) for n in range(10)) + DICT + put(level + 1)
    bounded(pickled(Code(code)), "bomb.pkl")


def test_laughing_tensors(bounded):
    bounded(torch_zip_bytes(laughs(40, 10, tensor(shape=(1,)), closing=LIST), {"0": 4}))


def test_laughing_keys(bounded):
    """Hashing a tuple whose halves are shared forty times over would take for ever."""
    bounded(pickled(Code(EMPTY_DICT + laughs(40, 2, "ha") + NONE + SETITEM)), "bomb.pkl")


def test_laughing_rebuild_arguments(bounded):
    """A nested tensor of nested tensors of …, ten references to each."""
    code = remembered(0, tensor(shape=(1,)))
    for level in range(12):
        code += POP + name("torch._utils._rebuild_nested_tensor") + MARK + get(level) * 10 + TUPLE + REDUCE + put(level + 1)
    bounded(torch_zip_bytes(Code(EMPTY_DICT + text("w") + code + SETITEM), {"0": 4}))


def test_laughing_state_of_a_subclass(bounded):
    """The state of a tensor subclass is searched for tensors; it is 60 references to 60 references to …"""
    state = laughs(12, 60, tensor(shape=(1,)))
    meta = (name("torch.float32"), (2, 2), (2, 1), False)
    function = name("torch._utils._rebuild_meta_tensor_no_storage")
    subclass = call("torch._tensor._rebuild_from_type_v2", function, name("a.Subclass"), meta, state)
    bounded(torch_zip_bytes({"w": subclass}, {"0": 4}))


def test_long_list_met_again_and_again(bounded):
    """A million references to one list of a million numbers: each may be looked at once, not all of it every time."""
    long_list = Code(EMPTY_LIST + MARK + FALSE * 1_000_000 + APPENDS + put(0))
    bounded(compressed(proto() + EMPTY_LIST + MARK + long_list + get(0) * 1_000_000 + APPENDS + STOP))


def test_long_key_used_again_and_again(bounded):
    key = Code(MARK + FALSE * 500_000 + TUPLE + put(0))
    program = EMPTY_DICT + MARK + key + NONE + (get(0) + NONE) * 500_000 + SETITEMS
    bounded(compressed(proto() + program + STOP))


@pytest.mark.parametrize("length", [5_000, 100_000])
def test_long_text_met_again_and_again(bounded, length):
    """As a key of many dictionaries and an item of many lists, of which a description cuts it short each time."""
    listed = EMPTY_LIST + MARK + get(0) * 30 + APPENDS
    many = (EMPTY_DICT + get(0) + get(0) + SETITEM + listed) * 15_000
    bounded(compressed(proto() + EMPTY_LIST + MARK + text("\u2026" * length) + put(0) + many + APPENDS + STOP))


def test_copies_of_a_dictionary(bounded):
    """OrderedDict(dictionary) copies its pairs: a thousand copies of a hundred thousand pairs are not made."""
    original = EMPTY_DICT + MARK + (NONE + FALSE) * 200_000 + SETITEMS + put(0)
    copies = (get(1) + get(0) + TUPLE1 + REDUCE) * 2_000
    program = proto() + name("collections.OrderedDict") + put(1) + original + MARK + copies + LIST + STOP
    bounded(compressed(program))


def test_copies_of_a_list_of_pairs(bounded):
    original = EMPTY_LIST + MARK + (NONE + FALSE + b"\x86") * 200_000 + APPENDS + put(0)
    copies = (get(1) + get(0) + TUPLE1 + REDUCE) * 1_000
    bounded(compressed(proto() + name("collections.OrderedDict") + put(1) + original + MARK + copies + LIST + STOP))


def test_copies_of_a_set(bounded):
    original = EMPTY_LIST + MARK + FALSE * 1_000_000 + APPENDS + put(0)
    copies = (get(1) + get(0) + TUPLE1 + REDUCE) * 500
    bounded(compressed(proto() + name("builtins.set") + put(1) + original + MARK + copies + LIST + STOP))


def nested(levels: int, key: Code, inner: Code) -> Code:
    """`levels` dictionaries in one another, each under the same key."""
    first = Code(EMPTY_DICT + remembered(9, key))
    return Code(first + (EMPTY_DICT + get(9)) * (levels - 1) + inner + SETITEM * levels)


def test_deep_nesting(bounded):
    found = bounded(pickled(nested(100_000, text("k"), Code(EMPTY_DICT))), "bomb.pkl")
    assert "nesting" in found.err


def test_deep_nesting_under_long_keys(bounded):
    """The path of a tensor is its keys joined: 1,900 of them with 4,000 characters each."""
    bounded(torch_zip_bytes(nested(1_900, text("k" * 4_000), Code(EMPTY_DICT)), {}))


def test_many_tensors_below_long_keys(bounded):
    shared = remembered(8, tensor(shape=(1,)))
    entries = Code(EMPTY_DICT + MARK + b"".join(text(str(n)) + (get(8) if n else shared) for n in range(20_000)) + SETITEMS)
    bounded(torch_zip_bytes(nested(50, text("k" * 4_000), entries), {"0": 4}))


def test_dictionary_in_itself(bounded):
    bounded(pickled(Code(EMPTY_DICT + put(0) + text("self") + get(0) + SETITEM)), "bomb.pkl")


def test_state_built_in_itself(bounded):
    bounded(pickled(Code(call("a.b") + put(0) + get(0) + BUILD)), "bomb.pkl")


def test_parameter_of_parameters(bounded):
    code = tensor(shape=(1,)) + put(0)
    for level in range(3_000):
        arguments = MARK + get(level) + FALSE + EMPTY_DICT + TUPLE
        code += POP + name("torch._utils._rebuild_parameter") + arguments + REDUCE + put(level + 1)
    found = bounded(torch_zip_bytes(Code(EMPTY_DICT + text("w") + code + SETITEM), {"0": 4}))
    assert found.code in (0, 3)


def test_shape_of_a_million_dimensions(bounded):
    """The product of a million extents is a number of a million bytes: multiplying it out takes minutes."""
    dims = Code(MARK + number(255) * 1_500_000 + TUPLE)
    held = storage("0", 1)
    bounded(compressed(pickled({"w": call("torch._utils._rebuild_tensor_v2", held, 0, dims, dims, False, {})})), "dims.pt")
    arguments = (name("torch.float32"), dims, dims, False)
    bounded(compressed(pickled({"w": call("torch._utils._rebuild_meta_tensor_no_storage", *arguments)})), "meta.pt")


def test_interleaved_columns_of_one_storage(bounded):
    """Five hundred columns of a matrix, each 4,000 runs of its own: two million runs in between one another."""
    rows, columns = 4_000, 500
    order = [column for half in (range(0, columns, 2), range(1, columns, 2)) for column in half]
    views = {str(n): tensor("0", (rows,), numel=rows * columns, offset=n, strides=(columns,)) for n in order}
    bounded(torch_zip_bytes(views, {"0": rows * columns * 4}, deflate=True))


def test_overlapping_windows_of_one_storage(bounded):
    """unfold makes views with more elements than the storage has."""
    size, window = 100_000, 50_000
    view = {"w": tensor("0", (size - window, window), numel=size, strides=(1, 1))}
    views = {str(n): tensor("0", (300, 300), numel=size, strides=(n + 2, 3)) for n in range(40)}
    bounded(torch_zip_bytes({**view, **views}, {"0": size * 4}))


def test_number_of_many_digits(bounded):
    bounded(proto() + b"I" + b"9" * 10_000_000 + b"\n" + STOP, "bomb.pkl")
    bounded(proto() + b"\x8b" + (10_000_000).to_bytes(4, "little") + b"\x7f" * 10_000_000 + STOP, "bomb.pkl")


def test_nested_saves_in_one_another(bounded):
    data = legacy_bytes({"w": 1})
    for _ in range(400):
        data = legacy_bytes({"w": call("torch.storage._load_from_bytes", data)})
    bounded(data)


def test_many_nested_saves(bounded):
    saves = [call("torch.storage._load_from_bytes", legacy_bytes({"n": n})) for n in range(9_000)]
    bounded(legacy_bytes(saves))


def test_tensor_names_that_are_all_dots(bounded):
    entries = {"." * n: tensor(shape=(1,)) for n in itertools.chain(range(1, 300), [4_000, 100_000])}
    bounded(torch_zip_bytes(entries, {"0": 4}))


def test_many_tensors_of_one_element(bounded):
    shared = remembered(8, tensor(shape=contiguous((1,))))
    entries = Code(EMPTY_DICT + MARK + b"".join(text(str(n)) + (get(8) if n else shared) for n in range(250_000)) + SETITEMS)
    bounded(torch_zip_bytes(entries, {"0": 4}))


def again_and_again(thing: Code, times: int = 300_000) -> bytes:
    """A list of references to one object, compressed."""
    return compressed(proto() + EMPTY_LIST + MARK + thing + put(0) + get(0) * times + APPENDS + STOP)


@pytest.mark.parametrize("function", ["pathlib.PosixPath", "torch.Size"])
def test_long_call_met_again_and_again(bounded, function):
    arguments = MARK + (text("a") if "Path" in function else number(7)) * 300_000 + TUPLE
    bounded(again_and_again(Code(name(function) + arguments + REDUCE)))


def test_tensor_of_many_dimensions_met_again_and_again(bounded):
    dims = Code(MARK + number(1) * 300_000 + TUPLE)
    arguments = value(name("torch.float32")) + dims + dims + FALSE
    bounded(
        again_and_again(Code(name("torch._utils._rebuild_meta_tensor_no_storage") + MARK + arguments + TUPLE + REDUCE), 250_000)
    )


def test_large_state_met_again_and_again(bounded):
    state = (
        EMPTY_DICT
        + MARK
        + text("_modules")
        + EMPTY_DICT
        + text("_parameters")
        + EMPTY_DICT
        + (text("k") + NONE) * 200_000
        + SETITEMS
    )
    bounded(again_and_again(Code(call("shop.M") + state + BUILD)))


def test_keywords_copied_again_and_again(bounded):
    keywords = EMPTY_DICT + MARK + (NONE + FALSE) * 200_000 + SETITEMS + put(0)
    made = (get(1) + EMPTY_TUPLE + get(0) + b"\x92") * 2_000
    bounded(compressed(proto() + name("m.C") + put(1) + keywords + MARK + made + LIST + STOP))


def test_storages_that_are_named_but_not_stored(bounded):
    kind = name("torch.FloatStorage")
    ids = b"".join(MARK + get(0) + get(1) + text(f"{index:x}") + NONE + number(1) + TUPLE + b"Q" for index in range(200_000))
    root = Code(EMPTY_LIST + text("storage") + put(0) + b"0" + kind + put(1) + b"0" + MARK + ids + APPENDS)
    bounded(legacy_bytes(root))


def test_metadata_of_long_texts(bounded):
    long_text = text("x" * 60_000)
    bounded(again_and_again(long_text, 1_000_000))
    pairs = b"".join(text(str(index)) + get(0) for index in range(200_000))
    bounded(compressed(proto() + long_text + put(0) + EMPTY_DICT + MARK + pairs + SETITEMS + STOP))


def test_names_of_modules_below_long_keys(bounded):
    listed = Code(EMPTY_DICT + MARK + b"".join(text(str(index)) + NONE for index in range(50_000)) + SETITEMS)
    state_dict = call("collections.OrderedDict") + EMPTY_DICT + text("_metadata") + listed + SETITEM + BUILD
    bounded(compressed(pickled(nested(40, text("k" * 4_000), Code(EMPTY_DICT + text("m") + state_dict + SETITEM)))))
