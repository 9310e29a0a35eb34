"""Amounts as people write them: every unit, what could mean two things, and what is no amount at all."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelscope_cli.checks import quantities as q
from modelscope_cli.report.document import Bytes, Count, Ratio, ThousandBytes

SIZES = {
    "0": 0, "1": 1, "500": 500, "500 B": 500, "7 bytes": 7, "1 byte": 1, "1,000": 1000, "1_000": 1000, "12,345,678 B": 12_345_678,
    "1 kB": 1000, "1 KB": 1000, "1kb": 1000, "500 MB": 500_000_000, "500MB": 500_000_000, "  500   MB  ": 500_000_000,
    "1.5 GB": 1_500_000_000, ".5 GB": 500_000_000, "1,500 MB": 1_500_000_000, "2 TB": 2 * 10**12, "3 PB": 3 * 10**15,
    "1 KiB": 1024, "1 kib": 1024, "1.5 MiB": 3 << 19, "1.2 GiB": int(Decimal("1.2") * (1 << 30)), "1 TiB": 1 << 40, "1 PiB": 1 << 50,
}  # fmt: skip
COUNTS = {
    "0": 0, "1234": 1234, "1,234": 1234, "12 k": 12_000, "126.3 M": 126_300_000, "1.5m": 1_500_000, "7 B": 7 * 10**9, "7b": 7 * 10**9,
    "7 billion": 7 * 10**9, "2 billions": 2 * 10**9, "1 million": 10**6, "3 millions": 3 * 10**6, "4 thousand": 4000, "1.1 T": 11 * 10**11,
    "2 trillion": 2 * 10**12, "7 bn": 7 * 10**9, "7 G": 7 * 10**9,
}  # fmt: skip
SHARES = {
    "40 %": 0.4,
    "40%": 0.4,
    " 45.5 % ": 0.455,
    "0 %": 0.0,
    "100 %": 1.0,
    "0.4": 0.4,
    ".5": 0.5,
    "1": 1.0,
    0.4: 0.4,
    0: 0.0,
    1: 1.0,
}
NO_AMOUNT = (
    "", " ", "MB", "five MB", "5 5 MB", "-5 MB", "+5 MB", "5e3", "1.2.3 MB", "0x10", "5 XB", "5 MBs", "5 MiBB", "5 /s", "inf", "nan",
    "1,5 GB", "1,50", "12,34 MB", "1,5000", ",500", "5.", "\x00", "5\nMB\n5", "½ GB", "x" * 10_000, "9" * 10_000, "1" + "0" * 70,
    None, True, False, 1.5, float("nan"), float("inf"), [], [5], {}, {"a": 1}, b"5 MB", -1, -(10**30), 1 << 63, 10**5000, "9999999 PB",
)  # fmt: skip


@pytest.mark.parametrize(("written", "nbytes"), SIZES.items())
def test_sizes(written, nbytes):
    assert q.size(written) == nbytes
    assert q.growth(written) == nbytes


@pytest.mark.parametrize(("written", "number"), COUNTS.items())
def test_counts(written, number):
    assert q.count(written) == number
    assert q.count_growth(written) == number
    assert type(q.count(written)) is Count


@pytest.mark.parametrize(("written", "share"), SHARES.items())
def test_shares(written, share):
    assert q.share(written) == share
    assert type(q.share(written)) is Ratio


@pytest.mark.parametrize(
    ("written", "kind"),
    [("5 MB", ThousandBytes), ("5 kB", ThousandBytes), ("5 MiB", Bytes), ("5 B", Bytes), ("5", Bytes), (5, Bytes)],
)
def test_a_size_remembers_whether_it_was_written_in_thousands(written, kind):
    assert type(q.size(written)) is kind


@pytest.mark.parametrize("written", NO_AMOUNT, ids=lambda written: f"{type(written).__name__}")
@pytest.mark.parametrize("read", [q.size, q.count, q.growth, q.count_growth], ids=lambda read: read.__name__)
def test_no_amount(read, written):
    with pytest.raises(ValueError, match='write "') as caught:
        read(written)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "written",
    ["", "%", "x %", "-1 %", "-0.1", "101 %", "1.1", "nan %", "inf %", "nan", "1e400", "5e-1 %", "1,5 %", "40 %%", "4 0 %", "9" * 10_000, "9" * 9_999 + "%",
     "x" * 10_000, None, True, False, -0.5, 1.5, float("nan"), float("inf"), 2, 10**5000, [0.4], b"40 %"],
    ids=lambda written: type(written).__name__,
)  # fmt: skip
def test_no_share(written):
    with pytest.raises(ValueError, match=r'write "40 %" or 0\.4') as caught:
        q.share(written)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("written", "first", "second"),
    [("500 M", "MB", "MiB"), ("500M", "MB", "MiB"), ("1.5 g", "GB", "GiB"), ("3 K", "kB", "KiB"),
     ("3 k", "kB", "KiB"), ("2 T", "TB", "TiB"), ("1 Mi", "MB", "MiB")],
)  # fmt: skip
@pytest.mark.parametrize("read", [q.size, q.growth], ids=["size", "growth"])
def test_what_could_be_thousands_or_1024s_is_refused_with_both(read, written, first, second):
    with pytest.raises(ValueError, match=rf"may mean 1000s or 1024s: write {first} or {second}\b"):
        read(written)


@pytest.mark.parametrize("written", ["0.05", ".5", "1.5", "0.5 B", "1.5 bytes"])
def test_a_fraction_of_a_byte_was_meant_as_something_else(written):
    for read in (q.size, q.growth):
        with pytest.raises(ValueError, match="is not a whole number"):
            read(written)


def test_a_fraction_of_a_parameter_was_meant_as_something_else():
    for read in (q.count, q.count_growth):
        with pytest.raises(ValueError, match="is not a whole number"):
            read("0.05")


@pytest.mark.parametrize("written", ["5 %", "5%", " 5 % ", "5.0 %"])
def test_growth_in_per_cent(written):
    for read in (q.growth, q.count_growth):
        assert read(written) == 0.05
        assert type(read(written)) is Ratio


def test_growth_may_be_more_than_all():
    assert q.growth("250 %") == 2.5
    assert q.growth("999999 %") == 9999.99
    with pytest.raises(ValueError, match="out of range"):
        q.growth("1000000 %")


@pytest.mark.parametrize("written", ["1.1 GB", "0.1 GB", "4.35 GB", "2.3 TB", "0.000001 GB", "9007199.254740993 GB"])
def test_no_byte_is_lost_in_floating_point(written):
    number, unit = written.split()
    assert q.size(written) == Fraction(number) * {"GB": 10**9, "TB": 10**12}[unit]


@settings(deadline=None)
@given(st.integers(1, 99_999), st.sampled_from([10, 100, 1000, 10_000]))
@example(7, 10)
@example(99_999, 1000)
def test_a_share_that_is_met_exactly_is_kept(number, scale):
    """0.7 % and 7 of 1000 are the same, although 0.7 / 100 and 7 / 1000 are not."""
    written = Decimal(number) / scale
    exact = number / (scale * 100)
    assert q.growth(f"{written:f} %") == exact
    if exact <= 1:
        assert q.share(f"{written:f} %") == exact


UNITS = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(sorted(UNITS)), st.sampled_from(["", " ", "  "]), st.booleans(), st.booleans())
def test_what_is_written_is_read(number, unit, between, grouped, shouted):
    text = f"{number:,}" if grouped else str(number)
    assert q.size(f"{text}{between}{unit.upper() if shouted else unit}") == number * UNITS[unit]


@settings(deadline=None)
@given(st.integers(0, (1 << 63) - 1))
@example((1 << 63) - 1)
def test_whole_numbers_read_back_as_themselves(number):
    for written in (number, str(number), f"{number:,}", f"{number:_}"):
        assert q.size(written) == q.count(written) == number


@settings(deadline=None)
@given(st.decimals(0, 10**6, places=4, allow_nan=False), st.sampled_from(sorted(UNITS.keys() - {"B"})))
def test_fractions_are_exact_and_rounded_down(number, unit):
    assert q.size(f"{number} {unit}") == int(Fraction(number) * UNITS[unit])


@settings(deadline=None)
@given(st.one_of(st.text(max_size=30), st.text("0123456789.,_%kKmMgGbBiI ", max_size=12)))
def test_any_text_is_an_amount_or_refused_in_a_sentence(text):
    for read in (q.size, q.count, q.share, q.growth, q.count_growth):
        try:
            found = read(text)
            assert 0 <= found < 1 << 63
        except ValueError as error:
            refused = str(error)
            assert re.search(r"write (\"|\w+ or \w+)", refused), refused


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("a", ("a",)),
        ("a,b", ("a", "b")),
        (" a , b ,", ("a", "b")),
        (["a", " b"], ("a", "b")),
        (("a",), ("a",)),
        (["a", ""], ("a",)),
    ],
)
def test_words(written, found):
    assert q.words(written) == found


@pytest.mark.parametrize("written", ["", " ", ",,", [], [""], None, 5, True, [1], ["a", 1], {"a": 1}, b"a"])
def test_no_words(written):
    with pytest.raises(ValueError, match=r"is not a list of words|the list is empty"):
        q.words(written)


def test_a_switch_is_true_or_false():
    assert q.switch(True) is True
    assert q.switch(False) is False
    for written in (1, 0, "true", "", None, [], 1.0):
        with pytest.raises(ValueError, match="neither true nor false"):
            q.switch(written)


def test_a_sentence_repeats_only_so_much():
    for written in ("x" * 10_000, ["x" * 10_000], 10**5000, {"a": 10**5000}, None):
        assert 0 < len(q.shown(written)) <= q.LONGEST
