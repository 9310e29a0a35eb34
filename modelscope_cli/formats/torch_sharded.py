"""Tensors of which a file has the pieces of one rank: ShardedTensor, saved with torch.save.

    _rebuild_from_type_v2(_rebuild_wrapper_subclass, ShardedTensor, (…, dtype, size, …), state)
    state = ([Shard, …], ShardedTensorMetadata, process group, sharding spec, rpc)
    Shard = {"tensor": the piece, "metadata": ShardMetadata {"shard_offsets": […], "shard_sizes": […], "placement"}}

The size is that of the whole tensor. A DTensor keeps only its local piece, and where that begins would have to be worked out
from the rank, which is not in the file. Facts: torch/distributed/_shard/sharded_tensor/api.py and shard.py, torch 2.13.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from modelscope_cli.containers.pickle_nodes import Call, Global, Mapping
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.tensor import Shape, View
from modelscope_cli.errors import LimitError


class Piece(NamedTuple):
    """A local shard: the node of its tensor, and where it begins (None where that is not said)."""

    tensor: Any
    origin: Shape | None


def is_sharded(cls: Any) -> bool:
    """Whether a class is torch's ShardedTensor."""
    return type(cls) is Global and cls.name == "ShardedTensor" and cls.module.startswith("torch.distributed.")


def local_shards(state: Any, limits: Limits) -> list[Piece]:
    """The shards that the state of a ShardedTensor holds. Raises LimitError where it lists too many."""
    listed = state[0] if type(state) is tuple and state else None
    if type(listed) is not list:
        return []
    if len(listed) > limits.parts:
        raise LimitError("parts", limits.parts, len(listed))
    pieces = []
    for node in listed:
        fields = attributes(node)
        offsets: Any = attributes(fields.get("metadata")).get("shard_offsets")
        known = type(offsets) in (list, tuple) and len(offsets) <= limits.dimensions
        whole = known and all(type(place) is int and place >= 0 for place in offsets)
        pieces.append(Piece(fields.get("tensor"), tuple(offsets) if whole else None))
    return pieces


def attributes(node: Any) -> dict[str, Any]:
    """The attributes of an object with slots, (None, {…}), or without."""
    state: Any = node.state if type(node) is Call else None
    if type(state) is tuple and len(state) == 2:
        state = state[1]
    return {key: value for key, value in state.pairs if type(key) is str} if type(state) is Mapping else {}


def shard_views(state: Any, view_of: Callable[[Any], View | None], limits: Limits) -> tuple[View, ...]:
    """The views of all local shards, as pieces of the whole where they say where they begin."""
    views = []
    for tensor, origin in local_shards(state, limits):
        view = view_of(tensor)
        if view is not None:
            views.append(view._replace(origin=origin if origin is not None and len(origin) == len(view.shape) else None))
    return tuple(views)
