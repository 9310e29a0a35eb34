"""A folder as a whole: which checkpoints in it are meant, and what everything else is.

    models--org--name/ with snapshots/ and refs/      the cache of Hugging Face: the snapshot that refs/main names
    model_index.json                                  diffusers: every component in its order
    modules.json                                      sentence-transformers: every module that has weights
    weights in the folder itself                      those (formats/folder_sets.py): what is in subfolders is said, not read
    subfolders that differ by a number                steps of a training: the best, where trainer_state.json tells, or the last
    exp1/, exp2/, version_0/, version_1/              runs, each with a model of its own: the last
    runs/, wandb/, mlruns/                            logs of a training, in which models are looked for where nothing else has one
    other subfolders with models                      all of them

Nothing is opened but these small JSON files, `.metadata`, and the heads of files (formats/folder_heads.py). Where no file is a
model, archives are looked into, and then models of other programs are named (formats/foreign_folder.py).
"""

from __future__ import annotations

import os
from collections import Counter

from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.folder import WEIGHTS
from modelscope_cli.core.limits import DEFAULT_LIMITS, Limits
from modelscope_cli.errors import ModelscopeError, SourceError, UnsupportedFeatureError
from modelscope_cli.formats.archive_paths import begins_like_archive
from modelscope_cli.formats.folder_contents import describe
from modelscope_cli.formats.folder_heads import by_content, path_in, sift
from modelscope_cli.formats.folder_names import MODEL_SUFFIXES, Said, by_name, may_hold_a_model
from modelscope_cli.formats.folder_search import LEVELS as LEVELS
from modelscope_cli.formats.folder_search import STATE
from modelscope_cli.formats.folder_search import Search as Search
from modelscope_cli.formats.folder_sets import OTHER_SETS, PRETRAINED
from modelscope_cli.formats.folder_walk import Listing, walk
from modelscope_cli.formats.target import Target

MOST_MODELS = 64  # of one path: more is data, or asks to be named file by file
FEW = 5  # that are named
FEW_STRANGE = 3  # files that are no models, of which their readers tell what they are


def in_folder(path: str, limits: Limits = DEFAULT_LIMITS) -> list[Target]:
    """The checkpoints of a folder, each with the folder's contents. Raises SourceError where there is none."""
    listing = walk(path, limits)
    search = Search(listing)
    choice = search.choose("", LEVELS)
    if not choice.targets:
        choice = search.only_state()._replace(said=choice.said)
    sifted = sift(listing, choice, limits)
    targets = [found for target in sifted.models for found in opened(target, limits)]
    if not targets:
        found = by_content(listing, LEVELS)
        choice.said.update(found.said)
        targets = found.targets
    if not targets:
        from modelscope_cli.formats.foreign_folder import foreign_folder

        packed, problem = _in_archives(listing, limits)
        if packed:
            return packed
        told = foreign_folder(path)
        named = sifted.pickles or (sifted.others if len(sifted.others) <= FEW_STRANGE else [])
        if told is not None or problem is not None or not named:
            raise without_model(listing, told, problem, sifted.others)
        choice.said.update((path_in(listing, target), Said(WEIGHTS, "", True)) for target in named)
        targets = named
    if len(targets) > MOST_MODELS:
        raise _too_many(path, targets)
    pretrained = any(said.used and said.why == PRETRAINED for said in choice.said.values())
    one_model = pretrained or len(targets) == 1
    contents = describe(listing, choice.said, search.files, search.aliases, one_model=one_model)
    targets = _noted(listing, targets)
    return [target._replace(in_folder=contents) for target in targets]


def opened(target: Target, limits: Limits) -> list[Target]:
    """The models in a file that is called as a model and is an archive of some; of any other, itself."""
    if target.shards is not None or target.index_path or target.reader or not begins_like_archive(target.path):
        return [target]
    from modelscope_cli.formats.archive_models import inside

    try:
        return inside(target.path, limits) or [target]
    except ModelscopeError:
        return [target]  # its reader tells


def _in_archives(listing: Listing, limits: Limits) -> tuple[list[Target], ModelscopeError | None]:
    """The models in the archives of a folder that holds no others: in the folder itself, else in those below it, the nearest first."""
    from modelscope_cli.formats.archive_models import SUFFIXES, in_archives

    paths = [file.path for file in listing.files if file.path not in listing.hidden and file.path.lower().endswith(SUFFIXES)]
    problem = None
    for names in (
        [path for path in paths if "/" not in path],
        sorted([path for path in paths if "/" in path], key=lambda path: (path.count("/"), path)),
    ):
        try:
            found = in_archives(listing.root, names, limits)
        except ModelscopeError as caught:
            problem = problem or caught
            continue
        if found:
            return found, None
    return [], problem


