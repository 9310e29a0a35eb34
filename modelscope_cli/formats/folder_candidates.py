"""Every set of weights that lies in a folder itself: by index, by numbers in names, by the conventions of composites.py, or alone."""

from __future__ import annotations

import json
import os
import re
from typing import NamedTuple

from modelscope_cli.core.limits import Limits
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.archive_paths import begins_like_archive, open_path
from modelscope_cli.formats.composites import composites
from modelscope_cli.formats.folder_names import may_hold_a_model
from modelscope_cli.formats.folder_walk import Listing, below
from modelscope_cli.formats.shard_sets import INDEX_SUFFIX, SHARD_NAME, set_of_index, set_of_shard, single
from modelscope_cli.formats.target import Target

BASELINE_SUFFIX = ".baseline.json"
OF_A_SET = re.compile(r"(__\d+)?\.metadata|.*\.distcp|shard-\d{5}-|.*mp_rank_\d\d|consolidated[._]\d\d")  # see composites.py
TORCH_TAR = re.compile(rb"(sys_info|pickle|tensors|storages)\0")  # what the first member is called


class Candidate(NamedTuple):
    """A set or file with a model's name: `name` of its index or file, all `names` that belong to it (and links to them)."""

    name: str
    target: Target
    names: list[str]
    links: list[str]


def candidates(listing: Listing, folder: str, aliases: dict[str, str]) -> list[Candidate]:
    """Every set of a folder, and every other file with a model's suffix, by name. A link to another of them is not listed again."""
    path = listing.at(folder)
    names = listing.names.get(folder, [])
    found = []
    taken: set[str] = set()
    for one in composites(path) if any(map(OF_A_SET.match, names)) else ():
        inside = [f"{name}/" if below(folder, name) in listing.folders else name for name in sorted(one.names)]
        found.append(Candidate(min(one.names), one.target, inside, []))
        taken |= one.names
    links: dict[str, list[str]] = {}
    plain: list[str] = []
    for name in names:
        full = below(folder, name)
        if name in taken or full in listing.folders:
            continue
        if full in aliases:
            links.setdefault(aliases[full], []).append(name)
            if below(folder, os.path.basename(aliases[full])) == aliases[full]:
                continue
        plain.append(name)
    found += _sharded(path, plain, listing.limits)
    return sorted([one._replace(links=links.get(below(folder, one.name), [])) for one in found], key=lambda one: one.name)


def _sharded(path: str, names: list[str], limits: Limits) -> list[Candidate]:
    """Sets by index or by numbers, and the files that belong to none."""
    sets: dict[str, Candidate] = {}
    shards: dict[tuple[str, ...], list[tuple[str, re.Match[str]]]] = {}
    singles = []
    for name in names:
        if is_index(name):
            full = os.path.join(path, name)
            sets[full] = Candidate(name, set_of_index(full), [name], [])
        elif may_hold_a_model(name):
            match = SHARD_NAME.fullmatch(name)
            if match is None or not 1 <= int(match["number"]) <= int(match["count"]):
                singles.append(name)
            else:
                shards.setdefault(match.group("stem", "count", "rest", "suffix"), []).append((name, match))
    for several in shards.values():
        name, match = several[0]
        target = set_of_shard(path, match, os.path.join(path, name))
        inside = [name for name, _ in several]
        key = target.index_path or target.path
        if key in sets:
            sets[key].names.extend(inside)
        else:
            sets[key] = Candidate(os.path.basename(target.path), target, inside, [])
    listed = _listed_in_indexes(sets, limits) if singles else {}
    for name in singles:
        if name in listed:
            sets[listed[name]].names.append(name)
    return [
        *sets.values(),
        *[Candidate(name, single(os.path.join(path, name)), [name], []) for name in singles if name not in listed],
    ]


def is_packed(one: Candidate) -> bool:
    """Whether a file is called .tar and is an archive, which may hold models: torch wrote tars only before 0.1.10."""
    if not one.name.lower().endswith(".tar") or one.target.shards is not None or not begins_like_archive(one.target.path):
        return False
    try:
        with open_path(one.target.path) as window:
            return TORCH_TAR.match(window.head(16)) is None
    except ModelscopeError:
        return False


def is_index(name: str) -> bool:
    """Whether a name is that of an index of shards."""
    stem = name.removesuffix(INDEX_SUFFIX)
    return (stem != name and stem.endswith((".safetensors", ".bin", ".pt", ".pth"))) or (
        (".safetensors.index." in name or ".bin.index." in name)
        and name.endswith(".json")
        and not name.endswith(BASELINE_SUFFIX)
    )


def _listed_in_indexes(sets: dict[str, Candidate], limits: Limits) -> dict[str, str]:
    """File names that the weight maps mention, with their index: shards need not be numbered. One that cannot be read names none."""
    listed: dict[str, str] = {}
    for key, one in sets.items():
        if one.target.index_path is None:
            continue
        try:
            with open_path(one.target.index_path) as window:
                weight_map = json.loads(window.head(limits.index_bytes)).get("weight_map")
            listed.update((name, key) for name in weight_map.values() if isinstance(name, str))
        except (ModelscopeError, ValueError, AttributeError, RecursionError):
            continue
    return listed
