"""Which checkpoints of a folder are meant: the layouts that programs leave, looked for from the folder down.

The table of layouts stands in folder.py; sets that lie side by side in one folder are for folder_sets.py.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.folder import OPTIMIZER, OTHER, RANDOM, RECORD, REVISION, RUN, SAME, SCALER, SCHEDULER, STEP, WEIGHTS
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.archive_paths import open_path
from modelscope_cli.formats.composites import LATEST, latest_of, natural
from modelscope_cli.formats.folder_names import (
    GLOBAL_STEP,
    GLOBAL_STEP_WHY,
    MODEL_SUFFIXES,
    NO_MODELS,
    Said,
    by_name,
    of_folder,
)
from modelscope_cli.formats.folder_sets import OTHER_SETS, QUANTISED, Choice, choose_among, usual_of
from modelscope_cli.formats.folder_steps import IS_BEST, IS_LAST, IS_NUMBERED, STEP_NAME, Step, step_of
from modelscope_cli.formats.folder_walk import File, Listing, below
from modelscope_cli.formats.shard_sets import single
from modelscope_cli.formats.target import Target

LEVELS = 8  # folders in folders that are searched for models
MOST_COMPONENTS = 100
STATE = (OPTIMIZER, SCHEDULER, SCALER, RANDOM, RECORD)
STATE_BYTES = 32 << 20  # of trainer_state.json, which has a line a logging step
_NUMBER = re.compile(r"\d+")
PRECISIONS = ("float32", "fp32", "f32", "bfloat16", "bf16", "float16", "fp16", "f16")  # the fullest first
RUN_NAME = re.compile(r"(?P<of>version|run|exp|experiment|train|trial)[-_]?\d*", re.IGNORECASE)  # Lightning, YOLO, detectron2
DATED_RUN = re.compile(r"((offline-)?run-\d{8}_\d{6}-\w+)|\d{4}-\d\d-\d\d|\d\d-\d\d-\d\d")  # W&B, Hydra
_REVISION = re.compile(r"[0-9a-f]{40}")


class Cache(NamedTuple):
    """A model in the cache of Hugging Face: the folder of its snapshots, the one to take, and whether refs/main names it."""

    snapshots: str
    revision: str
    main: bool


class Search:
    """Looks for the checkpoints of a listed folder. `files` are counted once, `aliases` are the other names of some."""

    def __init__(self, listing: Listing):
        self.listing = listing
        self.searched = False  # whether the models are in folders of the folder
        self.caches = dict(self._find_caches())
        kept = tuple(below(below(cache.snapshots, cache.revision), "") for cache in self.caches.values())
        linked = tuple(below(cache.snapshots, "") for cache in self.caches.values())

        def rank(file: File) -> int:
            return 0 if file.path.startswith(kept) else 1 if file.path.startswith(linked) else 2

        self.files, self.aliases = listing.once(rank)

    def choose(self, folder: str, levels: int) -> Choice:
        """The checkpoints of a folder or of those in it."""
        if folder in self.caches:
            return self._cached(folder, self.caches[folder], levels)
        names = self.listing.names.get(folder, [])
        own = choose_among(self.listing, folder, self.aliases)
        if "model_index.json" in names and (parts := self._components(folder, own)):
            return parts
        if own.targets:
            if "modules.json" in names:
                self._modules(folder, own)
            self._beside(folder, own)
            return own
        if not levels:
            return own
        found = self._below(folder, levels)
        found.said.update(own.said)
        return found

    def only_state(self) -> Choice:
        """Of a folder with nothing but the state of a training: that."""
        choice = Choice([], {})
        for name in self.listing.names.get("", []):
            said = None if name in self.listing.folders else by_name(name)
            if said is not None and said.what in STATE and name.lower().endswith(MODEL_SUFFIXES):
                choice.targets.append(single(self.listing.at(name)))
                choice.said[name] = said._replace(used=True)
        return choice

    def _find_caches(self) -> Iterator[tuple[str, Cache]]:
        """The models of a cache of Hugging Face: the folder itself, its folders, or that of which it is the snapshots."""
        listing = self.listing
        for base in ("", *sorted(folder for folder in listing.folders if folder.rpartition("/")[2].startswith("models--"))):
            refs = below(base, "refs")
            inside = listing.inside(below(base, "snapshots"))
            if inside and {refs, below(base, "blobs")} & listing.folders:
                yield base, self._cache(below(base, "snapshots"), inside, listing.at(below(refs, "main")))
        above, name = os.path.split(os.path.abspath(listing.root))
        inside = listing.inside("")
        if name == "snapshots" and inside and all(_REVISION.fullmatch(revision) for revision in inside):
            yield "", self._cache("", inside, os.path.join(above, "refs", "main"))

    def _cache(self, snapshots: str, inside: list[str], main: str) -> Cache:
        named = _text(main)
        newest = max(inside, key=lambda name: (_changed(self.listing.at(below(snapshots, name))), name))
        return Cache(snapshots, named if named in inside else newest, named in inside)

    def _cached(self, folder: str, cache: Cache, levels: int) -> Choice:
        """The chosen snapshot; the others are said."""
        choice = self.choose(below(cache.snapshots, cache.revision), levels)
        others = [name for name in self.listing.inside(cache.snapshots) if name != cache.revision]
        of_others = Said(REVISION, "what the revision in use does not have")
        choice.said.update((below(cache.snapshots, name) + "/", of_others) for name in others)
        if cache.snapshots:
            choice.said[below(folder, "blobs/")] = Said(REVISION, "of no revision that is here")
            choice.said[below(folder, "refs/")] = Said(OTHER, "names of revisions")
        if choice.targets:
            which = "which refs/main names" if cache.main else "the newest: refs/main names none that is here"
            said = f"revision {cache.revision[:12]}, {which}"
            said += f"; {len(others):,} more {'is' if len(others) == 1 else 'are'} here" if others else ""
            choice.targets[0] = _noted(choice.targets[0], Note("revision", "info", self.listing.at(folder), said))
        return choice

    def _components(self, folder: str, own: Choice) -> Choice | None:
        """The components of a pipeline of diffusers that have weights, in the order of model_index.json."""
        index = _json(self.listing.at(below(folder, "model_index.json")), self.listing.limits.index_bytes)
        named = [name for name, value in index.items() if isinstance(value, list)] if isinstance(index, dict) else []
        inside = set(self.listing.inside(folder))
        choice = Choice([], {})
        for name in [name for name in named if name in inside][:MOST_COMPONENTS]:
            part = choose_among(self.listing, below(folder, name), self.aliases)
            choice.targets.extend(part.targets)
            choice.said.update(part.said)
        if not choice.targets:
            return None
        for name, said in own.said.items():
            choice.said[name] = (
                said._replace(used=False) if said.what != WEIGHTS else Said(SAME, "the whole pipeline in one file")
            )
        self._beside(folder, choice)
        return choice

    def _modules(self, folder: str, own: Choice) -> None:
        """Adds the modules of sentence-transformers that have weights of their own."""
        modules = _json(self.listing.at(below(folder, "modules.json")), self.listing.limits.index_bytes)
        inside = set(self.listing.inside(folder))
        for module in modules[:MOST_COMPONENTS] if isinstance(modules, list) else []:
            name = module.get("path") if isinstance(module, dict) else None
            if isinstance(name, str) and name in inside:
                part = choose_among(self.listing, below(folder, name), self.aliases)
                own.targets.extend(part.targets)
                own.said.update(part.said)

    def _beside(self, folder: str, own: Choice) -> None:
        """What the folders beside a model are, by their names."""
        for name in self.listing.inside(folder):
            path = below(folder, name) + "/"
            if path in own.said or any(known.startswith(path) for known in own.said):
                continue
            said = of_folder(name)
            if GLOBAL_STEP.fullmatch(name):
                said = Said(OPTIMIZER, GLOBAL_STEP_WHY)
            elif STEP_NAME.fullmatch(name) or ((step := step_of(name)) is not None and not step.model):
                said = Said(STEP, "of the same training")
            elif self._quantised(below(folder, name)):
                said = Said(SAME, f"quantised as {name}")
            if said is not None:
                own.said[path] = said

    def _below(self, folder: str, levels: int) -> Choice:
        """The models in the folders of a folder: of those that are steps of one training one, of the others all."""
        self.searched = self.searched or not folder
        whole = Choice([], {})
        groups: dict[str, list[tuple[str, Choice]]] = {}
        states: list[str] = []
        records: list[str] = []
        for name in self.listing.inside(folder):
            said = of_folder(name)
            if said is not None and said.what != SAME:
                whole.said[below(folder, name) + "/"] = said
                states += [name] if said.what == OPTIMIZER else []
                records += [name] if said.what == RECORD else []
            elif not NO_MODELS.fullmatch(name.lower()):
                choice = self.choose(below(folder, name), levels - 1)
                if choice.targets:
                    groups.setdefault(_alike(name, choice), []).append((name, choice))
        found = [self._one_of(folder, group, whole) if len(group) > 1 else group[0] for group in groups.values()]
        models = [(name, choice) for name, choice in found if of_folder(name) is None] or found
        for several in (states, records):  # nothing but the state of a training, or what it left among its logs
            models = models or [(name, self.choose(below(folder, name), levels - 1)) for name in several]
        for _, choice in models:
            whole.targets.extend(choice.targets)
            whole.said.update(choice.said)
        for name, _ in found:
            if not any(name == kept for kept, _ in models):
                whole.said[below(folder, name) + "/"] = of_folder(name) or Said(SAME)  # an export beside the model itself
        return whole

    def _one_of(self, folder: str, group: list[tuple[str, Choice]], whole: Choice) -> tuple[str, Choice]:
        """The one to take of folders that hold the same again, or steps or runs of one training. The others are said in `whole`."""
        group.sort(key=lambda pair: natural(pair[0]))
        names = [name for name, _ in group]
        if self._quantised(below(folder, names[0])):
            return self._one_form(folder, group, whole, usual_of(group)[0], "quantised as {}")
        if names[0].lower() in PRECISIONS:
            fullest = min(names, key=lambda name: PRECISIONS.index(name.lower()))
            return self._one_form(folder, group, whole, fullest, "in another precision")
        runs = is_run(names[0])
        kind = "runs" if runs else "steps"
        chosen, which = (names[-1], "the last") if runs else self._step(folder, names)
        why = f"{which} of {len(names):,} {kind}"
        others = [name for name in names if name != chosen]
        shown = ", ".join(others[-5:][::-1]) + (", …" if len(others) > 5 else "")
        said = f"{chosen}: {why}; beside it {'are' if len(others) > 1 else 'is'} {shown}"
        of_others = Said(RUN, "with a model of its own") if runs else Said(STEP, "of the same training")
        whole.said.update((below(folder, name) + "/", of_others) for name in others)
        choice = dict(group)[chosen]
        choice.said.update([(path, known._replace(why=why)) for path, known in choice.said.items() if known.used])
        choice.targets[0] = _noted(choice.targets[0], Note(kind, "info", self.listing.at(folder), said))
        return chosen, choice

    def _step(self, folder: str, names: list[str]) -> tuple[str, str]:
        """The step to take and which it is: the best by trainer_state.json or by its name, what `latest` names, or the last."""
        steps = [(step_of(name) or Step(IS_NUMBERED, "")).rank for name in names]
        last = max(zip(steps, range(len(names)), names, strict=True))[2]
        numbered = [name for name, rank in zip(names, steps, strict=True) if rank == IS_NUMBERED] or names
        best, latest = self._best(folder, numbered[-1]), latest_of(self.listing.at(folder))
        if best in names:
            return best, "the best (trainer_state.json)"
        if latest in names and IS_BEST not in steps:
            return latest, f"the one that the file {LATEST} names"
        return last, {IS_BEST: "the one called the best", IS_LAST: "the one called the last"}.get(max(steps), "the last")

    def _one_form(
        self, folder: str, group: list[tuple[str, Choice]], whole: Choice, chosen: str, why: str
    ) -> tuple[str, Choice]:
        """Of folders that hold one model in several forms the one called `chosen`."""
        choice = dict(group)[chosen]
        others = [name for name, _ in group if name != chosen]
        whole.said.update((below(folder, name) + "/", Said(SAME, why.format(name))) for name in others)
        said = f"the folder also holds {', '.join(others)}: probably the same model again"
        choice.targets[0] = _noted(choice.targets[0], Note(OTHER_SETS, "info", self.listing.at(folder), said))
        return chosen, choice

    def _quantised(self, folder: str) -> bool:
        """Whether a folder is called by a quantisation, and holds files that have one."""
        name = folder.rpartition("/")[2]
        called = QUANTISED.fullmatch(f"{name}.gguf") or QUANTISED.fullmatch(f"x-{name}.gguf")
        return called is not None and any(file.lower().endswith(".gguf") for file in self.listing.names.get(folder, ()))

    def _best(self, folder: str, last: str) -> str | None:
        """The step that the state of a training calls the best. The path in it may be of another machine: its end counts."""
        state = _json(self.listing.at(below(below(folder, last), "trainer_state.json")), STATE_BYTES)
        best = state.get("best_model_checkpoint") if isinstance(state, dict) else None
        return re.split(r"[/\\]", best.rstrip("/\\"))[-1] if isinstance(best, str) else None


def is_run(name: str) -> bool:
    """Whether a folder is what one start of a program left: another start may have trained another model."""
    return (RUN_NAME.fullmatch(name) or DATED_RUN.fullmatch(name)) is not None


def _alike(name: str, choice: Choice) -> str:
    """The same for folders that are steps or runs of one training, or one model in several forms."""
    if QUANTISED.fullmatch(f"x-{name}.gguf") and all(target.path.lower().endswith(".gguf") for target in choice.targets):
        return "a quantisation"
    if name.lower() in PRECISIONS:
        return "a precision"
    if is_run(name):
        run = RUN_NAME.fullmatch(name)
        return f"run {run['of'].lower() if run else ''}"
    step = step_of(name)
    if step is not None:
        return f"step {step.model}"
    of_ranks = all(target.reader is not None for target in choice.targets)
    if name.isdecimal() or (of_ranks and _NUMBER.search(name)):
        return f"step {_NUMBER.sub('', name)}"
    return f"={name}"


def _noted(target: Target, note: Note) -> Target:
    return target._replace(notes=(*target.notes, note))


def _text(path: str) -> str:
    """A line of a small file; "" where there is none."""
    try:
        with open_path(path) as window:
            return window.head(256).decode("utf-8", "replace").strip()
    except ModelscopeError:
        return ""


def _json(path: str, most: int) -> Any:
    """What a JSON file says; None for one that is not there, is too large, or is no JSON."""
    try:
        with open_path(path) as window:
            return json.loads(window.read(0, window.size)) if window.size <= most else None
    except (ModelscopeError, ValueError, RecursionError):
        return None


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