def _too_many(path: str, targets: list[Target]) -> SourceError:
    homes = list(dict.fromkeys(os.path.relpath(target.path, path).split(os.sep)[0] for target in targets))
    which = "folders" if all(os.path.isdir(os.path.join(path, home)) for home in homes[:FEW]) else "files"
    return SourceError(
        f"a folder of {len(targets):,} models",
        path=path,
        hint=f"name one of its {which}: {', '.join(homes[:FEW])}" + (" …" if len(homes) > FEW else ""),
    )


def without_model(
    listing: Listing, told: tuple[str, str] | None, problem: ModelscopeError | None, others: list[Target]
) -> ModelscopeError:
    """What to say of a folder in which there is nothing to read.

    `told` is what its content tells, `problem` why an archive in it has none; `others` are files called as models that are none.
    """
    root = listing.root
    if told is not None:
        return UnsupportedFeatureError(
            f"this is {told[0]}", path=root, hint="; ".join(filter(None, (told[1], *_unseen(listing))))
        )
    if problem is not None:
        return problem
    if others:
        suffixes = Counter(os.path.splitext(target.path)[1].lower() for target in others)
        called = f"called {suffixes.most_common(1)[0][0]}" + (" and the like" if len(suffixes) > 1 else "")
        return UnsupportedFeatureError(
            f"a folder with {len(others):,} files {called}, none a model that is read",
            path=root,
            hint="; ".join(("name a file to see what it begins with", *_unseen(listing))),
        )
    states = [file.path for file in listing.files if file.path not in listing.hidden and is_state(file.path)]
    inside = listing.inside("")
    if states:
        hint = f"it holds the state of a training without its weights: {', '.join(states[:FEW])}"
    elif inside:
        hint = f"look in its folders: {', '.join(inside[:FEW])}"
    else:
        hint = "expected .safetensors, .gguf, .bin, .pt, .pth or .ckpt files"
    return SourceError("a folder without a model file", path=root, hint="; ".join((hint, *_unseen(listing))))


def is_state(path: str) -> bool:
    """Whether a file is the state of a training without its weights, by its name."""
    name = os.path.basename(path)
    said = by_name(name)
    return said is not None and said.what in STATE and name.lower().endswith(MODEL_SUFFIXES)


def _unseen(listing: Listing) -> list[str]:
    """What was not looked at, in words."""
    said = []
    deep = [
        file.path
        for file in listing.files
        if file.path.count("/") > LEVELS and file.path not in listing.hidden and may_hold_a_model(os.path.basename(file.path))
    ]
    if deep:
        said.append(f"{min(deep)} lies more than {LEVELS} folders deep: name a folder nearer to it")
    if listing.unreadable:
        folder, why = next(iter(listing.unreadable.items()))
        more = f", and {len(listing.unreadable) - 1:,} more" if len(listing.unreadable) > 1 else ""
        said.append(f"{folder}/ cannot be listed: {why}{more}")
    return [*said, listing.cut] if listing.cut else said


def _noted(listing: Listing, targets: list[Target]) -> list[Target]:
    """With a note on what was not looked at; and of several models with others beside them one note, which is on the last."""
    notes = [
        Note("folder-unreadable", "warning", listing.at(folder), f"the folder cannot be listed: {why}")
        for folder, why in list(listing.unreadable.items())[:8]
    ]
    if listing.cut:
        notes.append(Note("folder-cut", "warning", listing.root, listing.cut))
    first, *rest = targets
    targets = [first._replace(notes=(*first.notes, *notes)), *rest]
    with_others = [target for target in targets if any(note.code == OTHER_SETS for note in target.notes)]
    if len(with_others) > 1:
        targets = [target._replace(notes=tuple(note for note in target.notes if note.code != OTHER_SETS)) for target in targets]
        said = f"beside {len(with_others):,} of its models lie others that are probably the same again: see the table"
        targets[-1] = targets[-1]._replace(notes=(*targets[-1].notes, Note(OTHER_SETS, "info", listing.root, said)))
    return targets
