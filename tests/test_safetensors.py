"""safetensors: what the reference reads is read, what it refuses is refused, and leniently shown with a note."""

from __future__ import annotations

import json

import pytest

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.core.dtype import SAFETENSORS_DTYPES
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError
from tests.builders.safetensors_file import BITS, entry, header_bytes, raw_bytes, safetensors_bytes
from tests.opened import codes, facts, opened

NAME = "model.safetensors"


def read(data: bytes, **options):
    return opened(data, NAME, **options)


def test_header_is_all_there_is_to_know():
    checkpoint = read(safetensors_bytes({"b": ("F32", (2, 3)), "a": ("I64", ()), "empty": ("F16", (0, 7))}, {"format": "pt"}))
    assert [(t.name, t.shape, t.dtype.name) for t in checkpoint.tensors] == [
        ("b", (2, 3), "float32"),
        ("a", (), "int64"),
        ("empty", (0, 7), "float16"),
    ]
    assert checkpoint.metadata == {"format": "pt"}
    assert checkpoint.elements == 7
    assert not checkpoint.ordered
    data = checkpoint.nbytes - 32
    assert [(t.start, t.stop) for t in checkpoint.tensors] == [
        (data, data + 24),
        (data + 24, data + 32),
        (data + 32, data + 32),
    ]
    assert checkpoint.sections()["data"] == 32


@pytest.mark.parametrize("dtype", BITS)
def test_every_dtype_is_counted_in_bits(dtype):
    (tensor,) = read(safetensors_bytes({"w": (dtype, (4, 8))})).tensors
    assert tensor.dtype.bits == BITS[dtype]
    assert tensor.stop - tensor.start == 32 * BITS[dtype] // 8


def test_table_of_dtypes_is_the_formats():
    assert set(SAFETENSORS_DTYPES) == set(BITS)


def test_padding_and_header_are_told_apart():
    checkpoint = read(header_bytes({"w": entry("U8", [3], 0, 3)}, padding=13) + bytes(3))
    assert checkpoint.sections() == {"header": 8 + len(json.dumps({"w": entry("U8", [3], 0, 3)})), "padding": 13, "data": 3}


def test_no_tensors_at_all():
    assert len(read(raw_bytes("{}")).tensors) == 0
    assert read(raw_bytes({"__metadata__": {"a": "b"}})).metadata == {"a": "b"}


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580, 0x10280])
def test_a_length_that_begins_like_a_pickle(length):
    header = json.dumps({"w": entry("F32", [2, 2], 0, 16)}).encode()
    data = header_bytes(header, padding=length - len(header)) + bytes(16)
    assert data[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    assert opened(data, "model.pt").tensors.names == ["w"]


def test_order_of_offsets_need_not_be_that_of_names():
    checkpoint = read(raw_bytes({"a": entry("U8", [4], 4, 8), "b": entry("U8", [4], 0, 4)}, 8))
    assert facts(checkpoint).keys() == {"a", "b"}


def test_names_that_look_like_fields():
    names = {
        "dtype": ("F32", (1,)),
        "shape": ("F32", (1,)),
        "data_offsets": ("F32", (1,)),
        'quo"te': ("F32", (1,)),
        "ä\\": ("F32", (1,)),
    }
    assert list(facts(read(safetensors_bytes(names, {"dtype": "x", "shape": "y", "data_offsets": "z"})))) == list(names)


def test_metadata_behind_the_tensors():
    header = {"w": entry("U8", [1], 0, 1), "__metadata__": {"k": "v"}}
    assert read(raw_bytes(header, 1)).metadata == {"k": "v"}


REFUSED = {
    "hole between": ({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 4, 6)}, 6),
    "hole before": ({"a": entry("U8", [2], 2, 4)}, 4),
    "overlap": ({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, 6),
    "same range twice": ({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 0, 4)}, 4),
    "trailing bytes": ({"a": entry("U8", [4], 0, 4)}, 5),
    "data cut short": ({"a": entry("U8", [4], 0, 4)}, 3),
    "data but no tensors": ({}, 3),
    "too small for its shape": ({"a": entry("F32", [4], 0, 12)}, 12),
    "too large for its shape": ({"a": entry("F32", [4], 0, 20)}, 20),
    "half a byte": ({"a": entry("F4", [3], 0, 2)}, 2),
    "start behind stop": ({"a": entry("U8", [0], 4, 0)}, 4),
    "shape overflows": ({"a": entry("U8", [1 << 32, 1 << 32], 0, 0)}, 0),
    "shape overflows to the right size": ({"a": entry("U8", [1 << 62, 4], 0, 0)}, 0),
    "offsets overflow": ({"a": entry("U8", [1], (1 << 64) - 1, 0)}, 1),
    "offset beyond 64 bits": ({"a": entry("U8", [1], 0, 1 << 70)}, 1),
    "negative offset": ({"a": entry("U8", [1], -1, 0)}, 1),
    "negative extent": ({"a": entry("U8", [-1, -4], 0, 4)}, 4),
    "offset is true": ({"a": entry("U8", [1], False, True)}, 1),
    "offset is a float": ({"a": entry("U8", [1], 0, 1.0)}, 1),
    "offset is a string": ({"a": entry("U8", [1], 0, "1")}, 1),
    "three offsets": ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 1]}}, 1),
    "one offset": ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1]}}, 1),
    "extent is true": ({"a": entry("U8", [True], 0, 1)}, 1),
    "extent is a float": ({"a": entry("U8", [1.0], 0, 1)}, 1),
    "shape is null": ({"a": {"dtype": "U8", "shape": None, "data_offsets": [0, 1]}}, 1),
    "dtype is a number": ({"a": {"dtype": 8, "shape": [1], "data_offsets": [0, 1]}}, 1),
    "no dtype": ({"a": {"shape": [1], "data_offsets": [0, 1]}}, 1),
    "no shape": ({"a": {"dtype": "U8", "data_offsets": [0, 1]}}, 1),
    "no offsets": ({"a": {"dtype": "U8", "shape": [1]}}, 1),
    "empty entry": ({"a": {}}, 0),
    "entry is a list": ({"a": ["U8", [1], [0, 1]]}, 1),
    "entry is null": ({"a": None}, 0),
    "metadata is a list": ({"__metadata__": []}, 0),
    "metadata of numbers": ({"__metadata__": {"a": 1}}, 0),
    "metadata of dictionaries": ({"__metadata__": {"a": {"b": "c"}}}, 0),
    "metadata is a tensor": ({"__metadata__": entry("U8", [1], 0, 1)}, 1),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    header, data = REFUSED[what]
    with pytest.raises(CorruptFileError):
        read(raw_bytes(header, data))


