"""Checkpoints made in memory from a table of names and shapes, for tests of the analyses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from modelscope_cli.core.checkpoint import Checkpoint, FileRecord, ModuleRecord
from modelscope_cli.core.dtype import DTYPES
from modelscope_cli.core.span import ByteMap, Region
from modelscope_cli.core.tensor import TensorTable

HEADER = 100


def table_of(shapes: Mapping[str, Sequence[int]], dtype: str = "float32", ties: Mapping[str, str] | None = None) -> TensorTable:
    """Each name on a storage of its own, except those in `ties`, which lie on the storage of another. "name:int64" sets a dtype."""
    table = TensorTable()
    table.filenames.append("model.pt")
    position = HEADER
    places: dict[str, int] = {}
    for key, shape in shapes.items():
        name, _, own = key.partition(":")
        kind = DTYPES[own or dtype]
        nbytes = kind.nbytes(math.prod(shape)) or 0
        if ties and name in ties:
            storage = places[ties[name]]
        else:
            storage = table.storage.add(name, 0, position, nbytes)
            position += nbytes
        places[name] = storage
        table.add(name, tuple(shape), kind, storage)
    return table


def checkpoint_of(
    shapes: Mapping[str, Sequence[int]], dtype: str = "float32", ties: Mapping[str, str] | None = None, **rest: Any
) -> Checkpoint:
    """A checkpoint of one file; `rest` goes to Checkpoint (metadata, groups, config …), `classes` are recorded modules."""
    table = table_of(shapes, dtype, ties)
    nbytes = HEADER + sum(table.storage.nbytes)
    classes = rest.pop("classes", {})
    regions = [Region(0, HEADER, "header"), Region(HEADER, nbytes, "data")]
    maps = [ByteMap([region for region in regions if region.stop > region.start], nbytes)]
    modules = {path: ModuleRecord(cls, {}) for path, cls in classes.items()}
    table.recorded.update(rest.pop("recorded", {}))
    return Checkpoint(
        "model.pt", "torch-zip", [FileRecord("model.pt", nbytes, range(len(table)))], table, maps, modules=modules, **rest
    )


def linear(path: str, out: int, into: int, *, bias: bool = True) -> dict[str, tuple[int, ...]]:
    return {f"{path}.weight": (out, into), **({f"{path}.bias": (out,)} if bias else {})}


def transformer(
    layers: int = 4, width: int = 8, *, hidden: int = 32, vocabulary: int = 50, kv: int | None = None
) -> dict[str, tuple[int, ...]]:
    """A Llama-like state_dict."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, width)}
    for number in range(layers):
        path = f"model.layers.{number}"
        shapes |= {f"{path}.input_layernorm.weight": (width,)}
        for name, out in (("q_proj", width), ("k_proj", kv or width), ("v_proj", kv or width), ("o_proj", width)):
            shapes |= linear(f"{path}.self_attn.{name}", out, width, bias=False)
        shapes |= {f"{path}.post_attention_layernorm.weight": (width,)}
        for name, out, into in (("gate_proj", hidden, width), ("up_proj", hidden, width), ("down_proj", width, hidden)):
            shapes |= linear(f"{path}.mlp.{name}", out, into, bias=False)
    return {**shapes, "model.norm.weight": (width,), "lm_head.weight": (vocabulary, width)}
