"""The model files that the benchmarks open: full-size headers, directories and pickles over holes instead of weights.

    llama-2-7b.bin            291 float16 tensors, written by torch.save with its data left out
    llama-2-7b.safetensors    the same tensors
    llama-2-70b/              15 shards and their index
    deepseek-v3/              158 shards and their index: FP8 weights with a scale per 128 × 128 block, BF16 for the rest
    many.pt                   20,000 small tensors in one state_dict
    many90k.safetensors       90,000 tensors in one header

The files claim 840 GB and take some 40 MB of disk, on a file system that knows sparse files. Shapes and names: the
models' config.json and their code in transformers. DeepSeek-V3 is taken without its multi-token-prediction layer 61,
which would add 1,564 tensors (91,991) and five shards.

    python benchmarks/models.py [FOLDER]
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "models"

BITS = {"F8_E4M3": 8, "F16": 16, "BF16": 16, "F32": 32}
# safetensors lays tensors out by dtype, the later in its enumeration the earlier, then by name
LAYOUT = {"F32": 0, "BF16": 1, "F16": 2, "F8_E4M3": 3}

Json = dict[str, Any]
Tensor = tuple[str, str, tuple[int, ...]]  # name, dtype, shape

LLAMA_7B = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "num_hidden_layers": 32,
    "vocab_size": 32000,
}
LLAMA_70B = {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "num_hidden_layers": 80,
    "vocab_size": 32000,
}
DEEPSEEK_V3 = {
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "first_k_dense_replace": 3,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "vocab_size": 129280,
}
BLOCK = 128  # rows and columns that share one FP8 scale

# (tensors, elements, shards) that a file or folder must come out with. DeepSeek-V3: 671,026,419,200 parameters and the scales
EXPECTED = {
    "llama-2-7b.bin": (291, 6_738_415_616, 1),
    "llama-2-7b.safetensors": (291, 6_738_415_616, 1),
    "llama-2-70b": (723, 68_976_648_192, 15),
    "deepseek-v3": (90_427, 671_026_419_200 + 40_838_232, 158),
    "many.pt": (20_000, 20_000 * 16, 1),
    "many90k.safetensors": (90_000, 90_000 * 64 * 64, 1),
}
LLAMA_SHARD = 10_000_000_000  # bytes: transformers' default when the model was published
DEEPSEEK_SHARD = 4_301_000_000


def llama(config: dict[str, int]) -> Iterator[Tensor]:
    """Llama 2 as transformers saves it, in the order of the modules."""
    hidden, inner, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    key_value = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    block = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (key_value, hidden),
        "self_attn.v_proj": (key_value, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    yield "model.embed_tokens.weight", "F16", (vocab, hidden)
    for layer in range(config["num_hidden_layers"]):
        for module, shape in block.items():
            yield f"model.layers.{layer}.{module}.weight", "F16", shape
    yield "model.norm.weight", "F16", (hidden,)
    yield "lm_head.weight", "F16", (vocab, hidden)


def fp8(module: str, rows: int, columns: int) -> Iterator[Tensor]:
    """A quantised linear layer: the weight and the scale of each of its blocks."""
    yield f"{module}.weight", "F8_E4M3", (rows, columns)
    yield f"{module}.weight_scale_inv", "F32", (-(-rows // BLOCK), -(-columns // BLOCK))


def gated_mlp(module: str, hidden: int, inner: int) -> Iterator[Tensor]:
    yield from fp8(f"{module}.gate_proj", inner, hidden)
    yield from fp8(f"{module}.up_proj", inner, hidden)
    yield from fp8(f"{module}.down_proj", hidden, inner)


def deepseek(config: dict[str, int]) -> Iterator[Tensor]:
    """DeepSeek-V3's main model: latent attention everywhere, three dense layers, then a router with its experts."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    nope, rope, value = config["qk_nope_head_dim"], config["qk_rope_head_dim"], config["v_head_dim"]
    q_rank, kv_rank = config["q_lora_rank"], config["kv_lora_rank"]
    expert, experts = config["moe_intermediate_size"], config["n_routed_experts"]
    yield "model.embed_tokens.weight", "BF16", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        block = f"model.layers.{layer}"
        yield from fp8(f"{block}.self_attn.q_a_proj", q_rank, hidden)
        yield f"{block}.self_attn.q_a_layernorm.weight", "BF16", (q_rank,)
        yield from fp8(f"{block}.self_attn.q_b_proj", heads * (nope + rope), q_rank)
        yield from fp8(f"{block}.self_attn.kv_a_proj_with_mqa", kv_rank + rope, hidden)
        yield f"{block}.self_attn.kv_a_layernorm.weight", "BF16", (kv_rank,)
        yield from fp8(f"{block}.self_attn.kv_b_proj", heads * (nope + value), kv_rank)
        yield from fp8(f"{block}.self_attn.o_proj", hidden, heads * value)
        if layer < config["first_k_dense_replace"]:
            yield from gated_mlp(f"{block}.mlp", hidden, config["intermediate_size"])
        else:
            yield f"{block}.mlp.gate.weight", "BF16", (experts, hidden)
            yield f"{block}.mlp.gate.e_score_correction_bias", "F32", (experts,)
            for number in range(experts):
                yield from gated_mlp(f"{block}.mlp.experts.{number}", hidden, expert)
            yield from gated_mlp(f"{block}.mlp.shared_experts", hidden, expert * config["n_shared_experts"])
        yield f"{block}.input_layernorm.weight", "BF16", (hidden,)
        yield f"{block}.post_attention_layernorm.weight", "BF16", (hidden,)
    yield "model.norm.weight", "BF16", (hidden,)
    yield "lm_head.weight", "BF16", (config["vocab_size"], hidden)


