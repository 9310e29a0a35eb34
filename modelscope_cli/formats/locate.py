"""From the paths a person typed to the checkpoints they mean.

    one shard, or the index        → its whole set, once, however many of its files were named
    a folder                       → the set to use; other sets of the same model are named, unrelated files all come
    any other file                 → itself
    an address (https:, s3:, hf:)  → not yet

Facts: Hugging Face names shards `model-00001-of-00008.safetensors` beside `model.safetensors.index.json`; llama.cpp names parts
`model-00001-of-00008.gguf` and has no index.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import NamedTuple

from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.window import open_window, source_error
from modelscope_cli.errors import ModelscopeError, SourceError
from modelscope_cli.formats.composites import composite_of, composites, steps
from modelscope_cli.formats.target import Target as Target

INDEX_SUFFIX = ".index.json"
BASELINE_SUFFIX = ".baseline.json"
SHARD_NAME = re.compile(
    r"(?P<stem>.+?)[-_](?P<number>\d{5,6})[-_]of[-_](?P<count>\d{5,6})(?P<rest>[\w.-]*)\.(?P<suffix>safetensors|bin|pt|pth|ckpt|gguf)"
)
MODEL_SUFFIXES = (
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".tar",
    ".pkl",
    ".pickle",
    ".model",
    ".th",
    ".t7",
    ".ptl",
    ".pt2",
    ".jit",
    ".distcp",
    ".gguf",
)
NOT_WEIGHTS = (
    "training_args.bin",
    "optimizer.pt",
    "optimizer.bin",
    "scheduler.pt",
    "scaler.pt",
    "tokenizer.model",
    "spiece.model",
)
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|hf:", re.IGNORECASE)

# Sets that hold the same model, best first: what from_pretrained would take.
SAME_MODEL = (
    r"model\.safetensors(\.index\.json)?",
    r"pytorch_model\.bin(\.index\.json)?",
    r"diffusion_pytorch_model\.safetensors(\.index\.json)?",
    r"diffusion_pytorch_model\.bin(\.index\.json)?",
    r"consolidated\.(safetensors|pth)(\.index\.json)?",
    r"(model|pytorch_model|diffusion_pytorch_model)\.(safetensors\.index\.)?(fp16|bf16|fp32|ema|non_ema)(\.(safetensors|bin|json))?(\.index\.json)?",
)
SLICES = re.compile(
    r"(consolidated\.\d\d|mp_rank_\d\d(_model_states)?)\.(pth|pt|safetensors)"
)  # tensor-parallel parts of one model


def names_of(target: Target) -> list[str]:
    """All paths by which somebody may mean a target: its own, its index, its shards (of an index those that look like shards)."""
    shards = target.shards or ()
    if target.index_path is not None:
        with contextlib.suppress(OSError):
            names = os.listdir(target.folder or ".")
            shards = tuple(os.path.join(target.folder, name) for name in names if SHARD_NAME.fullmatch(name))
    return list(dict.fromkeys(filter(None, (target.path, target.index_path, *shards))))


class Located(NamedTuple):
    found: list[Target]
    problems: list[ModelscopeError]


def locate(paths: list[str], *, only: bool = False) -> Located:
    """Targets in the order of the paths, each once; paths that lead nowhere are problems. `only` takes a shard by itself."""
    found: list[Target] = []
    problems: list[ModelscopeError] = []
    seen: set[str] = set()
    for path in paths:
        try:
            targets = _targets(path, only)
        except ModelscopeError as problem:
            problems.append(problem)
            continue
        for target in targets:
            first = target.shards[0] if target.shards else target.path
            identity = os.path.realpath(first if only else target.index_path or first)
            if identity not in seen:
                seen.add(identity)
                found.append(target)
    return Located(found, problems)


def _targets(path: str, only: bool) -> list[Target]:
    if ADDRESS.match(path) and not os.path.exists(path):
        raise SourceError("remote files: not yet", path=path, hint="download it first and give the local path")
    try:
        os.stat(path)
    except OSError as error:
        raise source_error(path, error) from None
    except ValueError:
        raise SourceError("not a usable path", path=path) from None
    if os.path.isdir(path):
        return _in_folder(path)
    folder, name = os.path.split(path)
    if name.endswith(INDEX_SUFFIX):
        return [_set_of_index(path)]
    composite = composite_of(path, only=only)
    if composite is not None:
        return [composite]
    match = None if only else SHARD_NAME.fullmatch(name)
    return [_with_slices(name, _file(path)) if match is None else _set_of_shard(folder, match, path)]


def _file(path: str) -> Target:
    return Target(path, os.path.dirname(path), None, None)


def _set_of_index(index: str) -> Target:
    return Target(index.removesuffix(INDEX_SUFFIX), os.path.dirname(index), (), index)


def _set_of_shard(folder: str, match: re.Match[str], path: str) -> Target:
    """The set that a shard belongs to: by its index, or by the names beside it."""
    index = _index_for(folder, match)
    if index is not None:
        return _set_of_index(index)
    count = int(match["count"])
    width = len(match["number"])
    start, stop = match.start("number") - len(match.string), match.end("number") - len(match.string)
    names = [
        match.string[:start] + str(number).zfill(width) + match.string[stop:] for number in range(1, min(count, 100_000) + 1)
    ]
    if count == 0 or not 1 <= int(match["number"]) <= count:
        return _file(path)
    return Target(
        os.path.join(folder, match["stem"] + "." + match["suffix"]),
        folder,
        tuple(os.path.join(folder, name) for name in names),
        None,
    )


def _index_for(folder: str, match: re.Match[str]) -> str | None:
    """The index beside a shard, when there is one that could be its own."""
    for rest in dict.fromkeys((match["rest"], "")):
        for name in (
            f"{match['stem']}.{match['suffix']}{rest}{INDEX_SUFFIX}",
            f"{match['stem']}{rest}.{match['suffix']}{INDEX_SUFFIX}",
        ):
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                return path
    return None


def _in_folder(folder: str) -> list[Target]:
    """The checkpoint of a folder: one set of each model, and everything that is not another copy of it."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise source_error(folder, error) from None
    sets = composites(folder)
    taken = {name for one in sets for name in one.names}
    candidates = [(min(one.names), one.target) for one in sets]
    candidates += _candidates(folder, [name for name in names if name not in taken])
    if not candidates:
        inside = [name for name in names if os.path.isdir(os.path.join(folder, name))]
        if found := steps(folder, inside):
            return found
        hint = (
            f"look in its folders: {', '.join(inside[:5])}"
            if inside
            else "expected .safetensors, .gguf, .bin, .pt, .pth or .ckpt files"
        )
        raise SourceError("a folder without a model file", path=folder, hint=hint)
    for position, pattern in enumerate(SAME_MODEL):
        chosen = [target for name, target in candidates if re.fullmatch(pattern, name)]
        if chosen:
            same = [
                (name, target)
                for name, target in candidates
                if SLICES.fullmatch(name) or any(re.fullmatch(other, name) for other in SAME_MODEL[position:])
            ]
            duplicates = [name for name, target in same if target is not chosen[0]]
            others = [
                target
                for name, target in candidates
                if target is not chosen[0] and name not in duplicates and name not in NOT_WEIGHTS
            ]
            aside = [name for name, _ in candidates if name in NOT_WEIGHTS]
            return [chosen[0]._replace(notes=tuple(_folder_notes(folder, duplicates, aside))), *others]
    return [target for _, target in candidates]


