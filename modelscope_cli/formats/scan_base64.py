"""Pickles in JSON, as base64: what stable-baselines3 keeps in the member `data` of a model, and unpickles when it loads.

    {"policy_class": {":type:": "<class 'abc.ABCMeta'>", ":serialized:": "gASVMAAAAA…", …}, …}

Whatever stands under that key is unpickled. Any other text that begins as a base64 of a pickle does (PROTO 2 to 5) is looked at as well:
few other texts do, and what is no pickle is not taken for one. Python decodes what is no letter of base64 by leaving it out.
Facts: stable_baselines3/common/save_util.py (json_to_data); Lib/base64.py (b64decode).
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from modelscope_cli.core.window import MemoryWindow

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

SERIALIZED = ":serialized:"
OTHERS = re.compile(r"[^A-Za-z0-9+/=]+")
BEGINS = re.compile(r"\s*gA[I-X]")
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
        data = decoded(text)
        walk.budget -= len(data)
        place = f"{where}/{key or 'text'} {MARK}" if where else f"{key or 'text'} {MARK}"
        streams = len(walk.found.streams)
        walk.content(MemoryWindow(data, walk.found.path), place, depth)
        if known and data and len(walk.found.streams) == streams:
            walk.unseen(place, "it is said to be a pickle, and could not be followed as one")


def decoded(text: str) -> bytes:
    """What a text of base64 stands for, as far as it can be told."""
    if "-" in text or "_" in text:
        text = text.replace("-", "+").replace("_", "/")  # of the alphabet for addresses
    letters = OTHERS.sub("", text).partition("=")[0]
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    return base64.b64decode(letters + "=" * (-len(letters) % 4))
