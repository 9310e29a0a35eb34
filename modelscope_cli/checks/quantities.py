"""Amounts as people write them: "500 MB", "1.2 GiB", "7 B", "40 %".

kB, MB, GB are 1000s and KiB, MiB, GiB are 1024s; what could be either ("500 M") is refused with both readings. Each function
takes what a TOML file or a flag holds and raises ValueError with a sentence that shows a right way to write it.
"""

from __future__ import annotations

import re
from decimal import Decimal

from modelscope_cli.report.document import Bytes, Count, Ratio, ThousandBytes

# Commas are for thousands: "1,5 GB" is one and a half to some, and is refused.
NUMBER = r"(?P<number>(?:\d{1,3}(?:,\d{3})+|\d[\d_]*)(?:\.\d+)?|\.\d+)"
AMOUNT = re.compile(rf"\s*{NUMBER}\s*(?P<unit>[^\d\s]*|billions?|millions?)\s*")
PERCENTAGE = re.compile(rf"\s*{NUMBER}\s*%\s*")
LARGEST = 1 << 63
LONGEST = 60  # characters of what was written that a sentence repeats
POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
COUNT_UNITS = {
    "": 0, "k": 1, "thousand": 1, "m": 2, "million": 2, "millions": 2, "b": 3, "g": 3, "bn": 3, "billion": 3, "billions": 3,
    "t": 4, "trillion": 4, "trillions": 4,
}  # fmt: skip
SIZE_EXAMPLES = 'write "500 MB", "1.2 GiB" or a number of bytes'
COUNT_EXAMPLES = 'write "7 B", "126.3 M" or a whole number'
SHARE_EXAMPLES = 'write "40 %" or 0.4'


def size(written: object) -> Bytes:
    """A number of bytes; ThousandBytes where it was written in units of 1000, so that it is shown in them again."""
    if isinstance(written, int) and not isinstance(written, bool):
        return Bytes(_within(Decimal(written), written, SIZE_EXAMPLES))
    number, unit = _amount(written, SIZE_EXAMPLES)
    if unit in ("b", "byte", "bytes", ""):
        _whole(number, written, SIZE_EXAMPLES)
        return Bytes(_within(number, written, SIZE_EXAMPLES))
    letter, rest = unit[0], unit[1:]
    if letter in POWERS and rest == "ib":
        return Bytes(_within(number * 1024 ** POWERS[letter], written, SIZE_EXAMPLES))
    if letter in POWERS and rest == "b":
        return ThousandBytes(_within(number * 1000 ** POWERS[letter], written, SIZE_EXAMPLES))
    if letter in POWERS and rest in ("", "i"):
        large = letter.upper() if letter != "k" else "k"
        raise ValueError(f"{shown(written)} may mean 1000s or 1024s: write {large}B or {letter.upper()}iB")
    raise ValueError(f"{shown(written)} is not a size: {SIZE_EXAMPLES}")


def count(written: object) -> Count:
    """A number of parameters."""
    if isinstance(written, int) and not isinstance(written, bool):
        return Count(_within(Decimal(written), written, COUNT_EXAMPLES))
    number, unit = _amount(written, COUNT_EXAMPLES)
    if unit not in COUNT_UNITS:
        raise ValueError(f"{shown(written)} is not a number of parameters: {COUNT_EXAMPLES}")
    if not unit:
        _whole(number, written, COUNT_EXAMPLES)
    return Count(_within(number * 1000 ** COUNT_UNITS[unit], written, COUNT_EXAMPLES))


def share(written: object) -> Ratio:
    """A part of a whole, between 0 and 1."""
    found = _percentage(written)
    if found is None and isinstance(written, int | float) and not isinstance(written, bool) and 0 <= written <= 1:
        found = float(written)
    if found is None and isinstance(written, str) and len(written) < 64 and (match := re.fullmatch(NUMBER, written.strip())):
        found = float(_decimal(match))
    if found is None or not 0 <= found <= 1:
        raise ValueError(f"{shown(written)} is not a share: {SHARE_EXAMPLES}")
    return Ratio(found)


def growth(written: object) -> Bytes | Ratio:
    """How much bigger something may become: in per cent of what it was, or in bytes."""
    found = _percentage(written)
    if found is not None:
        return Ratio(found)
    try:
        return size(written)
    except ValueError as error:
        raise ValueError(f'{error}, or "5 %"') from None


def count_growth(written: object) -> Count | Ratio:
    """How many more parameters there may be: in per cent, or in number."""
    found = _percentage(written)
    if found is not None:
        return Ratio(found)
    try:
        return count(written)
    except ValueError as error:
        raise ValueError(f'{error}, or "5 %"') from None


def words(written: object) -> tuple[str, ...]:
    """A list of words: of a TOML list, or separated by commas."""
    found = written.split(",") if isinstance(written, str) else written
    if not isinstance(found, list | tuple) or not all(isinstance(word, str) for word in found):
        raise ValueError(f'{shown(written)} is not a list of words: write ["one", "two"]')
    kept = tuple(word.strip() for word in found if word.strip())
    if not kept:
        raise ValueError("the list is empty")
    return kept


def switch(written: object) -> bool:
    """True or false."""
    if not isinstance(written, bool):
        raise ValueError(f"{shown(written)} is neither true nor false")
    return written


def _percentage(written: object) -> float | None:
    if not isinstance(written, str) or not written.rstrip().endswith("%"):
        return None
    match = PERCENTAGE.fullmatch(written) if len(written) < 64 else None
    if match is None:
        raise ValueError(f"{shown(written)} is not a percentage: {SHARE_EXAMPLES}")
    found = _decimal(match)
    if found >= 1_000_000:
        raise ValueError(f"{shown(written)} is out of range: {SHARE_EXAMPLES}")
    return float(found / 100)  # 0.7 / 100 as floats is less than 7 / 1000


def _amount(written: object, examples: str) -> tuple[Decimal, str]:
    match = AMOUNT.fullmatch(written) if isinstance(written, str) and len(written) < 64 else None
    if match is None:
        raise ValueError(f"{shown(written)} is not understood: {examples}")
    return _decimal(match), match["unit"].lower()


def _decimal(match: re.Match[str]) -> Decimal:
    return Decimal(match["number"].replace(",", "").replace("_", ""))


def _whole(number: Decimal, written: object, examples: str) -> None:
    """A fraction without a unit was meant as something else: a share, or a forgotten MB."""
    if number != int(number):
        raise ValueError(f"{shown(written)} is not a whole number: {examples}")


def _within(number: Decimal, written: object, examples: str) -> int:
    if not 0 <= number < LARGEST:
        raise ValueError(f"{shown(written)} is out of range: {examples}")
    return int(number)


def shown(written: object) -> str:
    """What was written, as a sentence can repeat it."""
    try:
        text = repr(written)
    except ValueError:  # Python refuses to write out integers of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