def _with_slices(name: str, target: Target) -> Target:
    """A note on a file that holds a slice of every tensor and is taken by itself."""
    if not SLICES.fullmatch(name) or not any(name in one.names for one in composites(target.folder)):
        return target
    message = "a tensor-parallel slice, taken by itself: every such file holds a part of each tensor"
    return target._replace(notes=(*target.notes, Note("slice", "warning", target.path, message)))


def _candidates(folder: str, names: list[str]) -> list[tuple[str, Target]]:
    """(name of the index or file, target) of every set and every single file with a model's suffix."""
    found: list[tuple[str, Target]] = []
    sets: set[str] = set()
    singles: list[str] = []
    for name in names:
        path = os.path.join(folder, name)
        if (
            name.endswith(INDEX_SUFFIX) and name.removesuffix(INDEX_SUFFIX).endswith((".safetensors", ".bin", ".pt", ".pth"))
        ) or (".safetensors.index." in name and not name.endswith(BASELINE_SUFFIX)):
            found.append((name, _set_of_index(path)))
            sets.add(path)
    for name in names:
        path = os.path.join(folder, name)
        if not name.lower().endswith(MODEL_SUFFIXES) or os.path.isdir(path):
            continue
        match = SHARD_NAME.fullmatch(name)
        if match is None:
            singles.append(name)
            continue
        target = _set_of_shard(folder, match, path)
        key = target.index_path or target.path
        if key not in sets:
            sets.add(key)
            found.append((os.path.basename(target.path), target))
    listed = _listed_in_indexes([target.index_path for _, target in found if target.index_path]) if singles else set()
    found += [(name, _file(os.path.join(folder, name))) for name in singles if name not in listed]
    return sorted(found, key=lambda pair: pair[0])


def _listed_in_indexes(indexes: list[str]) -> set[str]:
    """File names that the weight maps mention: shards need not be numbered. An index that cannot be read names nothing here."""
    import json

    listed: set[str] = set()
    for index in indexes:
        try:
            with open_window(index) as window:
                weight_map = json.loads(window.head(DEFAULT_LIMITS.index_bytes)).get("weight_map")
            listed.update(name for name in weight_map.values() if isinstance(name, str))
        except (ModelscopeError, ValueError, AttributeError, RecursionError):
            continue
    return listed


def _folder_notes(folder: str, duplicates: list[str], aside: list[str]) -> list[Note]:
    notes = []
    if duplicates:
        notes.append(
            Note(
                "other-sets",
                "info",
                folder,
                "the folder also holds " + ", ".join(duplicates) + ": probably the same model again",
            )
        )
    if aside:
        notes.append(Note("aside", "info", folder, "not weights of the model: " + ", ".join(aside)))
    return notes
