"""Text in lines of so many cells: cut with an ellipsis, or wrapped where its words, or the parts of a long one, meet."""

from __future__ import annotations

import re

from rich.cells import cell_len as cells_of_any

PLACE = re.compile(r"\bbyte \d[\d,]*|-f json\b")  # words that stay in one line
GLUE = "\0"  # between them; texts have no controls any more


def cell_len(text: str) -> int:
    """Cells that a terminal needs for a harmless text (see plain.visible): one a character, two for a wide one."""
    return len(text) if text.isascii() else cells_of_any(text)


def cut(text: str, width: int, ascii_only: bool, *, middle: bool = False) -> str:
    """The text in at most `width` cells: the end gives way, or the `middle`, so that both ends of a path can be read."""
    if cell_len(text) <= width:
        return text
    dots = "..." if ascii_only else "…"
    room = max(0, width - len(dots))
    head = room // 2 if middle else 0
    start, end = "", ""
    for character in text:
        if cell_len(start + character) > room - head:
            break
        start += character
    for character in reversed(text):
        if cell_len(character + end) > head:
            break
        end = character + end
    return start + dots + end


def fitted(text: str, width: int) -> list[str]:
    """Lines of a fact. Spaces stay as they are where one line is enough; letters that take two cells count as such."""
    if cell_len(text) <= width:
        return [text]
    return wrapped(text, width if cell_len(text) == len(text) else width // 2)


def wrapped(text: str, width: int, least: int = 20) -> list[str]:
    """Lines of a sentence. A word that is too long for a line, as paths and patterns are, breaks where its parts meet."""
    room = max(least, width)
    text = PLACE.sub(lambda place: place[0] if len(place[0]) > room else place[0].replace(" ", GLUE), text)
    return [line.replace(GLUE, " ") for line in _lines(text, room)]


def _lines(text: str, room: int) -> list[str]:
    """Lines of at most `room` characters."""
    import textwrap

    if all(len(word) <= room for word in text.split()):
        return textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    lines = [""]
    for word in text.split():
        blank = " " if lines[-1] else ""
        for part in [word] if len(word) <= room else _parts(word, room):
            if len(lines[-1]) + len(blank) + len(part) <= room:
                lines[-1] += blank + part
            else:
                lines[-1:] = [line for line in (lines[-1], part) if line]
            blank = ""
    return lines


def _parts(word: str, room: int) -> list[str]:
    """A long word, cut behind each / _ . - and before capitals; what is still too long anywhere."""
    parts = re.split(r"(?<=[/_.-])(?=[^/_.-])|(?<=[a-z])(?=[A-Z])", word)
    return [part[start : start + room] for part in parts for start in range(0, len(part), room)]
