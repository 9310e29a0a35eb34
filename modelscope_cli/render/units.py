"""Numbers as people read them: one decimal, kB/MB/GB of 1000s and KiB/MiB/GiB of 1024s, never mixed."""

from __future__ import annotations

IEC = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
SI = ("B", "kB", "MB", "GB", "TB", "PB")
COUNTS = ("", " k", " M", " B", " T")  # billions as the field writes them: 7 B parameters


def size(nbytes: int, unit: str) -> str:
    """A number of bytes; `auto` is iec."""
    if unit == "bytes":
        return f"{nbytes:,}"
    step, names = (1000, SI) if unit == "si" else (1024, IEC)
    if nbytes < 1000:
        return f"{nbytes} B"
    value = float(nbytes)
    for name in names:
        if value < 999.95 or name == names[-1]:
            break
        value /= step
    return f"{value:.1f} {name}"


def count(number: int) -> str:
    """A count in four or five characters: 126.3 M."""
    value = float(number)
    for name in COUNTS:
        if value < 999.95 or name == COUNTS[-1]:
            return f"{value:.1f}{name}" if name else str(number)
        value /= 1000
    return str(number)


def percent(ratio: float) -> str:
    """A share in per cent, without the sign."""
    value = ratio * 100
    if 0 < value < 0.05:
        return "<0.1"
    return f"{value:,.1f}"


def signed(text: str, number: float) -> str:
    """The text of a number without its sign, with one: +1.2 MiB, −3, ±0."""
    return f"{'+' if number > 0 else '−' if number < 0 else '±'}{text}"
