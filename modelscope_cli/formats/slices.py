"""How the slices of one tensor belong together, in a model that was cut for several devices (tensor parallelism).

A matrix is cut by rows (its outputs divided among the devices) or by columns (its inputs), what is small is copied to each. No
file says which, so it is inferred, from the first of these that tells:

    the shapes differ along one axis          it is cut along that one
    what it is: a norm, a rotary table        a copy
    the hidden size                           [n, hidden] is cut by rows, [hidden, n] and [n, hidden / files] by columns
    its name                                  wq, wk, wv, w1, w3, output by rows, wo, w2 by columns (Megatron's names likewise)
    the bytes                                 equal in all files: a copy

Names and axes: llama (Meta) fairscale's ColumnParallelLinear and RowParallelLinear, Megatron-LM core/tensor_parallel/layers.py.
torch keeps a Linear as [outputs, inputs], so ColumnParallel cuts rows. tok_embeddings is cut by columns in Llama 1 and 2 and
by rows in Llama 3; their shapes tell.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.core.tensor import Shape

ROWS, COLUMNS, COPY = 0, 1, -1

_ROW_NAMES = (
    r"wq|wk|wv|w1|w3|output|query_key_value|linear_qkv|query|key|value|key_value|dense_h_to_4h|linear_fc1|q_proj|k_proj|v_proj|"
    r"gate_proj|up_proj|lm_head|output_layer|word_embeddings"
)
_COLUMN_NAMES = r"wo|w2|dense|linear_proj|dense_4h_to_h|linear_fc2|o_proj|down_proj"
# Somewhere in a name, from a dot or an underscore on to a dot or the end: each word of a name is gone through once, however long it is.
_NORMS = r"(?<!\w)(?>(\w*?_|(?<![^.]))([a-z]*norm{}))\w*"
COPIES = re.compile(
    _NORMS.format("|rotary|freqs") + r"(?![^.])|(?<![^._])(rope|inv_freq|position_embeddings|token_type_embeddings)(?![^.])"
)
BY_NAME = (
    (re.compile(rf"(.*\.)?({_ROW_NAMES})\.(weight|bias)"), ROWS),
    (re.compile(rf"(.*\.)?({_COLUMN_NAMES})\.weight"), COLUMNS),
    (re.compile(rf"(.*\.)?({_COLUMN_NAMES})\.bias"), COPY),
)
EMBEDDING = re.compile(r"(.*\.)?tok_embeddings\.weight")
NORM = re.compile(_NORMS.format("") + r"\.weight\Z")
HIDDEN_KEYS = ("dim", "hidden_size")


class Hidden(NamedTuple):
    """The width of the model, and who says so."""

    size: int
    source: str


class Joint(NamedTuple):
    """How slices belong together: ROWS, COLUMNS, COPY, another axis; and what tells so."""

    axis: int
    evidence: str


def hidden_size(params: Mapping[str, Any], arguments: Mapping[str, Any], tensors: Sequence[tuple[str, Shape]]) -> Hidden | None:
    """The width: from params.json, from the arguments in the files, or as long as the norms, which are copies."""
    for source, values in (("params.json", params), ("the arguments in the files", arguments)):
        for key in HIDDEN_KEYS:
            value = values.get(key)
            if type(value) is int and value > 0:
                return Hidden(value, f"{key} {value:,} in {source}")
    lengths = Counter([shape[0] for name, shape in tensors if len(shape) == 1 and NORM.search(name)])
    if not lengths:
        return None
    (length, _), *_ = lengths.most_common(1)
    return Hidden(length, f"norms of {length:,}")


def joint(
    name: str, shapes: Sequence[Shape], files: int, hidden: Hidden | None, same: Callable[[], bool | None]
) -> Joint | None:
    """How the slices of a tensor belong together; None when nothing tells. `same` says whether their bytes are equal, if it can."""
    first = shapes[0]
    if any(shape != first for shape in shapes):
        return _uneven(shapes)
    if COPIES.search(name):
        return Joint(COPY, "names")
    named = next((axis for pattern, axis in BY_NAME if pattern.fullmatch(name)), None)
    if named == COPY:
        return Joint(COPY, "names")
    if named is None and same() is True:
        return Joint(COPY, "equal bytes")
    shaped = _by_shape(name, first, files, hidden)
    if shaped is not None:
        return Joint(shaped, "shapes")
    if named is not None and named < len(first):
        return Joint(named, "names")
    if len(first) == 1 and same() is False:
        return Joint(ROWS, "bytes that differ")
    return None


def _uneven(shapes: Sequence[Shape]) -> Joint | None:
    if len({len(shape) for shape in shapes}) > 1:
        return None
    axes = [axis for axis, extents in enumerate(zip(*shapes, strict=True)) if len(set(extents)) > 1]
    return Joint(axes[0], "shapes that differ") if len(axes) == 1 else None


def _by_shape(name: str, shape: Shape, files: int, hidden: Hidden | None) -> int | None:
    """The axis of a matrix whose other axis is the hidden size."""
    if hidden is None or len(shape) != 2:
        return None
    rows, columns = shape
    if columns == hidden.size != rows:
        return ROWS
    if rows == hidden.size != columns or columns * files == hidden.size:
        return COLUMNS
    if EMBEDDING.fullmatch(name) and 0 < columns < hidden.size and hidden.size % columns == 0:
        return COLUMNS  # and there should be more slices than files
    return None
