"""Who owns which bytes: held against a count of single elements."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from modelscope_cli.analysis.ownership import own
from modelscope_cli.core.checkpoint import Checkpoint, FileRecord
from modelscope_cli.core.dtype import DTYPES
from modelscope_cli.core.span import ByteMap, Region
from modelscope_cli.core.tensor import TensorTable, View
from tests.tables import checkpoint_of

FLOAT = DTYPES["float32"]


def on_one_storage(size: int, *views: tuple, stored: int | None = None, dtype=FLOAT) -> Checkpoint:
    """Tensors (shape, offset in elements, strides) named a, b, c … on a storage of `size` elements."""
    table = TensorTable()
    table.filenames.append("model.pt")
    nbytes = size * dtype.bits // 8
    table.storage.add("0", 0, 0, nbytes, stored)
    for letter, (shape, offset, strides) in zip("abcdefghijklmnopqrstuvwxyz", views, strict=False):
        table.add(letter, shape, dtype, 0, offset * dtype.bits // 8, strides)
    size_in_file = nbytes if stored is None else stored
    regions = [Region(0, size_in_file, "data")] if size_in_file else []
    return Checkpoint(
        "model.pt",
        "torch-zip",
        [FileRecord("model.pt", size_in_file, range(len(table)))],
        table,
        [ByteMap(regions, size_in_file)],
    )


def reached(shape, offset, strides) -> set[int]:
    """Element numbers of the storage that a view sees."""
    if strides is None:
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return {offset + sum(i * s for i, s in zip(index, strides, strict=True)) for index in itertools.product(*map(range, shape))}


def brute(size: int, views) -> tuple[list[int], dict[int, int], list[tuple[int, int]], int]:
    """(owned elements, ties, overlaps, waste in elements), element by element."""
    owner: dict[int, int] = {}
    owned, tied, overlaps = [], {}, []
    for number, view in enumerate(views):
        elements = reached(*view)
        met = {owner[element] for element in elements if element in owner}
        same = {earlier for earlier, other in enumerate(views[:number]) if elements and reached(*other) == elements}
        fresh = [element for element in elements if element not in owner]
        owned.append(len(fresh))
        if same:
            tied[number] = same
        elif met:
            overlaps.append((number, met))
        owner |= dict.fromkeys(fresh, number)
    return owned, tied, overlaps, size - len(owner)


def check(size: int, *views) -> None:
    result = own(on_one_storage(size, *views))
    owned, tied, overlaps, waste = brute(size, views)
    assert result.approximate == []
    assert result.elements == [math.prod(shape) for shape, _, _ in views]
    assert result.owned == owned
    assert result.nbytes == [count * 4 for count in owned]
    assert result.tied.keys() == tied.keys()
    assert all(result.tied[number] in tied[number] for number in tied)
    assert {number for number, _ in result.overlaps} == {number for number, _ in overlaps}
    assert sum(lost for _, lost in result.waste) == waste * 4


CASES = {
    "alone": (6, ((2, 3), 0, None)),
    "tied": (6, ((2, 3), 0, None), ((2, 3), 0, None)),
    "tied in another shape": (6, ((2, 3), 0, None), ((6,), 0, None)),
    "transposed tie": (6, ((2, 3), 0, None), ((3, 2), 0, (1, 3))),
    "slice": (60, ((5,), 10, None)),
    "slice before the whole": (6, ((2,), 2, None), ((6,), 0, None)),
    "partial overlap": (10, ((6,), 0, None), ((6,), 4, None)),
    "disjoint halves": (10, ((5,), 0, None), ((5,), 5, None)),
    "expanded": (1, ((1000, 7), 0, (0, 0))),
    "expanded row": (12, ((5, 4), 4, (0, 1))),
    "column": (20, ((5,), 2, (4,))),
    "columns": (20, ((5,), 2, (4,)), ((5,), 3, (4,)), ((5,), 2, (4,))),
    "column then all": (20, ((5,), 2, (4,)), ((5, 4), 0, None)),
    "block": (60, ((3, 4), 13, (12, 1))),
    "every second": (20, ((2, 5), 0, (10, 2)), ((2, 5), 1, (10, 2))),
    "unfolded": (10, ((4, 4), 0, (2, 1))),
    "unfolded twice": (10, ((4, 4), 0, (2, 1)), ((10,), 0, None)),
    "diagonal": (25, ((5,), 0, (6,))),
    "empty": (6, ((0, 3), 6, None), ((6,), 0, None)),
    "only empty": (6, ((0,), 0, None)),
    "scalar": (6, ((), 5, ())),
    "twenty pieces": (100, *(((5,), 5 * n, None) for n in range(20))),
    "twenty pieces backwards": (100, *(((5,), 95 - 5 * n, None) for n in range(20))),
    "twenty windows": (100, *(((12,), 4 * n, None) for n in range(20))),
}


@pytest.mark.parametrize("case", CASES)
def test_against_single_elements(case):
    check(*CASES[case])


@st.composite
def small_views(draw):
    size = draw(st.integers(1, 40))
    views = []
    for _ in range(draw(st.integers(1, 5))):
        shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
        strides = draw(st.none() | st.tuples(*[st.integers(0, 9)] * len(shape)))
        offset = draw(st.integers(0, size - 1))
        elements = reached(shape, offset, strides)
        if not elements or max(elements) < size:
            views.append((shape, offset, strides))
    return size, views


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(small_views())
def test_any_views_against_single_elements(case):
    size, views = case
    assume(views)
    check(size, *views)


def test_first_name_owns_and_later_ones_are_tied_to_it():
    result = own(
        checkpoint_of({"embed.weight": (5, 4), "mid.weight": (2,), "head.weight": (5, 4)}, ties={"head.weight": "embed.weight"})
    )
    assert result.owned == [20, 2, 0]
    assert result.nbytes == [80, 8, 0]
    assert result.tied == {2: 0}
    assert result.elements == [20, 2, 20]


def test_chain_of_ties_leads_to_the_first():
    result = own(checkpoint_of({"a": (4,), "b": (4,), "c": (4,)}, ties={"b": "a", "c": "b"}))
    assert result.tied == {1: 0, 2: 0}


def test_compressed_storage_is_shared_in_proportion():
    result = own(on_one_storage(100, ((50,), 0, None), ((25,), 50, None), stored=40))
    assert result.nbytes == [20, 10]
    assert result.owned == [50, 25]


def test_compressed_storage_alone():
    assert own(on_one_storage(100, ((10, 10), 0, None), stored=7)).nbytes == [7]


def test_other_dtype_on_the_same_bytes():
    checkpoint = on_one_storage(8, ((8,), 0, None))
    checkpoint.tensors.add("bytes", (32,), DTYPES["uint8"], 0)
    result = own(checkpoint)
    assert result.owned == [8, 0]
    assert result.tied == {1: 0}


def test_meta_tensors_own_nothing():
    table = TensorTable()
    table.add("meta", (3, 4), FLOAT, -1)
    result = own(Checkpoint("m", "torch-zip", [FileRecord("m", 0, range(1))], table, [ByteMap([], 0)]))
    assert (result.elements, result.owned, result.nbytes) == ([12], [0], [0])


def test_tensor_of_several_storages():
    """The elements of a sparse tensor are its values; its bytes are those of the indices too."""
    table = TensorTable()
    table.filenames.append("m")
    indices, values = table.storage.add("i", 0, 0, 48), table.storage.add("v", 0, 48, 12)
    row = table.add("sparse", (9, 9), FLOAT, values)
    table.parts[row] = (View(values, 0, (3,), FLOAT, None), View(indices, 0, (2, 3), DTYPES["int64"], None))
    result = own(Checkpoint("m", "torch-zip", [FileRecord("m", 60, range(1))], table, [ByteMap([Region(0, 60, "data")], 60)]))
    assert (result.elements, result.owned, result.nbytes) == ([81], [3], [60])


def test_too_many_runs_are_counted_by_their_span():
    rows = 5_000
    result = own(on_one_storage(rows * 4, ((rows, 1), 0, (4, 1)), ((rows, 2), 1, (4, 1))))
    assert set(result.approximate) == {0, 1}
    assert sum(result.nbytes) <= rows * 16


def test_strided_view_alone_is_counted_exactly_however_many_runs():
    rows = 50_000
    result = own(on_one_storage(rows * 4, ((rows,), 0, (4,))))
    assert (result.owned, result.nbytes, result.approximate) == ([rows], [rows * 4], [])
    assert result.waste == [(0, rows * 12)]


def test_sub_byte_elements():
    result = own(on_one_storage(10, ((9,), 0, None), dtype=DTYPES["float4_e2m1fn"]))
    assert result.owned == [9]
