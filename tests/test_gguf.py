"""GGUF: every version and byte order reads the same, what llama.cpp refuses is refused, and long arrays stay unread."""

from __future__ import annotations

import math
import struct
import zlib

import pytest

from modelscope_cli.analysis.overview import inspect, to_report
from modelscope_cli.core.dtype import BLOCK_DTYPES, KNOWN_DTYPES
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError, UnsupportedFeatureError
from modelscope_cli.formats.baseline import describe
from modelscope_cli.formats.gguf_types import FILE_TYPES, TENSOR_TYPES
from tests.builders.gguf_file import LLAMA_METADATA, TYPES, Value, Writer, gguf_bytes, llama
from tests.opened import codes, opened

NAME = "model.gguf"
ONE = {"w": ("F32", (2, 3))}
KINDS = [(1, "<"), (2, "<"), (3, "<"), (3, ">"), (2, ">")]


def read(data: bytes, **options):
    return opened(data, NAME, **options)


def refused(data: bytes) -> str:
    with pytest.raises(CorruptFileError) as caught:
        read(data)
    return caught.value.message


@pytest.mark.parametrize(("version", "order"), KINDS)
def test_versions_and_byte_orders_say_the_same(version, order):
    tensors = {"a": ("F32", (2, 3)), "b": ("Q4_0", (5, 64)), "c": ("BF16", ()), "empty": ("F16", (0, 4))}
    metadata = {"k": 7, "list": [1, 2], "text": "ä"}
    checkpoint = read(gguf_bytes(tensors, metadata, version=version, order=order))
    assert [(t.name, t.shape, t.dtype.name, t.stop - t.start) for t in checkpoint.tensors] == [
        ("a", (2, 3), "float32", 24),
        ("b", (5, 64), "q4_0", 180),
        ("c", (), "bfloat16", 2),
        ("empty", (0, 4), "float16", 0),
    ]
    assert checkpoint.metadata.pop("GGUF.version") == version
    assert checkpoint.metadata.pop("GGUF.byte_order", "little") == ("big-endian" if order == ">" else "little")
    assert checkpoint.metadata == metadata
    assert checkpoint.format == "gguf"
    assert not checkpoint.ordered


def test_data_of_a_tensor_is_where_the_table_says():
    data = gguf_bytes({"a": ("I8", (5,)), "b": ("I32", (3,))}, alignment=64)
    a, b = read(data).tensors
    assert a.start % 64 == b.start % 64 == 0
    assert (b.start - a.start, b.stop) == (64, len(data) - 52)


@pytest.mark.parametrize("kind", TYPES)
def test_sizes_of_all_types(kind):
    _, block, nbytes = TYPES[kind]
    (tensor,) = read(gguf_bytes({"w": (kind, (3, 2 * block))})).tensors
    assert tensor.stop - tensor.start == 6 * nbytes == tensor.dtype.nbytes(6 * block)
    assert tensor.dtype.width == nbytes * 8 / block


def test_types_by_number():
    for number, dtype in TENSOR_TYPES.items():
        assert KNOWN_DTYPES.get(dtype.name, dtype) == dtype, number
    assert set(BLOCK_DTYPES) <= {dtype.name for dtype in TENSOR_TYPES.values()}
    assert FILE_TYPES[15] == "Q4_K - Medium"


def test_bytes_are_labelled():
    metadata = {"general.name": "x", "tokenizer.ggml.tokens": ["a", "b"], "after": 1}
    data = gguf_bytes(ONE, metadata)
    writer = Writer()
    tokens = len(writer.pair("tokenizer.ggml.tokens", ["a", "b"]))
    others = len(writer.pair("general.name", "x")) + len(writer.pair("after", 1))
    header = 24 + len(writer.entry("w", 0, (2, 3), 0))
    pad = -(header + tokens + others) % 32
    assert read(data).sections() == {"header": header, "metadata": others, "tokenizer": tokens, "padding": pad + 8, "data": 24}


def test_without_tensors_the_file_ends_behind_the_pairs():
    checkpoint = read(gguf_bytes({}, {"general.architecture": "llama"}))
    assert len(checkpoint.tensors) == 0
    assert checkpoint.sections().keys() == {"header", "metadata"}


# Metadata -------------------------------------------------------------------------------------------------------------

