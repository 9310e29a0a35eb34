"""What files are by their content, where only their names have spoken so far, or say nothing.

    begins as a model of ours              a model: if it is damaged, that is an error
    a failed download (pointer, page …)    an error too: a model belongs there
    a model of another program             said, not read
    a pickle without a tensor in it        said: a scaler, a vocabulary, statistics
    anything else, called .bin or .pkl …   said: token files, data; these suffixes mean nothing
    anything else, called .pt or .gguf …   an error: it was meant to be a model

Only files that stand by themselves are looked at. Of sets, and of names that one program alone gives (model.safetensors), the
content is for their readers.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from modelscope_cli.core.folder import IMAGES, MODEL, OTHER, WEIGHTS
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.window import open_window
from modelscope_cli.errors import ModelscopeError, UnsupportedFeatureError
from modelscope_cli.formats.folder_names import NO_MODELS, Said, by_name, may_hold_a_model
from modelscope_cli.formats.folder_sets import PRETRAINED, Choice
from modelscope_cli.formats.folder_walk import Listing
from modelscope_cli.formats.known_kinds import MODELS
from modelscope_cli.formats.registry import sniff
from modelscope_cli.formats.shard_sets import single
from modelscope_cli.formats.target import Target

HEAD = 1 << 12
MOST_HEADS = 20_000  # files that are opened
MOST_RECOGNISED = 200  # of them, whose kind is looked for
LARGEST_PICKLE = 4 << 20  # bytes of one that is read to see whether it holds tensors
MOST_PICKLES = 20
TELLING = ("safetensors", "gguf", "torch-zip")  # formats that are known by content without a name
STACKED = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how a file of torch.save before 1.6 begins
ANYTHING = (".bin", ".pkl", ".pickle", ".model", ".tar", ".th", ".t7", ".ckpt")  # suffixes that other files have too
NOT_A_MODEL = "not a model that is read"
NOT_OPENED = "not looked into: there are too many"
WITHOUT_TENSORS = "a pickle without tensors"
BY_CONTENT = "a model by its content"
FAILED = ("lfs-pointer", "html", "hub-error", "storage-error")  # what lies there instead of a model


class Sifted(NamedTuple):
    """Targets that are models, pickles without tensors, and what is neither."""

    models: list[Target]
    pickles: list[Target]
    others: list[Target]


def sift(listing: Listing, choice: Choice, limits: Limits) -> Sifted:
    """Divides what was chosen by name. What is no model is said in `choice`, its targets stay as they are."""
    sifted = Sifted([], [], [])
    looked_into = opened = pickles = 0
    for target in choice.targets:
        path = path_in(listing, target)
        known = choice.said.get(path)
        if target.shards is not None or target.index_path or target.reader or (known and known.why == PRETRAINED):
            sifted.models.append(target)
            continue
        opened += 1
        said = None
        if opened > MOST_HEADS:
            said = Said(OTHER, NOT_OPENED) if path.lower().endswith(ANYTHING) else None
        else:
            row, blank = begin(target.path)
            if row == "torch-legacy" and path.lower().endswith((".pkl", ".pickle")) and pickles < MOST_PICKLES:
                pickles += 1
                said = of_pickle(target.path, limits)
                if said is not None and said.why == WITHOUT_TENSORS:
                    choice.said[path] = said
                    sifted.pickles.append(target)
                    continue
            elif row is None and not blank:
                looked_into += 1
                said = foreign(target.path, look=looked_into <= MOST_RECOGNISED)
        if said is None:
            sifted.models.append(target)
        else:
            choice.said[path] = said
            sifted.others.append(target)
    return sifted


def path_in(listing: Listing, target: Target) -> str:
    return os.path.relpath(target.path, listing.root).replace(os.sep, "/")


def begin(path: str) -> tuple[str | None, bool]:
    """Which reader takes a file by its first bytes, and whether these are zeros, or cannot be had."""
    try:
        with open_window(path) as window:
            head = window.head(HEAD)
    except ModelscopeError:
        return None, True
    row = sniff(head, path)
    return (row.name if row is not None else None), not any(head)


def foreign(path: str, *, look: bool) -> Said | None:
    """What a file is that begins like no model of ours; None where that is an error. `look` for its kind."""
    found = None
    if look:
        from modelscope_cli.formats.known import recognise

        try:
            with open_window(path) as window:
                found = recognise(window)
        except ModelscopeError:
            return None
    if found is None:
        return Said(OTHER, NOT_A_MODEL) if path.lower().endswith(ANYTHING) else None
    if found.kind.name in FAILED:
        return None
    if found.kind.group == MODELS:
        return Said(MODEL, found.kind.title)
    if not path.lower().endswith(ANYTHING):
        return None
    return Said(IMAGES if found.kind.title.endswith(("image", "picture")) else OTHER, found.kind.title)


def of_pickle(path: str, limits: Limits) -> Said | None:
    """What a pickle is that holds no tensor; None for one that does, is large, or cannot be read."""
    from modelscope_cli.formats.registry import read_file

    try:
        if os.path.getsize(path) > LARGEST_PICKLE:
            return None
        return None if len(read_file(path, limits).tensors) else Said(OTHER, WITHOUT_TENSORS)
    except UnsupportedFeatureError as problem:  # of joblib and the like
        return Said(MODEL, problem.message.removeprefix("this is ").removesuffix(", not read yet"))
    except (ModelscopeError, OSError, RecursionError):
        return None


def by_content(listing: Listing, levels: int) -> Choice:
    """The files that are models by their first bytes alone, of those whose names say nothing: blobs of a cache, downloads."""
    choice = Choice([], {})
    opened = 0
    for file in listing.files:
        folder, _, name = file.path.rpartition("/")
        if file.path in listing.hidden or by_name(name) is not None or may_hold_a_model(name):
            continue
        if file.path.count("/") > levels or any(NO_MODELS.fullmatch(above.lower()) for above in folder.split("/")):
            continue
        opened += 1
        if opened > MOST_HEADS:
            break
        if begins_as_model(listing.at(file.path)):
            choice.targets.append(single(listing.at(file.path)))
            choice.said[file.path] = Said(WEIGHTS, BY_CONTENT, True)
    return choice


def begins_as_model(path: str) -> bool:
    """Whether the first bytes alone are proof enough. A zip without a record of torch is none."""
    from modelscope_cli.formats.archive_paths import may_be_archive

    try:
        with open_window(path) as window:
            head = window.head(HEAD)
    except ModelscopeError:
        return False
    row = sniff(head, "")
    return (row is not None and row.name in TELLING and not may_be_archive(head)) or head.startswith(STACKED)