TEXT_REFUSED = {
    "not JSON": "{'a': 1}",
    "cut JSON": '{"a": {"dtype": "U8"',
    "a list": "[]",
    "a number": "8",
    "a space before the brace": " {}",
    "two documents": "{}{}",
    "text behind it": "{} x",
    "NaN": '{"a": {"dtype": "U8", "shape": [NaN], "data_offsets": [0, 0]}}',
    "infinity as offset": '{"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 1e999]}}',
    "exponent": '{"a": {"dtype": "U8", "shape": [1e0], "data_offsets": [0, 1]}}',
    "leading zero": '{"a": {"dtype": "U8", "shape": [01], "data_offsets": [0, 1]}}',
    "nested lists": '{"a": {"dtype": "U8", "shape": [[1]], "data_offsets": [0, 1]}}',
    "trailing comma": '{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1],}}',
    "comment": '{/* c */"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}',
    "control character in a name": '{"a\x01": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}',
    "duplicate name": '{"a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}, "a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
    "duplicate by escape": '{"a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}, "\\u0061": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
    "duplicate field": '{"a": {"dtype":"I8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
    "duplicate field by escape": '{"a": {"d\\u0074ype":"I8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
    "metadata twice": '{"__metadata__": {"a":"b"}, "__metadata__": {"a":"c"}, "a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
    "key twice in the metadata": '{"__metadata__": {"a":"b", "a":"c"}, "w": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
}  # fmt: skip


@pytest.mark.parametrize("what", TEXT_REFUSED)
def test_refused_text(what):
    with pytest.raises(ModelscopeError):
        read(raw_bytes(TEXT_REFUSED[what], 1))