VALUES = {
    "uint8": (Value(0, 200), 200), "int8": (Value(1, -3), -3), "uint16": (Value(2, 65_535), 65_535), "int16": (Value(3, -9), -9),
    "uint32": (Value(4, 1 << 31), 1 << 31), "int32": (Value(5, -1), -1), "bool": (Value(7, True), True),
    "uint64": (Value(10, 1 << 63), 1 << 63), "int64": (Value(11, -(1 << 62)), -(1 << 62)), "float64": (Value(12, 0.1), 0.1),
    "float32": (Value(6, 1e-5), 1e-5), "float32 of nine digits": (Value(6, 16777217.0), 16777216.0),
    "float32 infinite": (Value(6, math.inf), math.inf), "text": (Value(8, "a\nb"), "a\nb"), "empty text": (Value(8, ""), ""),
    "not UTF-8": (Value(8, b"\xff"), "\\xff"), "numbers": (Value(9, (5, [1, -2])), [1, -2]), "texts": (Value(9, (8, ["a", ""])), ["a", ""]),
    "nothing": (Value(9, (4, [])), []), "float32s": (Value(9, (6, [0.1])), [0.1]),
    "arrays": (Value(9, (9, [(4, [1] * 70), (8, ["x"])])), "2 arrays"),
}  # fmt: skip


@pytest.mark.parametrize("what", VALUES)
def test_values(what):
    written, expected = VALUES[what]
    found = read(gguf_bytes({}, {"before": "b", "k": written, "after": "a"})).metadata
    assert (found["before"], found["after"]) == ("b", "a")
    assert found["k"] == expected if what != "arrays" else found["k"].startswith(f"{expected}, CRC-32 ")
    assert type(found["k"]) is type(expected)


@pytest.mark.parametrize(("version", "order"), KINDS)
def test_long_arrays_are_counted_and_summed(version, order):
    words, scores = [f"word {number}" for number in range(50_000)], [0.5] * 70
    writer = Writer(version, order)
    data = gguf_bytes(ONE, {"words": words, "scores": scores, "last": 1}, version=version, order=order)
    found = read(data).metadata
    raw = b"".join(map(writer.text, words))
    assert found["words"] == f"50,000 strings, CRC-32 {zlib.crc32(raw):08x}"
    assert found["scores"] == f"70 float32 values, CRC-32 {zlib.crc32(struct.pack(order + '70f', *scores)):08x}"
    assert found["last"] == 1


def test_strings_longer_than_what_is_read_at_a_time():
    words = ["x" * 1_500_000, "", "y" * 2_000_000] + ["z"] * 70
    found = read(gguf_bytes({}, {"words": words, "last": 1})).metadata
    assert found["words"].startswith("73 strings")
    assert found["last"] == 1


def test_two_vocabularies_of_a_length_are_told_apart():
    first, second = ([f"{start}{number}" for number in range(100)] for start in "ab")
    assert read(gguf_bytes({}, {"t": first})).metadata != read(gguf_bytes({}, {"t": second})).metadata


def test_a_template_is_kept_and_a_very_long_text_cut():
    template = "{% for message in messages %}\n" * 300
    found = read(gguf_bytes({}, {"tokenizer.chat_template": template, "long": "ab" * 100_000, "last": 1})).metadata
    assert found["tokenizer.chat_template"] == template
    assert found["long"] == "ab" * 32_768 + f"… (200,000 bytes, CRC-32 {zlib.crc32(b'ab' * 100_000):08x})"
    assert found["last"] == 1


def test_more_values_than_are_listed_are_counted():
    checkpoint = read(
        gguf_bytes({}, {f"k{number}": number for number in range(30)}), limits=DEFAULT_LIMITS._replace(metadata_items=20)
    )
    assert len(checkpoint.metadata) == 21  # and the version
    assert [note.message for note in checkpoint.notes] == ["10 more metadata values are not listed (--limit metadata_items=N)"]


# Damage ---------------------------------------------------------------------------------------------------------------

