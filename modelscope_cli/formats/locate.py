"""From the paths a person typed to the checkpoints they mean.

one shard, or the index        → its whole set, once, however many of its files were named
a folder                       → the set to use; other sets of the same model are named, unrelated files all come
any other file                 → itself
an address (https:, s3:, hf:)  → not yet
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from typing import NamedTuple

from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.limits import DEFAULT_LIMITS, Limits
from modelscope_cli.core.window import source_error
from modelscope_cli.errors import ModelscopeError, SourceError
from modelscope_cli.formats.archive_paths import begins_like_archive, leads_inside
from modelscope_cli.formats.composites import composite_of, composites
from modelscope_cli.formats.shard_sets import INDEX_SUFFIX, SHARD_NAME, set_of_index, set_of_shard, single
from modelscope_cli.formats.target import Target as Target

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|hf:", re.IGNORECASE)

SLICES = re.compile(
    r"(consolidated\.\d\d|mp_rank_\d\d(_model_states)?)\.(pth|pt|safetensors)"
)  # tensor-parallel parts of one model


def names_of(target: Target) -> list[str]:
    """All paths by which somebody may mean a target: its own, its index, its shards (of an index those that look like shards)."""
    shards = target.shards or ()
    if target.index_path is not None:
        with contextlib.suppress(OSError, ValueError):
            names = os.listdir(target.folder or ".")
            shards = tuple(os.path.join(target.folder, name) for name in names if SHARD_NAME.fullmatch(name))
    archive = target.archive.file if target.archive is not None else None
    return list(dict.fromkeys(filter(None, (target.path, target.index_path, *shards, archive))))


class Located(NamedTuple):
    found: list[Target]
    problems: list[ModelscopeError]


def locate(
    paths: list[str],
    *,
    only: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    unpacking: Callable[[int, int], None] | None = None,
    lost: list[str] | None = None,
    timed: Callable[[str], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
) -> Located:
    """Targets in the order of the paths, each once; paths that lead nowhere are problems. `only` takes a shard by itself.

    `lost` gets these paths, one a problem.
    `unpacking(done, whole)` is told how many bytes of an archive have been unpacked. Each path is looked at inside of `timed(path)`.
    """
    found: list[Target] = []
    problems: list[ModelscopeError] = []
    seen: set[str] = set()
    for path in paths:
        try:
            with timed(path):
                targets = _targets(path, only, limits, unpacking)
        except ModelscopeError as problem:
            problems.append(problem)
            if lost is not None:
                lost.append(path)
            continue
        for target in targets:
            first = target.shards[0] if target.shards else target.path
            identity = first if only else target.index_path or first
            if not leads_inside(identity):  # names in archives are no paths of the system, and may hold what it refuses
                identity = os.path.realpath(identity)
            if identity not in seen:
                seen.add(identity)
                found.append(target)
    return Located(found, problems)


def _targets(path: str, only: bool, limits: Limits, unpacking: Callable[[int, int], None] | None) -> list[Target]:
    if leads_inside(path):
        from modelscope_cli.formats.archive_models import named

        return named(path, limits, unpacking, only=only)
    if ADDRESS.match(path) and not os.path.exists(path):
        raise SourceError("remote files: not yet", path=path, hint="download it first and give the local path")
    try:
        os.stat(path)
    except OSError as error:
        raise source_error(path, error) from None
    except ValueError:
        raise SourceError("not a usable path", path=path) from None
    if os.path.isdir(path):
        from modelscope_cli.formats.folder import in_folder

        return in_folder(path, limits)
    folder, name = os.path.split(path)
    if name.endswith(INDEX_SUFFIX):
        return [set_of_index(path)]
    composite = composite_of(path, only=only)
    if composite is not None:
        return [composite]
    match = None if only else SHARD_NAME.fullmatch(name)
    if match is None and begins_like_archive(path):
        from modelscope_cli.formats.archive_models import inside

        models = inside(path, limits, unpacking)
        if models is not None:
            return models
    return [_with_slices(name, single(path)) if match is None else set_of_shard(folder, match, path)]


def _with_slices(name: str, target: Target) -> Target:
    """A note on a file that holds a slice of every tensor and is taken by itself."""
    if not SLICES.fullmatch(name) or not any(name in one.names for one in composites(target.folder)):
        return target
    message = "a tensor-parallel slice, taken by itself: every such file holds a part of each tensor"
    return target._replace(notes=(*target.notes, Note("slice", "warning", target.path, message)))
