r"""Texts with escapes, as the oldest pickles and protobuf's text format write them: 'a\x20b\n' is "a b" and a line's end."""

from __future__ import annotations

import codecs
import warnings


def unescaped(text: bytes | bytearray) -> bytes:
    """What a text between its quotes stands for. An escape that Python does not know is kept as it is written, as pickle keeps it.

    ValueError: an escape that is broken off, such as \\x without its digits.
    """
    if b"\\" not in text:
        return bytes(text)
    with warnings.catch_warnings():  # Python warns of the escapes it does not know
        warnings.simplefilter("ignore")
        raw: bytes = codecs.escape_decode(text)[0]
    return raw
