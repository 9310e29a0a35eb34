"""Values of metadata as plain data, long ones as a digest: a stored baseline stays short, and a comparison still sees all."""

from __future__ import annotations

import json
import math
from typing import Any

LONGEST_VALUE = 200  # characters of JSON that are kept as they are
DEEPEST = 64  # levels of dictionaries whose entries are values of their own
LARGEST_INT = 1 << 600  # a longer number is written in hexadecimal digits: those take no time to make


def condensed(value: Any) -> Any:
    """The value as plain data, or "sha256:… (12,345 characters)" of its JSON where that is long. A digest stays as it is."""
    plain = plain_value(value)
    if not isinstance(plain, str | list | dict):
        return plain
    text = canonical(plain)
    if len(text) <= LONGEST_VALUE:
        return plain
    from hashlib import sha256  # takes a few milliseconds to load

    return f"sha256:{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()} ({len(text):,} characters)"


def canonical(plain: Any) -> str:
    """Plain data as JSON with sorted keys and no spaces: equal texts are equal values, and 1, 1.0 and true are three."""
    return json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def plain_value(value: Any) -> Any:
    """What JSON has a word for; everything else as text."""
    if isinstance(value, dict):
        return {well_formed(str(key)): plain_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(inner) for inner in value]
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value) if -LARGEST_INT < value < LARGEST_INT else hex(value)
    return value if value is None or isinstance(value, bool) else str(value)


def well_formed(text: str) -> str:
    """Two surrogates that make a character, as that character: JSON has no way to tell them apart."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
