"""What is to be said of the chat template of a GGUF file where nothing is scanned: the same patterns, held against its metadata."""

from __future__ import annotations

from typing import Any

from modelscope_cli.core.checkpoint import Checkpoint, Note
from modelscope_cli.core.limits import Limits

KEY = "chat_template"


class Signs:
    """Takes what a walk through a file would be told, and keeps the signs."""

    def __init__(self, path: str, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self.notes: list[Note] = []
        self.found = self
        self.texts: list[tuple[str, str]] = []

    def sign(self, code: str, where: str, message: str, offset: int | None = None) -> None:
        self.notes.append(Note(code, "warning", where, message))

    def unseen(self, *_: object, **__: object) -> None:
        """Of no matter: the template is in the metadata, whole or not."""


def template_notes(checkpoint: Checkpoint, limits: Limits) -> list[Note]:
    """A note on each chat template that reaches out of a template engine. Costs nothing where there is no template."""
    if checkpoint.format != "gguf" or not any(KEY in key for key in checkpoint.metadata):
        return []
    from modelscope_cli.formats.scan_gguf import templates_of

    signs: Any = Signs(checkpoint.path, limits)
    templates_of(checkpoint, signs)
    notes: list[Note] = signs.notes
    return notes
