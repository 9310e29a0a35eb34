"""Damage: raised at once, or kept as notes when reading leniently."""

from __future__ import annotations

from modelscope_cli.core.checkpoint import Note
from modelscope_cli.errors import CorruptFileError

LENIENT = "--lenient shows what can still be read"
MOST_NOTES = 100  # a file of nothing but damage need not be described in full


class Problems:
    """Damage that a reader can go on behind. Strict reading raises CorruptFileError at the first."""

    def __init__(self, path: str, lenient: bool):
        self.path = path
        self.lenient = lenient
        self.notes: list[Note] = []

    def report(self, what: str, offset: int | None = None, hint: str = "") -> None:
        """Raise, or keep a note. `hint` is what to do but reading leniently."""
        if not self.lenient:
            hint = f"{hint}; {LENIENT}" if hint else LENIENT
            raise CorruptFileError(what, path=self.path, offset=offset, hint=hint)
        if len(self.notes) < MOST_NOTES:
            self.notes.append(Note("damaged", "error", self.path, what))
