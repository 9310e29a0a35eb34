"""What the gguf package writes is read as it reads it."""

from __future__ import annotations

import pytest

numpy = pytest.importorskip("numpy")
gguf = pytest.importorskip("gguf")

import modelscope_cli  # noqa: E402
from modelscope_cli.analysis.architecture import read_architecture  # noqa: E402
from modelscope_cli.analysis.overview import inspect  # noqa: E402
from modelscope_cli.core.dtype import BLOCK_DTYPES  # noqa: E402
from modelscope_cli.formats.gguf_config import HF_NAMES  # noqa: E402
from modelscope_cli.formats.gguf_types import FILE_TYPES, GUESSED, NUMBERS, TENSOR_TYPES  # noqa: E402
from tests.builders.gguf_file import gguf_bytes, llama  # noqa: E402

TYPES = {kind.name: kind for kind in gguf.GGMLQuantizationType}
LITTLE, BIG = gguf.GGUFEndian.LITTLE, gguf.GGUFEndian.BIG
# ggml made its block four bytes shorter in 2024 (two half floats); no file holds it, and gguf-py kept the old size.
OTHER_SIZE = {"Q8_1"}
TORCH_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"} | {
    f"I{n}": f"int{n}" for n in (8, 16, 32, 64)
}


def packed(writer, name: str, shape: tuple[int, ...], kind) -> None:
    """Add a tensor of any type, filled with some bytes."""
    block, nbytes = gguf.GGML_QUANT_SIZES[kind]
    rows = numpy.arange(numpy.prod(shape) // block * nbytes, dtype=numpy.uint8).reshape(
        *shape[:-1], shape[-1] // block * nbytes
    )
    writer.add_tensor(name, rows, raw_dtype=kind)


def write(path, tensors, endian=LITTLE, **options) -> None:
    writer = gguf.GGUFWriter(path, "llama", endianess=endian, **options)
    writer.add_name("tiny")
    writer.add_block_count(2)
    writer.add_head_count(8)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"t{number}é" for number in range(1_000)])
    writer.add_token_scores([0.5] * 1_000)
    writer.add_chat_template("{{ messages }}")
    for name, (kind, shape) in tensors.items():
        packed(writer, name, shape, TYPES[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def assert_same(path) -> None:
    """Tensors, where they lie and what they are; every value that is kept whole; the length of the others."""
    checkpoint = modelscope_cli.read(str(path))
    reference = gguf.GGUFReader(path)
    raw = path.read_bytes()
    assert [t.name for t in checkpoint.tensors] == [t.name for t in reference.tensors]
    for info, tensor in zip(checkpoint.tensors, reference.tensors, strict=True):
        assert info.shape == tuple(int(extent) for extent in reversed(tensor.shape))
        kind = gguf.GGMLQuantizationType(tensor.tensor_type).name
        assert info.dtype.name == TORCH_NAMES.get(kind, info.dtype.name)
        assert info.dtype.name.lower() == TORCH_NAMES.get(kind, kind).lower()
        assert (info.start, info.stop - info.start, info.numel) == (tensor.data_offset, tensor.n_bytes, tensor.n_elements)
        assert raw[info.start : info.stop] == tensor.data.tobytes()
    found = dict(checkpoint.metadata)
    assert found.pop("GGUF.version") == reference.fields["GGUF.version"].contents()
    found.pop("GGUF.byte_order", None)
    fields = {key: field.contents() for key, field in reference.fields.items() if not key.startswith("GGUF.")}
    assert list(found) == list(fields)
    for key, value in fields.items():
        if isinstance(value, list) and len(value) > 64:
            kind = reference.fields[key].types[-1].name.lower()
            named = "strings" if kind == "string" else f"{kind} values"
            assert found[key].startswith(f"{len(value):,} {named}, CRC-32 ")
        elif isinstance(value, float):
            assert numpy.float32(found[key]) == numpy.float32(value)
        else:
            assert found[key] == value


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind not in OTHER_SIZE])
def test_types(tmp_path, kind):
    block = gguf.GGML_QUANT_SIZES[TYPES[kind]][0]
    path = tmp_path / "model.gguf"
    write(path, {"a": (kind, (3, 2 * block)), "b": (kind, (2, 1, block)), "c": (kind, (block,))})
    assert_same(path)


