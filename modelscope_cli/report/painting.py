"""What an engine hands over: a picture, or a folder of files."""

from __future__ import annotations

from typing import NamedTuple


class Painting(NamedTuple):
    """A picture, what painted it, and what its user should know about it."""

    data: bytes
    painter: str
    warnings: tuple[str, ...] = ()


class LogFolder(NamedTuple):
    """Files to put into a folder, by their names there. `view` is the command that shows them; `{folder}` is the one above."""

    files: dict[str, bytes]
    painter: str
    view: str
    warnings: tuple[str, ...] = ()
