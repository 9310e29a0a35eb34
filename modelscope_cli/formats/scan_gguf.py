"""The chat templates of a GGUF file, wherever it lies: nothing else in one is rendered or run.

The reader keeps the first 64 KiB of a text and a limited number of values, which is enough to show and too little to judge. Here
only templates are read, and all of each.
"""

from __future__ import annotations

import re
from struct import Struct
from typing import TYPE_CHECKING, Any

from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.window import Window
from modelscope_cli.formats.gguf import read_counts
from modelscope_cli.formats.gguf_types import NUMBERS, STRING
from modelscope_cli.formats.gguf_values import Cursor, read_value
from modelscope_cli.formats.scan_templates import template

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

TEMPLATE = "chat_template"
NAMES = "tokenizer.chat_templates"  # the list of the names that the templates have
CUT = re.compile(r"… \([\d,]+ bytes")


def scan_gguf(walk: Walk, window: Window, where: str) -> None:
    """Judge the templates of a GGUF file. Raises a ModelscopeError where its keys cannot be followed."""
    counts = read_counts(window, walk.limits)
    cursor = Cursor(window, walk.limits, counts.order, counts.size, wide=counts.version > 1)
    layouts = {number: (Struct(cursor.order + letter), name) for number, (letter, name) in NUMBERS.items()}
    for number in range(counts.pairs):
        key = cursor.text(f"key {number + 1:,} of {counts.pairs:,}")
        (kind,) = cursor.unpack(cursor.number, "type of a value")
        if TEMPLATE not in key or key == NAMES:
            read_value(cursor, kind, key, layouts, keep=False)
            continue
        place = f"{where}/{key}" if where else key
        if kind != STRING:
            walk.unseen(place, "a value where a chat template is expected, and no text")
            read_value(cursor, kind, key, layouts, keep=False)
            continue
        (length,) = cursor.unpack(cursor.wide, f"length of the text of {key[:80]!r}")
        start = cursor.position
        cursor.skip(length, f"the text of {key[:80]!r}")
        template(walk, place, window.read(start, min(length, walk.limits.searched_bytes)).decode("utf-8", "backslashreplace"))
        if length > walk.limits.searched_bytes:
            walk.unseen(place, f"a chat template of {length:,} bytes (--limit searched_bytes=N)")


def kept_templates(checkpoint: Checkpoint) -> list[tuple[str, Any]]:
    """(key, value) of the templates among what the reader kept."""
    found: list[tuple[str, Any]] = []
    waiting: list[tuple[str, Any]] = list(checkpoint.metadata.items())
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{key}.{inner}", each) for inner, each in value.items()]
        elif TEMPLATE in key and key != NAMES:
            found.append((key, value))
    return found


def kept_whole(checkpoint: Checkpoint) -> bool:
    """Whether the reader kept every template to its end."""
    if any(note.code == "metadata-cut" for note in checkpoint.notes):
        return False
    return all(isinstance(value, str) and not CUT.search(value[-80:]) for _, value in kept_templates(checkpoint))


def templates_of(checkpoint: Checkpoint, walk: Walk) -> None:
    """Judge the templates that the reader kept."""
    if checkpoint.format == "gguf":
        for key, value in kept_templates(checkpoint):
            if isinstance(value, str):
                template(walk, key, value)
