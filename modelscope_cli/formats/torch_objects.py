"""What torch's pickles mean: the rebuild functions and storage references, as a table of inert readers.

A pickle that torch.save wrote calls functions such as `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, …)`.
Nothing is called here. Each function we know has a row in REBUILDERS that takes its arguments apart and returns a `Found`
tensor: dtype, shape and the storage views behind it. Signatures: torch/_utils.py and torch/_tensor.py, 0.1 to 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from modelscope_cli.containers.pickle_nodes import Call, Global, Mapping
from modelscope_cli.core.dtype import DTYPES, STORAGE_CLASSES, DType, unknown
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.tensor import Shape, View
from modelscope_cli.errors import LimitError
from modelscope_cli.formats.torch_sharded import is_sharded, shard_views

LARGEST = 1 << 62
DEEPEST_STATE = 4  # levels below a tensor subclass that are searched for its tensors
MOST_ATTRIBUTES = 64  # and values in each of them


class StorageRef:
    """A reference to a storage, from a persistent id: its row in the storage table, and the byte `base` its view starts at."""

    __slots__ = ("base", "dtype", "index", "nbytes")

    def __init__(self, index: int, dtype: DType, nbytes: int, base: int = 0):
        self.index = index
        self.dtype = dtype
        self.nbytes = nbytes  # of this reference: a legacy view may see a part of its storage only
        self.base = base


class Found(NamedTuple):
    """A tensor as rebuilt: its main view, further views (indices of a sparse tensor, scales of a quantised one)."""

    shape: Shape
    dtype: DType
    main: View | None
    others: tuple[View, ...] = ()
    parameter: bool | None = None  # True where the pickle says Parameter


class BadTensorError(ValueError):
    """The arguments of a rebuild function do not make a tensor; the message says why."""


def storage_dtype(cls: Any) -> DType:
    """The dtype that a storage class stands for, from any module: torch.FloatStorage, torch.cuda.HalfStorage …"""
    if type(cls) is not Global:
        raise BadTensorError("the class of a storage is not a class")
    found = STORAGE_CLASSES.get(cls.name)
    if found is None:
        if not cls.name.endswith("Storage"):
            raise BadTensorError(f"{cls.path} is not a storage class")
        return unknown(cls.name.removesuffix("Storage").lower())
    return found


def dtype_of(value: Any) -> DType:
    """The dtype named by a global such as torch.float8_e4m3fn."""
    if type(value) is Global and value.module == "torch":
        return DTYPES.get(value.name) or unknown(value.name)
    raise BadTensorError("a dtype was expected")


def extents(value: Any, what: str, limits: Limits) -> Shape:
    """A tuple of non-negative whole numbers, from a tuple, list or torch.Size. Raises BadTensorError, or LimitError for too many."""
    if type(value) is Call and type(value.function) is Global and value.function.path == "torch.Size" and value.args:
        value = value.args[0]
    if type(value) in (list, tuple) and len(value) > limits.dimensions:
        raise LimitError("dimensions", limits.dimensions, len(value))
    if type(value) is list:
        value = tuple(value)
    if type(value) is not tuple:
        raise BadTensorError(f"its {what} is not a tuple")
    for number in value:
        if type(number) is not int or not 0 <= number < LARGEST:
            raise BadTensorError(
                f"its {what} holds {number!r}" if type(number) in (int, float, str, bool) else f"its {what} holds no number"
            )
    return value


def strided(storage: Any, offset: Any, size: Any, stride: Any, limits: Limits, dtype: DType | None = None) -> View:
    """The view of `storage` that a strided tensor sees. Raises BadTensorError when it leaves the storage, or LimitError."""
    if type(storage) is not StorageRef:
        raise BadTensorError("its storage is not a storage")
    shape = extents(size, "size", limits)
    strides = extents(stride, "stride", limits)
    if len(strides) != len(shape):
        raise BadTensorError(f"it has {len(shape)} dimensions and {len(strides)} strides")
    if type(offset) is not int or offset < 0:
        raise BadTensorError("its offset is not a position")
    dtype = dtype or storage.dtype
    expected = 1
    contiguous = True
    reach = 1
    for extent, step in zip(reversed(shape), reversed(strides), strict=True):
        if extent != 1 and step != expected:
            contiguous = False
        expected *= extent
        reach += (extent - 1) * step
    if dtype.bits is not None and expected:
        needed = (offset + reach) * dtype.bits
        if needed > storage.nbytes * 8:
            raise BadTensorError(f"it reaches to byte {(needed + 7) // 8:,} of a storage of {storage.nbytes:,} bytes")
    start = storage.base + (offset * dtype.bits // 8 if dtype.bits is not None else 0)
    return View(storage.index, start, shape, dtype, None if contiguous else strides)


def _from_view(view: View, others: tuple[View, ...] = (), parameter: bool | None = None) -> Found:
    return Found(view.shape, view.dtype, view, others, parameter)


def _tensor(
    args: tuple[Any, ...], limits: Limits
) -> Found:  # storage, storage_offset, size, stride[, requires_grad, backward_hooks, metadata]
    storage, offset, size, stride = args[:4]
    return _from_view(strided(storage, offset, size, stride, limits))


def _tensor_v3(
    args: tuple[Any, ...],
    limits: Limits,
) -> Found:  # storage, offset, size, stride, requires_grad, backward_hooks, dtype[, metadata]
    storage, offset, size, stride, _, _, dtype = args[:7]
    return _from_view(strided(storage, offset, size, stride, limits, dtype_of(dtype)))


def _fa_tensor(args: tuple[Any, ...], limits: Limits) -> Found:  # fastai: cls, storage, offset, size, stride, …
    return _tensor(args[1:], limits)


def _parameter(args: tuple[Any, ...], limits: Limits) -> Found:  # data, requires_grad, backward_hooks[, state]
    found = rebuilt(args[0], limits)
    if found is None:
        raise BadTensorError("a Parameter of something that is no tensor")
    return found._replace(parameter=True)


def _quantised(
    args: tuple[Any, ...],
    limits: Limits,
) -> Found:  # storage, offset, size, stride, quantizer_params, requires_grad, backward_hooks
    storage, offset, size, stride, quantiser = args[:5]
    inner = quantiser if type(quantiser) is tuple else ()
    others = _views_of([rebuilt(value, limits) for value in inner], limits)
    return _from_view(strided(storage, offset, size, stride, limits), others)


def _sparse(
    args: tuple[Any, ...], limits: Limits
) -> Found:  # layout, (indices, values, size, …) or (compressed, plain, values, size)
    _, data = args[:2]
    if type(data) is not tuple:
        raise BadTensorError("a sparse tensor without its data")
    tensors = [found for value in data if (found := rebuilt(value, limits)) is not None]
    if len(tensors) < 2:
        raise BadTensorError("a sparse tensor without indices and values")
    sizes = [value for value in data if rebuilt(value, limits) is None and type(value) in (tuple, list, Call)]
    values = tensors[-1]
    views = _views_of((values, *tensors[:-1]), limits)
    if not views or not sizes:
        raise BadTensorError("a sparse tensor without a size")
    return Found(extents(sizes[0], "size", limits), values.dtype, views[0], views[1:])


def _nested(args: tuple[Any, ...], limits: Limits) -> Found:  # buffer, sizes, strides, storage_offsets
    tensors = [found for value in args if (found := rebuilt(value, limits)) is not None]
    if not tensors:
        raise BadTensorError("a nested tensor without a buffer")
    views = _views_of(tensors, limits)
    return Found(tensors[0].shape, tensors[0].dtype, views[0] if views else None, views[1:])


def _meta(args: tuple[Any, ...], limits: Limits) -> Found:  # dtype, size, stride, requires_grad
    dtype, size = args[:2]
    return Found(extents(size, "size", limits), dtype_of(dtype), None)


def _wrapper(
    args: tuple[Any, ...],
    limits: Limits,
) -> Found:  # cls, dtype, size, stride, offset, layout, device, requires_grad: data lives in the state
    _, dtype, size = args[:3]
    return Found(extents(size, "size", limits), dtype_of(dtype), None)


def _from_type(args: tuple[Any, ...], limits: Limits) -> Found:  # (func, type, args, state) or (func, type, args)
    function, _, inner = args[:3]
    if type(inner) is not tuple:
        raise BadTensorError("a tensor subclass without arguments")
    made = Call(function, inner)
    found = rebuilt(made, limits)
    state = args[3] if len(args) > 3 else None
    if is_sharded(args[1]):
        views = shard_views(state, lambda node: _main_view(node, limits), limits)
    else:
        views = _views_in_state(state, limits)
    if found is None:
        if not views:
            raise BadTensorError(f"a tensor subclass built by {function!r}")
        found = Found(views[0].shape, views[0].dtype, None)
    if found.main is None and views:
        return found._replace(main=views[0], others=found.others + views[1:])
    return found._replace(others=found.others + views)


def _main_view(node: Any, limits: Limits) -> View | None:
    found = rebuilt(node, limits)
    return found.main if found else None


def _from_numpy(
    args: tuple[Any, ...], limits: Limits
) -> Found:  # data, dtype, device, requires_grad: the data is in the pickle itself
    data, dtype = args[:2]
    state = data.state if type(data) is Call else None
    shape = state[1] if type(state) is tuple and len(state) > 1 else ()
    return Found(extents(shape, "shape", limits), dtype_of(dtype), None)


def _on_device(
    args: tuple[Any, ...], limits: Limits
) -> Found:  # data, dtype, device, requires_grad, where data is a tensor on the CPU
    found = rebuilt(args[0], limits)
    if found is None:
        raise BadTensorError("a device tensor without its data")
    return found


def _views(found: Found) -> tuple[View, ...]:
    return ((found.main,) if found.main else ()) + found.others


def _views_of(tensors: Iterable[Found | None], limits: Limits) -> tuple[View, ...]:
    """The views of several tensors together. Raises LimitError when they are absurdly many."""
    views: list[View] = []
    for found in tensors:
        views += _views(found) if found else ()
        if len(views) > limits.parts:
            raise LimitError("parts", limits.parts, f"more than {limits.parts:,}")
    return tuple(views)


def _views_in_state(state: Any, limits: Limits) -> tuple[View, ...]:
    """Views of the tensors in the attributes of a tensor subclass (a DTensor's _local_tensor, torchao's data and scales)."""
    tensors: list[Found] = []
    waiting = [(state, 0)]
    seen: set[int] = set()
    while waiting:
        if len(seen) > limits.parts:
            raise LimitError("parts", limits.parts, f"more than {limits.parts:,}")
        node, depth = waiting.pop(0)
        if id(node) in seen or depth > DEEPEST_STATE:
            continue
        seen.add(id(node))
        if type(node) is tuple or type(node) is list:
            waiting += [(value, depth + 1) for value in node[:MOST_ATTRIBUTES]]
        elif type(node) is Mapping:
            waiting += [(value, depth + 1) for _, value in node.pairs[:MOST_ATTRIBUTES]]
        elif (found := rebuilt(node, limits)) is not None:
            tensors.append(found)
    return _views_of(tensors, limits)


Reader = Callable[[tuple[Any, ...], Limits], Found | None]
_BY_NAME: dict[str, Reader] = {
    "_rebuild_tensor": _tensor,
    "_rebuild_tensor_v2": _tensor,
    "_rebuild_tensor_v3": _tensor_v3,
    "_rebuild_parameter": _parameter,
    "_rebuild_parameter_with_state": _parameter,
    "_rebuild_qtensor": _quantised,
    "_rebuild_sparse_tensor": _sparse,
    "_rebuild_sparse_csr_tensor": _sparse,
    "_rebuild_nested_tensor": _nested,
    "_rebuild_meta_tensor_no_storage": _meta,
    "_rebuild_wrapper_subclass": _wrapper,
    "_rebuild_device_tensor_from_numpy": _from_numpy,
    "_rebuild_xla_tensor": _from_numpy,
    "_rebuild_device_tensor_from_cpu_tensor": _on_device,
}
REBUILDERS: dict[tuple[str, str], Reader] = {
    **{("torch._utils", name): reader for name, reader in _BY_NAME.items()},
    ("torch._tensor", "_rebuild_from_type"): _from_type,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch.tensor", "_rebuild_from_type"): _from_type,
    ("torch.tensor", "_rebuild_from_type_v2"): _from_type,
    ("fastai.torch_core", "_fa_rebuild_tensor"): _fa_tensor,
    ("fastai.torch_core", "_fa_rebuild_qtensor"): lambda args, limits: _quantised(args[1:], limits),
}

_PARAMETER_CLASSES = {("torch.nn.parameter", "Parameter"), ("torch.nn.parameter", "Buffer")}


def rebuilt(node: Any, limits: Limits) -> Found | None:
    """The tensor that a call would make, or None when it makes something else. Raises BadTensorError for impossible
    arguments, and LimitError."""
    if type(node) is not Call or type(node.function) is not Global:
        return None
    key = (node.function.module, node.function.name)
    reader = REBUILDERS.get(key)
    try:
        if reader is not None:
            return reader(node.args, limits)
        if key in _PARAMETER_CLASSES and node.args and key[1] == "Parameter":
            return _parameter(node.args, limits)
        if key[0].startswith("torch") and key[1].endswith("Tensor") and type(node.state) is tuple:
            return _tensor(node.state, limits)  # torch.FloatTensor with __setstate__(storage, offset, size, stride), torch 0.1
    except (BadTensorError, LimitError):
        raise
    except RecursionError:
        raise BadTensorError("it is wrapped in itself too often") from None
    except (ValueError, IndexError):
        raise BadTensorError(f"{node.function.name} with {len(node.args)} arguments") from None
    return None
