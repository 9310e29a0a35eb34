"""The pickle code that torch.save writes for tensors, parameters, modules and state_dicts."""

from __future__ import annotations

import math
from typing import Any

from tests.builders.pickle_code import Code, built, call, instance, name, persistent, value

ITEM_BYTES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1, "ComplexDoubleStorage": 16,
    "ComplexFloatStorage": 8, "QInt8Storage": 1, "QUInt8Storage": 1, "QInt32Storage": 4, "UntypedStorage": 1,
}  # fmt: skip

EMPTY_HOOKS = call("collections.OrderedDict")


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def storage(key: str, numel: int, cls: str = "FloatStorage", *, module: str = "torch", view: Any = ()) -> Code:
    """A persistent id; legacy files add a view: None or (key, offset, size)."""
    return persistent(("storage", name(f"{module}.{cls}"), key, "cpu", numel, *((view,) if view != () else ())))


def tensor(
    key: str = "0",
    shape: tuple[int, ...] = (2, 3),
    cls: str = "FloatStorage",
    *,
    numel: int | None = None,
    offset: int = 0,
    strides: tuple[int, ...] | None = None,
    view: Any = (),
) -> Code:
    """`_rebuild_tensor_v2` on a storage of `numel` elements (default: as many as the shape has)."""
    held = storage(key, math.prod(shape) if numel is None else numel, cls, view=view)
    return call("torch._utils._rebuild_tensor_v2", held, offset, shape, strides or contiguous(shape), False, EMPTY_HOOKS)


def parameter(data: Code) -> Code:
    return call("torch._utils._rebuild_parameter", data, True, EMPTY_HOOKS)


def ordered(entries: dict[str, Any], modules: list[str] | None = None) -> Code:
    """An OrderedDict; with `modules`, the `_metadata` that a state_dict carries."""
    made = Code(EMPTY_HOOKS + value(entries)[1:])  # the entries follow the empty dictionary's own instruction
    if modules is None:
        return made
    return built(made, {"_metadata": Code(EMPTY_HOOKS + value({path: {"version": 1} for path in modules})[1:])})


def module(cls: str, parameters: dict[str, Any] | None = None, buffers: dict[str, Any] | None = None, **rest: Any) -> Code:
    """A pickled torch.nn.Module; `rest` are its submodules, and plain attributes."""
    submodules = {key: made for key, made in rest.items() if isinstance(made, Code)}
    attributes = {key: made for key, made in rest.items() if not isinstance(made, Code)}
    state = {
        "training": True,
        "_parameters": ordered(parameters or {}),
        "_buffers": ordered(buffers or {}),
        "_modules": ordered(submodules),
        **attributes,
    }
    return instance(cls, state)


def shard(piece: Any, offsets: Any, sizes: Any) -> Code:
    """One piece of a ShardedTensor, and where in the whole it lies."""
    metadata = (None, {"shard_offsets": offsets, "shard_sizes": sizes})
    state = (None, {"tensor": piece, "metadata": instance("torch.distributed._shard.metadata.ShardMetadata", metadata)})
    return instance("torch.distributed._shard.sharded_tensor.shard.Shard", state)


def sharded_tensor(shape: Any, state: Any) -> Code:
    """What a rank saves of a tensor that is cut among ranks: its size, and as state its pieces and what is known of the others."""
    cls = name("torch.distributed._shard.sharded_tensor.api.ShardedTensor")
    made_of = (cls, name("torch.float32"), shape, (1,) * len(shape), 0, None, None, False)
    return call("torch._tensor._rebuild_from_type_v2", name("torch._utils._rebuild_wrapper_subclass"), cls, made_of, state)
