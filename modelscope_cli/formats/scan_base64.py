"""Pickles in JSON, as base64: what stable-baselines3 keeps in the member `data` of a model, and unpickles when it loads.

    {"policy_class": {":type:": "<class 'abc.ABCMeta'>", ":serialized:": "gASVMAAAAA…", …}, …}

Whatever stands under that key is unpickled. Any other text that begins as a base64 of a pickle does (PROTO 2 to 5) is looked at as well:
few other texts do, and what is no pickle is not taken for one. Python leaves out what is no letter of base64, so it decodes here too.
Facts: stable_baselines3/common/save_util.py (json_to_data); Modules/binascii.c (a2b_base64, not strict).
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING

from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.formats.scan_evaluated import BEGINS, SERIALIZED

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

OTHERS = re.compile(rb"[^A-Za-z0-9+/]+")
LONGEST_KEY = 40  # characters of it that a place has
MARK = "(base64)"


def scan_base64(walk: Walk, where: str, packed: list[tuple[str, str]]) -> None:
    """Look at texts by what they decode to; each stands under a key."""
    depth = 1 + where.count(MARK)
    seen: set[str] = set()
    looked = 0
    for key, text in packed:
        known = key == SERIALIZED
        if text in seen or not (known or BEGINS.match(text)):
            continue
        seen.add(text)
        if looked >= walk.limits.nested_files or len(text) > walk.budget:
            walk.unseen(where, f"what follows the first {looked:,} pickles in base64 (--limit nested_files=N, scanned_bytes=N)")
            return
        looked += 1
        place = f"{key[:LONGEST_KEY] or 'text'} {MARK}"
        place = f"{where}/{place}" if where else place
        streams = len(walk.found.streams)
        held = readings(text)
        for data in held:
            walk.budget -= len(data)
            walk.content(MemoryWindow(data, walk.found.path), place, depth)
        if known and held and len(walk.found.streams) == streams:
            walk.unseen(place, "it is said to be a pickle, and could not be followed as one")


def readings(text: str) -> list[bytes]:
    """What a text of base64 stands for: to Python, and in the alphabet for addresses where it has letters of that."""
    found = [_decoded(text)]
    if "-" in text or "_" in text:
        found.append(_decoded(text.replace("-", "+").replace("_", "/")))
    return [data for number, data in enumerate(found) if data and data not in found[:number]]


def _decoded(text: str) -> bytes:
    """What Python decodes; where it refuses the end of a text, all before that."""
    data = text.encode("utf-8", "surrogatepass")
    try:
        return binascii.a2b_base64(data)
    except binascii.Error:
        letters = OTHERS.sub(b"", data)
        letters = letters[: len(letters) - (len(letters) % 4 == 1)]
        return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
