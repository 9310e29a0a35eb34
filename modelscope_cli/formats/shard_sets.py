"""The set of shards that a file belongs to, by its name and its neighbours.

Facts: Hugging Face names shards `model-00001-of-00008.safetensors` beside `model.safetensors.index.json`; llama.cpp names parts
`model-00001-of-00008.gguf` and has no index.
"""

from __future__ import annotations

import os
import re

from modelscope_cli.formats.archive_paths import is_file
from modelscope_cli.formats.target import Target

INDEX_SUFFIX = ".index.json"
SHARD_NAME = re.compile(
    r"(?P<stem>.+?)[-_](?P<number>\d{5,6})[-_]of[-_](?P<count>\d{5,6})(?P<rest>[\w.-]*)\.(?P<suffix>safetensors|bin|pt|pth|ckpt|gguf)"
)


def single(path: str) -> Target:
    """A file by itself."""
    return Target(path, os.path.dirname(path), None, None)


def set_of_index(index: str) -> Target:
    """What an index lists."""
    return Target(index.removesuffix(INDEX_SUFFIX), os.path.dirname(index), (), index)


def set_of_shard(folder: str, match: re.Match[str], path: str) -> Target:
    """The set that a shard belongs to: by its index, or by the names beside it."""
    index = index_for(folder, match)
    if index is not None:
        return set_of_index(index)
    count = int(match["count"])
    width = len(match["number"])
    start, stop = match.start("number") - len(match.string), match.end("number") - len(match.string)
    names = [
        match.string[:start] + str(number).zfill(width) + match.string[stop:] for number in range(1, min(count, 100_000) + 1)
    ]
    if count == 0 or not 1 <= int(match["number"]) <= count:
        return single(path)
    return Target(
        os.path.join(folder, match["stem"] + "." + match["suffix"]),
        folder,
        tuple(os.path.join(folder, name) for name in names),
        None,
    )


def index_for(folder: str, match: re.Match[str]) -> str | None:
    """The index beside a shard, when there is one that could be its own."""
    for rest in dict.fromkeys((match["rest"], "")):
        for name in (
            f"{match['stem']}.{match['suffix']}{rest}{INDEX_SUFFIX}",
            f"{match['stem']}{rest}.{match['suffix']}{INDEX_SUFFIX}",
        ):
            path = os.path.join(folder, name)
            if is_file(path):
                return path
    return None