def nbytes(tensor: Tensor) -> int:
    _, dtype, shape = tensor
    return math.prod(shape) * BITS[dtype] // 8


def write_safetensors(path: Path, tensors: Iterable[Tensor]) -> None:
    """Header as the safetensors library would write it, then a hole as long as the data."""
    entries: Json = {"__metadata__": {"format": "pt"}}
    position = 0
    for tensor in sorted(tensors, key=lambda tensor: (LAYOUT[tensor[1]], tensor[0])):
        name, dtype, shape = tensor
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position := position + nbytes(tensor)]}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + position)


def write_set(folder: Path, tensors: Iterable[Tensor], shard_bytes: int, config: Json, digits: int) -> None:
    """Shards filled in the order of the model up to `shard_bytes` each, their index, and config.json.

    `digits`: width of the total in the file names; DeepSeek writes six.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[list[Tensor]] = [[]]
    filled = total = 0
    for tensor in tensors:
        size = nbytes(tensor)
        if filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += size
        total += size
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):0{digits}}.safetensors"
        write_safetensors(folder / name, shard)
        weight_map.update((tensor[0], name) for tensor in shard)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def write_bin(path: Path, tensors: Iterable[Tensor]) -> None:
    """torch's own writer, told to seek over the data. Nobody touches the tensors: their 13.5 GB are address space only."""
    import torch

    state_dict = {name: torch.empty(shape, dtype=torch.float16) for name, _, shape in tensors}
    with torch.serialization.skip_data():
        torch.save(state_dict, path)


def write_many(path: Path, count: int) -> None:
    """Many tensors, each with a storage of its own."""
    import torch

    torch.save({f"blocks.{number}.linear.weight": torch.full((4, 4), float(number)) for number in range(count)}, path)


def build(folder: Path) -> None:
    """All files, anew."""
    folder.mkdir(parents=True, exist_ok=True)
    write_bin(folder / "llama-2-7b.bin", llama(LLAMA_7B))
    write_safetensors(folder / "llama-2-7b.safetensors", llama(LLAMA_7B))
    write_set(folder / "llama-2-70b", llama(LLAMA_70B), LLAMA_SHARD, {"model_type": "llama", **LLAMA_70B}, 5)
    write_set(folder / "deepseek-v3", deepseek(DEEPSEEK_V3), DEEPSEEK_SHARD, {"model_type": "deepseek_v3", **DEEPSEEK_V3}, 6)
    write_many(folder / "many.pt", 20_000)
    write_safetensors(folder / "many90k.safetensors", ((f"blocks.{n}.linear.weight", "BF16", (64, 64)) for n in range(90_000)))


def check(folder: Path) -> None:
    """Hold every model against EXPECTED, as modelscope_cli reads it, and print a line about each."""
    import modelscope_cli

    for name, (tensors, elements, shards) in EXPECTED.items():
        found = modelscope_cli.read(str(folder / name))
        count = sum(1 for file in found.files if file.tensors)
        paths = [Path(file.path) for file in found.files]
        disk = sum(path.stat().st_blocks * 512 for path in paths)
        total = f"{found.elements:,} elements, {count} files, {found.nbytes:,} bytes, {disk / 2**20:.1f} MiB on disk"
        print(f"{name}: {len(found.tensors):,} tensors, {total}")
        if (len(found.tensors), found.elements, count) != (tensors, elements, shards) or found.notes:
            raise SystemExit(f"{name}: expected {tensors:,} tensors, {elements:,} elements, {shards} files; {found.notes}")


if __name__ == "__main__":
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    build(chosen)
    check(chosen)