def test_unknown_fields_hide_no_duplicates():
    header = (
        '{"a": {"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":0}, "a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    )
    with pytest.raises(CorruptFileError):
        read(raw_bytes(header, 1))


def test_names_not_in_utf8_are_refused():
    with pytest.raises(CorruptFileError):
        read(raw_bytes(b'{"\xff": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1))


@pytest.mark.parametrize("length", [(1 << 64) - 1, 1 << 40, 100_000_001, 3])
def test_absurd_header_lengths(length):
    with pytest.raises(ModelscopeError):
        read(header_bytes({"w": entry("U8", [1], 0, 1)}, length=length) + b"\0")


def test_header_above_the_limit_is_named():
    with pytest.raises(LimitError) as caught:
        read(raw_bytes("{" + " " * 200 + "}"), limits=DEFAULT_LIMITS._replace(header_bytes=100))
    assert caught.value.resource == "header_bytes"
    assert caught.value.actual == 208


def test_tensors_above_the_limit_are_named():
    with pytest.raises(LimitError) as caught:
        read(safetensors_bytes({str(n): ("U8", (1,)) for n in range(5)}), limits=DEFAULT_LIMITS._replace(tensors=4))
    assert caught.value.resource == "tensors"


def test_unknown_dtype_is_listed_with_its_bytes():
    checkpoint = read(raw_bytes({"a": entry("F2_NEW", [3], 0, 5), "b": entry("U8", [3], 5, 8)}, 8))
    unknown, _ = checkpoint.tensors
    assert (unknown.dtype.name, unknown.dtype.bits) == ("F2_NEW", None)
    assert unknown.stop - unknown.start == 5
    assert codes(checkpoint)["unknown-dtype"] == "error"


LENIENT = [
    "hole between",
    "hole before",
    "overlap",
    "same range twice",
    "trailing bytes",
    "data cut short",
    "too small for its shape",
    "no shape",
]


@pytest.mark.parametrize("what", LENIENT)
def test_lenient_shows_what_can_be_shown(what):
    header, data = REFUSED[what]
    checkpoint = read(raw_bytes(header, data), lenient=True)
    assert "error" in codes(checkpoint).values()
    assert sum(checkpoint.sections().values()) == checkpoint.nbytes


def test_lenient_keeps_the_sound_tensors():
    checkpoint = read(raw_bytes({"good": entry("F32", [2], 0, 8), "bad": entry("F32", [2], 8, 12)}, 12), lenient=True)
    assert "good" in facts(checkpoint)


def test_a_name_that_was_tied_to_damage_is_not_tied_to_anything():
    header = {"__metadata__": {"head.weight": "bad"}, "good": entry("F32", [2], 0, 8), "bad": entry("F32", [2], 8, 12)}
    checkpoint = read(raw_bytes(header, 12), lenient=True)
    assert checkpoint.aliases == {}
    assert checkpoint.metadata == {"head.weight": "bad"}
    assert len(Ledger(checkpoint)) == 1


def test_names_that_save_model_dropped():
    tensors = {"embed.weight": ("F32", (4, 2))}
    checkpoint = read(
        safetensors_bytes(tensors, {"head.weight": "embed.weight", "format": "pt", "embed.weight": "x", "a": "missing"})
    )
    assert checkpoint.aliases == {"head.weight": "embed.weight"}
    assert checkpoint.metadata == {"format": "pt", "embed.weight": "x", "a": "missing"}


def test_damage_says_where():
    with pytest.raises(CorruptFileError) as caught:
        read(safetensors_bytes({"a": ("F32", (4,))})[:-3])
    assert caught.value.path == NAME
    assert caught.value.offset is not None
    assert "'a'" in caught.value.message


def test_file_that_is_cut_short_says_by_how_much():
    whole = safetensors_bytes({"b": ("F32", (4,)), "a": ("F32", (4,)), "c": ("U8", (9,))})
    for missing in (1, 9, 10, 30):
        with pytest.raises(CorruptFileError) as caught:
            read(whole[:-missing])
        first = "c" if missing <= 9 else "a" if missing <= 25 else "b"
        assert caught.value.message == (
            f"cut short: {len(whole) - missing:,} of {len(whole):,} bytes are there, up to tensor {first!r}"
        )
        assert "get it again; --lenient" in caught.value.hint
        shown = read(whole[:-missing], lenient=True)
        assert next(note.message for note in shown.notes) == caught.value.message
    hole = raw_bytes({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 6, 10)}, 7)  # no whole file has that
    with pytest.raises(CorruptFileError, match="lies at 6 to 10, the data has 7 bytes"):
        read(hole)


def test_dtypes_without_end():
    """A season brings a new dtype or two; a thousand are no dtypes."""

    def named(count: int) -> bytes:
        return raw_bytes({f"t{n}": entry(f"Q{n}", [1], n, n + 1) for n in range(count)}, count)

    found = opened(named(1_000), "m.safetensors")
    assert len(found.tensors) == 1_000
    assert sum(note.code == "unknown-dtype" for note in found.notes) == 20
    assert "1,000 such dtypes in all" in found.notes[0].message
    with pytest.raises(CorruptFileError, match="1,000 dtypes are not known"):
        opened(named(1_001), "m.safetensors")
    assert len(opened(named(1_001), "m.safetensors", lenient=True).tensors) == 1_000
