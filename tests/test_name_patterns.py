"""Names fold into patterns that stand for exactly those names, whatever the names are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.core.name_patterns import expand, fold, keys, parse, sort_key, spell


def folded(*names: str) -> list[str]:
    return [pattern for pattern, _ in fold((name, None) for name in names)]


def unfolded(patterns: list[str]) -> list[str]:
    return [name for pattern in patterns for name in expand(parse(pattern))]


def test_one_number():
    assert folded("h.1.w", "h.0.w", "h.2.w") == ["h.{0-2}.w"]


def test_holes():
    assert folded(*(f"{n}.w" for n in (0, 1, 2, 5, 7, 8, 9, 11, 12))) == ["{0-2,5,7-9,11-12}.w"]


def test_a_product():
    names = [f"layers.{layer}.experts.{expert}.w" for layer in range(3, 61) for expert in range(256)]
    assert folded(*names) == ["layers.{3-60}.experts.{0-255}.w"]


def test_prefixes_with_other_sets_stay_apart():
    names = [f"a.{i}.b.{j}" for i in range(4) for j in range(3 if i == 2 else 5)]
    assert folded(*names) == ["a.{0-1,3}.b.{0-4}", "a.2.b.{0-2}"]


def test_names_with_other_values_stay_apart():
    assert fold([("l.0.w", "x"), ("l.1.w", "y"), ("l.2.w", "x")]) == [("l.{0,2}.w", "x"), ("l.1.w", "y")]


def test_numbers_are_sorted_by_value():
    assert folded("l.10.a", "l.9.b", "k", "l.2.z", "l.0.c", "l.1.c") == ["k", "l.{0-1}.c", "l.2.z", "l.9.b", "l.10.a"]
    assert sorted(["l.10", "l.9", "l"], key=sort_key) == ["l", "l.9", "l.10"]


@pytest.mark.parametrize(
    "name",
    ["{0-3}.w", "a.{{b", "{", "a.{1}.b", "", ".", "..0", "007", "a.00", "1" * 30, "-1", "٣", "a0.b1", "1e3", "{0-3", "w{0-2}"],
)
def test_what_looks_like_a_pattern_is_a_name(name):
    (pattern,) = folded(name)
    assert expand(parse(pattern)) == [name]


def test_a_brace_stands_twice():
    assert folded("{x}.w", "a{b}") == ["a{b}", "{{x}.w"]


def test_a_name_of_many_numbers_is_text():
    names = [".".join(map(str, range(start, start + 9))) for start in (0, 1)]
    assert folded(*names) == names
    assert unfolded(names) == names


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "{",
            "a.{b",
            "{0-}",
            "{-1}",
            "{3-1}",
            "{1,1}",
            "{2,1}",
            "{0-2,2}",
            "{0,}",
            "{,0}",
            "{00-3}",
            "{0-3-5}",
            "{0,,2}",
            "{}",
        ),
        "{0-9999999999999999999}",
        "x.{0-1}.1.2.3.4.5.6.7.8",
    ],
)
def test_what_fold_would_not_write_is_refused(pattern):
    with pytest.raises(ValueError, match=r"opens no range|is not a rising list"):
        parse(pattern)


def test_names_are_counted_before_they_are_made():
    assert parse("{0-999999999}.w").names == 10**9
    assert parse("{0-999999}.{0-999999}.{5-6}").names == 2 * 10**12


def test_keys_are_those_that_names_are_sorted_by():
    pattern = parse("a.{0-1}.b.7.{8,10}")
    assert [sort_key(name) for name in expand(pattern)] == list(keys(pattern))
    assert max(map(len, expand(pattern))) == pattern.longest


PARTS = st.one_of(
    st.integers(0, 12).map(str),
    st.sampled_from(
        [
            "{",
            "{{",
            "{0-3}",
            "{{0-3}",
            "{1}",
            "}",
            "",
            "00",
            "01",
            "w",
            "weight",
            "é",
            "²",
            "-1",
            "\n",
            "9" * 17,
            "9" * 18,
            "9" * 19,
        ]
    ),
    st.text(max_size=4),
)
NAMES = st.one_of(st.lists(PARTS, min_size=1, max_size=11).map(".".join), st.text(max_size=8))


@settings(max_examples=600, deadline=None)
@given(st.sets(NAMES, max_size=30))
def test_unfolding_gives_the_very_names(names):
    made = unfolded(folded(*names))
    assert len(made) == len(names)
    assert set(made) == names


@settings(max_examples=300, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_any_set_of_numbers(numbers):
    names = {f"a.{x}.b.{y}.{z}" for x, y, z in numbers}
    made = unfolded(folded(*names))
    assert sorted(made) == sorted(names)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, st.sampled_from("xyz"), max_size=20), st.randoms(use_true_random=False))
def test_order_does_not_matter(values, shuffler: random.Random):
    shuffled = list(values.items())
    shuffler.shuffle(shuffled)
    assert fold(shuffled) == fold(values.items())
    assert {name: value for pattern, value in fold(shuffled) for name in expand(parse(pattern))} == values


@settings(max_examples=300, deadline=None)
@given(NAMES)
def test_sort_keys_spell_the_name(name):
    assert spell(sort_key(name)) == name


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="{}0129,-.a", max_size=14))
def test_any_text_as_a_pattern(text):
    try:
        pattern = parse(text)
    except ValueError:
        return
    if pattern.names <= 2_000:
        names = expand(pattern)
        assert len(set(names)) == len(names) == pattern.names
        assert max(map(len, names)) <= pattern.longest
