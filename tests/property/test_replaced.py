"""A pickle in which any value is replaced by one of another kind gives a result or a ModelscopeError.

Readers ask the values of a pickle for what honest ones have: a length, items, bytes. Changed bytes seldom make a whole value of
another kind, so here each one is thrown away as soon as it was made, and another put where it was.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import pytest

from tests.builders import pickle_code as code
from tests.builders.pickle_code import Code, built, call, get, instance, name, persistent, pickled, put, value
from tests.builders.samples import SAMPLES
from tests.builders.torch_code import storage, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.fuzz.mutators import framed, instructions
from tests.property.reading import check_analyses, read_bytes

ODD = [
    value(None), value(True), value(0), value(-1), value(1 << 63), value(10**600), value(0.5), value(float("inf")), value(float("nan")),
    value(""), value("0"), value("name"), value("a" * 5_000), b"\x8c\x03\xed\xa0\x80", value(b""), value(b"abcd"), code.EMPTY_SET,
    value(()), value((1,)), value((-1, 2)), value(("a", "b")), value(((),)), value([]), value([1]), value({}), value({"a": 1}),
    name("torch.float32"), name("torch.FloatStorage"), call("torch.Size", (1, 2)), call("x.y"), call("x.y", b"abcd"),
    Code(name("x.y") + code.EMPTY_TUPLE + code.NEWOBJ), Code(name("x.y") + code.EMPTY_LIST + code.REDUCE), persistent(("storage",)),
    Code(code.EMPTY_LIST + put(99) + get(99) + code.APPEND),
]  # fmt: skip
NO_VALUES = (code.MARK, code.POP, code.POP_MARK, code.MEMOIZE, code.STOP, b"q", b"r", b"p", b"\x80", b"\x95")
DTYPE = built(call("numpy.dtype", "f4", False, True), (3, "<", None, None, None, -1, -1, 0))
ARRAY = built(call("numpy.core.multiarray._reconstruct", name("numpy.ndarray"), (0,), b"b"), (1, (2, 3), DTYPE, False, bytes(24)))
SCALAR = "numpy.core.multiarray.scalar"
VALUES = {
    "args": instance("argparse.Namespace", {"seed": 1}),
    "device": call("torch.device", "cuda", 0),
    "path": call("pathlib.PosixPath", "/", "data"),
    "size": call("torch.Size", (2, 3)),
    "scalar": call(SCALAR, DTYPE, bytes(4)),
    "encoded": call(SCALAR, call("numpy.dtype", "f4", False, True), call("_codecs.encode", "abcd", "latin1")),
    "array": ARRAY,
    "complex": call("builtins.complex", 1.0, 2.0),
    "kind": call("shop.Kind", 3),
}
UTILS = "torch._utils._rebuild_"
ROWS, COLUMNS = tensor("0", (3,), "LongStorage"), tensor("1", (3,), "LongStorage")
WHOLE = (storage("3", 6), 0, (2, 3), (3, 1), False, {})
WRAPPED = (name("a.Sub"), name("torch.float32"), (2, 3), (3, 1), 0, name("torch.strided"), call("torch.device", "cpu"), False)
TENSORS = {
    "quantised": call(f"{UTILS}qtensor", *WHOLE[:4], (name("torch.per_channel_affine"), ROWS, COLUMNS, 0), False, {}),
    "rows": call(f"{UTILS}sparse_tensor", name("torch.sparse_csr"), (ROWS, COLUMNS, tensor("2", (3,)), (2, 7))),
    "nested": call(f"{UTILS}nested_tensor", tensor("2", (3,)), ROWS, ROWS, COLUMNS),
    "subclass": call("torch._tensor._rebuild_from_type_v2", name(f"{UTILS}tensor_v2"), name("a.Sub"), WHOLE, {"note": 1}),
    "wrapped": call(
        "torch._tensor._rebuild_from_type_v2", name(f"{UTILS}wrapper_subclass"), name("a.Sub"), WRAPPED, {"inner": tensor("2", (3,))}
    ),
    "device": call(f"{UTILS}device_tensor_from_numpy", ARRAY, name("torch.float32"), "xla:0", False),
    "stated": call(f"{UTILS}parameter_with_state", tensor("2", (3,)), True, {}, {"note": 1}),
}
MORE = {
    "values.pkl": pickled(VALUES),
    "tensors.pt": torch_zip_bytes(TENSORS, {"0": 24, "1": 24, "2": 12, "3": 24}),
}


def members(data: bytes) -> dict[str, bytes]:
    """What an archive holds; of anything else itself, by no name."""
    if not data.startswith(b"PK"):
        return {"": data}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {inner: archive.read(inner) for inner in archive.namelist()}


def is_pickle(data: bytes) -> bool:
    return data.startswith((code.proto(), b"\x80\x02"))


def replaced(pickle: bytes) -> Iterator[bytes]:
    """The pickle with each of its values replaced by each of the odd ones."""
    pieces = instructions(pickle)
    for place, piece in enumerate(pieces):
        if not piece.startswith(NO_VALUES):
            for other in ODD:
                yield b"".join(framed([*pieces[: place + 1], code.POP, bytes(other), *pieces[place + 1 :]]))


FILES = {name: data for name, data in {**SAMPLES, **MORE}.items() if any(map(is_pickle, members(data).values()))}


@pytest.mark.parametrize("name", FILES)
def test_every_value_of_every_pickle_replaced(name):
    parts = members(FILES[name])
    assert read_bytes(FILES[name], name) is not None
    for inner, pickle in parts.items():
        for other in replaced(pickle) if is_pickle(pickle) else ():
            data = zip_bytes([Entry(*pair) for pair in (parts | {inner: other}).items()]) if inner else other
            checkpoint = read_bytes(data, name)
            if checkpoint is not None:
                check_analyses(checkpoint)