writer = Writer()
KEY = writer.text("k")
WRONG = {
    "no more than the magic": (b"GGUF\x03\0\0", "expected 8 bytes, found 7"),
    "counts that do not fit": (writer.head(3, 1 << 60, 0), "1,152,921,504,606,846,976 tensors"),
    "pairs that do not fit": (writer.head(3, 0, 1 << 60) + bytes(90), "1,152,921,504,606,846,976 key/value pairs"),
    "key beyond the end": (writer.head(3, 0, 1) + writer.count(1 << 63) + bytes(30), "key 1 of 1: expected 9,223,"),
    "text beyond the end": (writer.head(3, 0, 1) + KEY + struct.pack("<IQ", 8, (1 << 64) - 1) + bytes(9), "expected 18,446,"),
    "unknown type of value": (writer.head(3, 0, 1) + KEY + struct.pack("<I", 13) + bytes(9), "has the type 13"),
    "unknown type of items": (writer.head(3, 0, 1) + KEY + struct.pack("<IIQ", 9, 13, 1) + bytes(9), "items of the type 13"),
    "array that does not fit": (writer.head(3, 0, 1) + KEY + struct.pack("<IIQ", 9, 8, 1 << 60) + bytes(9), "claims 1,152,"),
    "strings of an array beyond the end": (
        writer.head(3, 0, 1) + KEY + struct.pack("<IIQ", 9, 8, 65) + struct.pack("<65Q", *[0] * 64, 1 << 63), "the array 'k': expected",
    ),
    "numbers of an array beyond the end": (writer.head(3, 0, 1) + KEY + struct.pack("<IIQ", 9, 10, 70) + bytes(9), "claims 70 items"),
    "key twice": (writer.head(3, 0, 2) + writer.pair("k", 1) * 2, "the key 'k' stands twice"),
    "tensor twice": (writer.head(3, 2, 0) + writer.entry("w", 0, (1,), 0) * 2 + bytes(99), "the tensor 'w' stands twice"),
    "five dimensions": (writer.head(3, 1, 0) + writer.entry("w", 0, (1,) * 5, 0) + bytes(99), "has 5 dimensions"),
    "alignment 0": (gguf_bytes(ONE, {"general.alignment": 0}), "general.alignment is 0, not a power of two"),
    "alignment 3": (gguf_bytes(ONE, {"general.alignment": 48}), "general.alignment is 48, not a power of two"),
    "alignment as text": (gguf_bytes(ONE, {"general.alignment": "32"}), "general.alignment is '32'"),
    "not aligned": (gguf_bytes(ONE, offsets={"w": 4}, data=64), "not a multiple of 32"),
    "overlap": (gguf_bytes({"w": ("F32", (9,)), "v": ("F32", (9,))}, offsets={"v": 32}), "in the middle of another that ends at 36"),
    "beyond the end": (gguf_bytes(ONE, data=23), "which has 23 bytes: the file is cut short"),
    "far beyond the end": (gguf_bytes(ONE, offsets={"w": (1 << 64) - 32}), "the file is cut short"),
    "part of a block": (gguf_bytes({"w": ("Q4_0", (32, 33))}), "rows of 33 elements, and a block of q4_0 has 32"),
    "dimension below zero": (gguf_bytes({"w": ("F32", ((1 << 64) - 8,))}, data=32), "more than there can be"),
    "product beyond 64 bits": (gguf_bytes({"w": ("F32", (1 << 32, 1 << 32))}, data=32), "more than there can be"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_refused(what):
    data, told = WRONG[what]
    assert told in refused(data)


def test_versions_there_are_not():
    for version in (0, 4, 99):
        with pytest.raises(UnsupportedFeatureError, match=f"version {version} of GGUF"):
            read(writer.head(version, 0, 0))


def test_a_text_about_gguf_is_no_gguf_file():
    with pytest.raises(ModelscopeError, match=r"this is a text file .it begins 'GGUF is"):
        read(b"GGUF is a format\n")


@pytest.mark.parametrize(
    ("limit", "data"),
    [
        ("keys", gguf_bytes({}, {f"k{number}": 1 for number in range(20)})),
        ("tensors", gguf_bytes({f"w{number}": ("F32", (1,)) for number in range(20)})),
        ("name_characters", gguf_bytes({"w" * 20: ("F32", (1,))})),
        ("name_characters", gguf_bytes({}, {"k" * 20: 1})),
        ("array_bytes", gguf_bytes({}, {"k": ["x" * 10] * 70})),
        (
            "nesting",
            writer.head(3, 0, 1) + KEY + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 20 + struct.pack("<IQ", 4, 0),
        ),
    ],
)
def test_limits(limit, data):
    with pytest.raises(LimitError) as caught:
        read(data, limits=DEFAULT_LIMITS._replace(**{limit: 10}))
    assert caught.value.resource == limit


def test_leniently_what_is_whole_is_shown():
    tensors = dict.fromkeys("abcd", ("F32", (8,)))
    data = gguf_bytes(tensors, {"general.alignment": 32}, offsets={"b": 5}, data=100)
    checkpoint = read(data, lenient=True)
    assert checkpoint.tensors.names == ["a", "c"]
    assert codes(checkpoint) == {"damaged": "error", "gguf-hole": "warning"}
    assert checkpoint.sections()["unmapped"] == 32 + 4  # where b should be, and what there is of d


def test_leniently_the_first_of_two_counts():
    data = writer.head(3, 2, 2) + writer.pair("k", 1) + writer.pair("k", 2)
    data += writer.entry("w", 0, (1,), 0) + writer.entry("w", 0, (2,), 32)
    checkpoint = read(data + bytes(-len(data) % 32 + 64), lenient=True)
    assert checkpoint.metadata["k"] == 1
    assert [t.shape for t in checkpoint.tensors] == [(1,)]


# Oddities -------------------------------------------------------------------------------------------------------------


def test_an_unknown_type_is_listed_with_the_bytes_up_to_the_next():
    checkpoint = read(gguf_bytes({"a": (99, (4, 4)), "b": ("F32", (8,))}))
    a, b = checkpoint.tensors
    assert (a.dtype.name, a.dtype.bits, a.stop - a.start, b.stop - b.start) == ("ggml type 99", None, 32, 32)
    assert codes(checkpoint) == {"unknown-dtype": "error"}


def test_a_number_that_stands_for_two_types_is_measured_by_its_place():
    data = gguf_bytes({"a": (42, (2, 64)), "b": ("F32", (8,))}, offsets={"b": 64}, data=96)
    checkpoint = read(data)
    assert [(t.dtype.name, t.stop - t.start) for t in checkpoint.tensors] == [("q2_0", 64), ("float32", 32)]
    assert codes(checkpoint) == {}


ODD = {
    "gguf-order": ("info", gguf_bytes({"a": ("F32", (8,)), "b": ("F32", (8,))}, offsets={"a": 32, "b": 0})),
    "gguf-hole": ("warning", gguf_bytes({"a": ("F32", (8,)), "b": ("F32", (8,))}, offsets={"b": 96}, data=128)),
    "gguf-empty": ("info", gguf_bytes({"a": ("F32", (0, 8))})),
    "gguf-removed": ("warning", gguf_bytes({"a": ("Q4_0_4_4", (1, 32))})),
    "gguf-name": ("warning", gguf_bytes({"ü" * 32: ("F32", (8,))})),
    "gguf-version": ("info", gguf_bytes(ONE, version=1)),
    "byte-order": ("info", gguf_bytes(ONE, order=">")),
    "trailing": ("warning", gguf_bytes(ONE) + bytes(7)),
    "split-alone": ("warning", gguf_bytes(ONE, {"split.no": Value(2, 1), "split.count": Value(2, 3)})),
}


@pytest.mark.parametrize("code", ODD)
def test_oddities_are_noted(code):
    severity, data = ODD[code]
    assert codes(read(data)) == {code: severity}


def test_a_usual_file_has_no_notes():
    assert codes(read(gguf_bytes(llama(), LLAMA_METADATA))) == {}
    assert codes(read(gguf_bytes({"n" * 63: ("F32", (8,))}))) == {}


def test_padding_behind_the_last_tensor_may_be_missing():
    data = gguf_bytes(ONE)
    checkpoint = read(data[:-8])
    assert codes(checkpoint) == {}
    assert checkpoint.tensors[0].stop == len(data) - 8


# What analyses make of it ---------------------------------------------------------------------------------------------


def report(data: bytes) -> dict:
    """key → (text, evidence) of the architecture table, and the kinds of all modules by label."""
    overview = inspect(read(data))
    sections = {section.key: section for section in to_report(overview).sections if hasattr(section, "key")}
    rows = {row.cells[0]: row.cells for row in sections["architecture"].rows}
    return {"facts": rows, "overview": overview}


def kinds(rows, found=None) -> dict[str, str]:
    found = {} if found is None else found
    for row in rows:
        found[row.label] = row.kind.name
        kinds(row.children, found)
    return found


def test_architecture_comes_from_the_metadata():
    found = report(gguf_bytes(llama(), LLAMA_METADATA))["facts"]
    assert found["model_type"][2] == "llama"
    assert found["model_type"][4] == "GGUF metadata"
    assert found["layers"][2] == 2
    assert (found["vocabulary"][2], found["hidden_size"][2], found["feed_forward"][2]) == (96, 64, 128)
    assert "GQA, 2 query heads to a key head, 4 heads (GGUF metadata), 2 kv heads" in str(found["attention"][3])
    assert found["tied_head"][2] is False


def test_heads_that_differ_from_layer_to_layer_are_not_one_number():
    metadata = {**LLAMA_METADATA, "llama.attention.head_count": [4, 8], "llama.attention.head_count_kv": [2, 2]}
    config = read(gguf_bytes(llama(), metadata)).config
    assert "num_attention_heads" not in config
    assert config["num_key_value_heads"] == 2
    assert config["vocab_size"] == 96


def test_layers_read_in_the_order_they_run():
    overview = report(gguf_bytes(llama(), LLAMA_METADATA))["overview"]
    assert [row.label for row in overview.tree.rows] == ["token_embd", "rope_freqs", "blk.0–1", "output_norm", "output"]
    layer = overview.tree.rows[2]
    assert layer.kind.name == "decoder layer"
    assert [row.label for row in layer.children] == [
        "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down",
    ]  # fmt: skip
    assert kinds(overview.tree.rows)["token_embd"] == "Embedding"


def test_frequencies_are_no_parameters():
    overview = report(gguf_bytes(llama(), LLAMA_METADATA))["overview"]
    whole = sum(math.prod(shape) for _, shape in llama().values())
    assert overview.parameters == whole - 8
    assert overview.roles["buffer"][1] == 8


def test_experts_in_one_tensor():
    tensors = llama(layers=1)
    for name in ("gate", "up", "down"):
        del tensors[f"blk.0.ffn_{name}.weight"]
        tensors[f"blk.0.ffn_{name}_exps.weight"] = ("Q4_0", (6, 64, 32) if name == "down" else (6, 32, 64))
    tensors["blk.0.ffn_gate_inp.weight"] = ("F32", (6, 64))
    found = report(gguf_bytes(tensors, {**LLAMA_METADATA, "llama.expert_used_count": 2}))
    assert str(found["facts"]["experts"][3]) == "6 in a layer, each a gated MLP of 32, 2 active a token"
    assert kinds(found["overview"].tree.rows)["ffn_down_exps"] == "experts"


def test_bits_per_weight():
    (facts, *_) = to_report(inspect(read(gguf_bytes({"w": ("Q4_K", (2, 256)), "n": ("F32", (512,))}, LLAMA_METADATA)))).sections
    fact = next(fact for fact in facts.items if fact.key == "bits_per_weight")
    assert fact.value == (4.5 + 32) / 2
    assert fact.text == "18.25 on average  ·  file type Q4_0"


def test_no_bits_per_weight_without_blocks():
    (facts, *_) = to_report(inspect(read(gguf_bytes(ONE)))).sections
    assert all(fact.key != "bits_per_weight" for fact in facts.items)


def test_a_baseline_of_blocks_reads_back():
    checkpoint = read(gguf_bytes({**llama(), "odd": (42, (2, 3))}, LLAMA_METADATA))
    again = opened(describe(checkpoint), "model.baseline.json")
    assert again.format == "gguf"
    assert {t.name: (t.shape, t.dtype) for t in again.tensors} == {t.name: (t.shape, t.dtype) for t in checkpoint.tensors}
    assert again.sections() == checkpoint.sections()
    assert inspect(again).parameters == inspect(checkpoint).parameters


def test_a_baseline_has_no_strides_over_blocks():
    data = (
        describe(read(gguf_bytes({"w": (42, (2, 32))})))
        .replace(b'"dtype":"?q2_0"', b'"dtype":"q4_0","strides":[1,2]')
        .replace(b'"dtype": "?q2_0"', b'"dtype": "q4_0", "strides": [1, 2]')
    )
    assert b"strides" in data
    with pytest.raises(CorruptFileError, match="packed in blocks have no strides"):
        opened(data, "model.baseline.json")