def test_a_model(tmp_path):
    path = tmp_path / "model.gguf"
    write(path, llama())
    assert_same(path)


def test_big_endian(tmp_path):
    path = tmp_path / "model.gguf"
    write(path, llama(), BIG)
    assert_same(path)
    assert modelscope_cli.read(str(path)).metadata["GGUF.byte_order"] == "big-endian"


def test_alignment(tmp_path):
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(256)
    for name in "ab":
        writer.add_tensor(name, numpy.zeros(5, numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert_same(path)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_what_our_builder_writes(tmp_path, version, order):
    path = tmp_path / "model.gguf"
    path.write_bytes(
        gguf_bytes(llama(), {"general.architecture": "llama", "list": [1, 2], "x": 0.1}, version=version, order=order)
    )
    assert_same(path)


def test_a_split_model(tmp_path):
    write(tmp_path / "tiny.gguf", llama(), split_max_tensors=8)
    parts = sorted(tmp_path.iterdir())
    assert [part.name for part in parts] == [f"tiny-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    checkpoint = modelscope_cli.read(str(parts[1]))
    assert checkpoint.tensors.names == [tensor.name for part in parts for tensor in gguf.GGUFReader(part).tensors]
    assert not checkpoint.notes
    assert checkpoint.config["num_attention_heads"] == 8


def test_the_tables_are_those_of_the_package():
    for kind, (block, nbytes) in gguf.GGML_QUANT_SIZES.items():
        if kind.name not in OTHER_SIZE:
            ours = TENSOR_TYPES[kind.value]
            assert (ours.block, ours.bits) == (block, nbytes * 8), kind.name
    assert {kind.lower() for kind in TYPES} - set(map(str.lower, BLOCK_DTYPES)) == set(map(str.lower, TORCH_NAMES))
    named = {kind.value for kind in gguf.LlamaFileType} - {GUESSED}
    assert named <= set(FILE_TYPES)
    for kind in gguf.LlamaFileType:
        if kind.value in FILE_TYPES:
            plain = (
                FILE_TYPES[kind.value]
                .replace(" - Medium", "_M")
                .replace(" - Small", "_S")
                .replace(" - Large", "_L")
                .replace(" MoE", "_MOE")
            )
            assert plain.removesuffix("_M") == kind.name.removeprefix("MOSTLY_").removeprefix("ALL_").removesuffix("_M")
    values = {kind.value: kind.name.lower() for kind in gguf.GGUFValueType if kind.name not in ("STRING", "ARRAY")}
    assert values == {number: name for number, (_, name) in NUMBERS.items()}


def test_keys_are_those_of_the_package():
    known = {
        value.removeprefix("{arch}.")
        for group in vars(gguf.Keys).values()
        if isinstance(group, type)
        for value in vars(group).values()
        if isinstance(value, str) and value.startswith("{arch}.")
    }
    assert set(HF_NAMES) <= known


@pytest.mark.parametrize("architecture", list(gguf.MODEL_ARCH), ids=lambda architecture: architecture.name)
def test_layers_of_every_architecture_are_known(architecture, tmp_path):
    """All tensors of an architecture: their layers have a kind, and their order is known."""
    names = [gguf.TENSOR_NAMES[tensor] for tensor in gguf.MODEL_TENSORS[architecture]]
    layered = [name for name in names if name.startswith("blk.{bid}.") and "." not in name.removeprefix("blk.{bid}.")]
    tensors = {
        f"{name.format(bid=layer)}.weight": ("F32", (4,) if "norm" in name else (4, 4)) for name in layered for layer in (0, 1)
    }
    if not tensors:
        pytest.skip("its layers have other names")
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes(tensors))
    overview = inspect(modelscope_cli.read(str(path)))
    (stack,) = overview.tree.rows
    assert stack.label == "blk.0–1"
    assert stack.kind.name.endswith("layer") or stack.kind.name == "attention", stack.kind
    read_architecture(overview.ledger, overview.tree.outline())
