"""A folder as a whole: which checkpoints in it are meant, and what everything else is.

    models--org--name/ with snapshots/ and refs/      the cache of Hugging Face: the snapshot that refs/main names
    model_index.json                                  diffusers: every component in its order
    modules.json                                      sentence-transformers: every module that has weights
    weights in the folder itself                      those (formats/folder_sets.py): what is in subfolders is said, not read
    subfolders that differ by a number                steps of a training: the best, where trainer_state.json tells, or the last
    other subfolders with models                      all of them

Nothing is opened but these small JSON files, the heads of files whose name does not tell, and `.metadata`.
"""

from __future__ import annotations

import os

from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.folder import SAME
from modelscope_cli.core.limits import DEFAULT_LIMITS, Limits
from modelscope_cli.errors import ModelscopeError, SourceError, UnsupportedFeatureError
from modelscope_cli.formats.folder_contents import describe
from modelscope_cli.formats.folder_names import by_name
from modelscope_cli.formats.folder_search import LEVELS as LEVELS
from modelscope_cli.formats.folder_search import Search as Search
from modelscope_cli.formats.folder_sets import PRETRAINED
from modelscope_cli.formats.folder_walk import Listing, walk
from modelscope_cli.formats.target import Target

MOST_MODELS = 20  # shown of a folder of models
MOST_FOREIGN = 4  # files that are looked into for being another program's


def in_folder(path: str, limits: Limits = DEFAULT_LIMITS) -> list[Target]:
    """The checkpoints of a folder, each with the folder's contents. Raises SourceError where there is none."""
    listing = walk(path, limits)
    search = Search(listing)
    choice = search.choose("", LEVELS)
    if not choice.targets:
        choice = search.only_state()
    if not choice.targets:
        from modelscope_cli.formats.archive_models import in_archives

        if packed := in_archives(path, listing.names[""], limits):
            return packed
        raise without_model(listing)
    if foreign_throughout(path, choice.targets):
        raise without_model(listing)
    if len(choice.targets) > MOST_MODELS and search.searched:
        homes = list(dict.fromkeys(os.path.relpath(target.folder, path).split(os.sep)[0] for target in choice.targets))
        raise SourceError(
            f"a folder of {len(choice.targets):,} models",
            path=path,
            hint=f"name one of its folders: {', '.join(homes[:5])}" + (" …" if len(homes) > 5 else ""),
        )
    pretrained = any(said.used and said.why == PRETRAINED for said in choice.said.values())
    one_model = pretrained or len(choice.targets) == 1
    contents = describe(listing, choice.said, search.files, search.aliases, one_model=one_model)
    noted = _notes(listing, choice.targets[0])
    return [target._replace(in_folder=contents) for target in (noted, *choice.targets[1:])]


def foreign_throughout(path: str, targets: list[Target]) -> bool:
    """Whether a few files that are called as weights are none that is read, as in a package of Core ML or TensorFlow.js."""
    from modelscope_cli.core.window import open_window
    from modelscope_cli.formats.foreign_folder import foreign_folder
    from modelscope_cli.formats.known import recognise
    from modelscope_cli.formats.known_kinds import MODELS
    from modelscope_cli.formats.registry import HEAD, sniff

    if len(targets) > MOST_FOREIGN or any(target.shards or target.index_path or target.reader for target in targets):
        return False
    unknown = False
    for target in targets:
        try:
            with open_window(target.path) as window:
                if sniff(window.head(HEAD), target.path):
                    return False
                found = recognise(window)
        except ModelscopeError:
            return False
        unknown = unknown or found is None
        if found is not None and found.kind.group != MODELS:
            return False
    return not unknown or foreign_folder(path) is not None


def without_model(listing: Listing) -> ModelscopeError:
    """What to say of a folder in which there is nothing to read: models of other programs in it are named."""
    from modelscope_cli.formats.foreign_folder import foreign_folder

    root = listing.root
    foreign = foreign_folder(root)
    if foreign is not None:
        return UnsupportedFeatureError(f"this is {foreign[0]}", path=root, hint=foreign[1])
    exports: dict[str, str] = {}  # a file of each form
    for file in listing.files:
        said = by_name(os.path.basename(file.path))
        if said is not None and said.what == SAME and file.path not in listing.hidden:
            exports.setdefault(said.why, file.path)
    if exports:
        named = "; ".join(f"{path} ({why})" for why, path in list(exports.items())[:4])
        return UnsupportedFeatureError(
            "a folder without a model file that is read", path=root, hint=f"it holds models of other programs: {named}"
        )
    inside = listing.inside("")
    hint = (
        f"look in its folders: {', '.join(inside[:5])}"
        if inside
        else "expected .safetensors, .gguf, .bin, .pt, .pth or .ckpt files"
    )
    hint += f"; {listing.cut}" if listing.cut else ""
    return SourceError("a folder without a model file", path=root, hint=hint)


def _notes(listing: Listing, target: Target) -> Target:
    """What was not looked at."""
    notes = [
        Note("folder-unreadable", "warning", listing.at(folder), f"the folder cannot be listed: {why}")
        for folder, why in list(listing.unreadable.items())[:8]
    ]
    if listing.cut:
        notes.append(Note("folder-cut", "warning", listing.root, listing.cut))
    return target._replace(notes=(*target.notes, *notes)) if notes else target
