"""A GGUF model in several files, as llama-gguf-split writes it: NAME-00001-of-00003.gguf, each a whole GGUF file.

    split.no             number of the part, from 0
    split.count          how many parts there are
    split.tensors.count  tensors of all parts together

The first part has the metadata of the model, the others hardly more than these keys. There is no index; what the parts say
of themselves is held against their names and against each other.
"""

from __future__ import annotations

import os
from typing import Any

from modelscope_cli.core.checkpoint import Note
from modelscope_cli.formats.shard_sets import SHARD_NAME

NUMBER, COUNT, TENSORS = "split.no", "split.count", "split.tensors.count"


class Split:
    """Collects what the parts of a set say of it."""

    def __init__(self) -> None:
        self.said: dict[str, dict[str, Any]] = {}  # path of a part → its split.* values

    def add(self, path: str, metadata: dict[str, Any]) -> None:
        self.said[path] = {key: metadata.get(key) for key in (NUMBER, COUNT, TENSORS)}

    def check(self, paths: list[str], tensors: int) -> list[Note]:
        """Disagreements with the names of the parts, and with the number of tensors where no part is missing."""
        notes = []
        for position, path in enumerate(paths):
            said = self.said.get(path)
            if said is None:
                continue
            where = os.path.basename(path)
            if said[NUMBER] is None and said[COUNT] is None:
                notes.append(Note("split-unsaid", "warning", where, "named as a part of a set, but it says nothing of one"))
                continue
            if said[NUMBER] != position:
                told = f"its split.no is {said[NUMBER]!r:.40}; by its name it is {position}, counted from 0"
                notes.append(Note("split-number", "error", where, told))
            if said[COUNT] != len(paths):
                told = f"its split.count is {said[COUNT]!r:.40}; by its name there are {len(paths):,} parts"
                notes.append(Note("split-count", "error", where, told))
            if said[TENSORS] not in (None, tensors) and len(self.said) == len(paths):
                told = f"its split.tensors.count is {said[TENSORS]!r:.40}; the parts hold {tensors:,} tensors"
                notes.append(Note("split-tensors", "error", where, told))
        return notes


def alone(path: str, metadata: dict[str, Any]) -> list[Note]:
    """A part of a set under a name by which the others cannot be found."""
    number, count = metadata.get(NUMBER), metadata.get(COUNT)
    if type(count) is not int or count < 2 or type(number) is not int or SHARD_NAME.fullmatch(os.path.basename(path)):
        return []
    told = f"part {number + 1:,} of {count:,} of a split model; under this name the other parts cannot be found"
    return [Note("split-alone", "warning", path, told)]
