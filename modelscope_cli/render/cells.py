"""A typed cell as people read it."""

from __future__ import annotations

from modelscope_cli.render.plain import visible
from modelscope_cli.render.units import count, percent, signed, size
from modelscope_cli.report.document import (
    Bytes,
    BytesChange,
    Count,
    CountChange,
    Inferred,
    Phrase,
    Ratio,
    RatioChange,
    ThousandBytes,
)


def words(value: object, unit: str, *, exact: bool = False, sign: str = "") -> str:
    """The text of a cell. `exact` writes counts out; `sign` follows a share standing by itself: " %"."""
    if value is None:
        return ""
    if type(value) is str:
        return visible(value)
    if isinstance(value, BytesChange):
        return signed(size(abs(value), unit), value)
    if isinstance(value, CountChange):
        return signed(f"{abs(value):,}" if exact else count(abs(value)), value)
    if isinstance(value, RatioChange):
        return signed(percent(abs(value)), value) + sign
    if isinstance(value, Bytes):
        return size(value, "si" if isinstance(value, ThousandBytes) else unit)
    if isinstance(value, Count):
        return f"{value:,}" if exact else count(value)
    if isinstance(value, Ratio):
        return percent(value) + sign
    if isinstance(value, Phrase):
        return "".join([words(part, unit, exact=exact, sign=" %") for part in value])
    if isinstance(value, dict):
        return ", ".join(f"{visible(str(key))} {words(inner, unit, exact=exact, sign=' %')}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join([words(part, unit, exact=exact, sign=" %") for part in value])
    return ("~" if isinstance(value, Inferred) else "") + visible(str(value))
