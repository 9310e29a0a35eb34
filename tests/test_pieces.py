"""Whether pieces make up a whole, against counting every element."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.formats.pieces import Fit, Fitting, flat_fit

EXTENTS = st.lists(st.integers(0, 5), max_size=3).map(tuple)


@st.composite
def shape_and_boxes(draw):
    shape = draw(EXTENTS)
    box = st.tuples(*[st.tuples(st.integers(0, 5), st.integers(0, 5)) for _ in shape])
    boxes = draw(st.lists(box, max_size=5))
    return shape, [(tuple(start for start, _ in box), tuple(size for _, size in box)) for box in boxes]


def counted(shape, boxes):
    """Element by element."""
    inside = [box for box in boxes if all(start + size <= whole for start, size, whole in zip(*box, shape, strict=True))]
    times = dict.fromkeys(product(*map(range, shape)), 0)
    for origin, size in inside:
        for step in product(*map(range, size)):
            times[tuple(start + at for start, at in zip(origin, step, strict=True))] += 1
    return Fit(
        sum(count == 0 for count in times.values()),
        sum(count - 1 for count in times.values() if count > 1),
        len(boxes) - len(inside),
    )


@given(shape_and_boxes())
@settings(deadline=None, derandomize=True, database=None, max_examples=400)
def test_boxes(case):
    shape, boxes = case
    assert Fitting().fit(shape, boxes) == counted(shape, boxes)


@given(st.integers(0, 12), st.lists(st.tuples(st.integers(0, 14), st.integers(0, 6)), max_size=5))
@settings(deadline=None, derandomize=True, database=None, max_examples=400)
def test_runs(numel, runs):
    expected = counted((numel,), [((first,), (count,)) for first, count in runs])
    assert flat_fit(numel, runs) == expected


def test_what_is_too_much_to_count_is_judged_by_its_sum():
    boxes = [((number, 0), (1_000, number + 1)) for number in range(1_000)]
    fitting = Fitting()
    fit = fitting.fit((2_000, 2_000), boxes)
    assert fit.missing == 0
    assert fit.twice > 0
    assert fitting.left < 2_000_000
