"""Looking into an archive and those in it, for models: by names as in a folder of the system, then by the first bytes.

How much is looked at has bounds that hold for all archives behind one path together: names, files that are opened, archives.
"""

from __future__ import annotations

from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.folder import MODEL, OTHER, WEIGHTS
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.errors import LimitError, ModelscopeError, UnsupportedFeatureError
from modelscope_cli.formats.archive import Archive, some
from modelscope_cli.formats.archive_members import (
    WITHOUT_TENSORS,
    best_name,
    foreign,
    largest,
    like_model,
    name_in,
    odd,
    parts_of_sets,
    single,
    tells,
    without_tensors,
)
from modelscope_cli.formats.archive_paths import may_be_archive
from modelscope_cli.formats.folder import LEVELS, MOST_MODELS, Search
from modelscope_cli.formats.folder_contents import describe
from modelscope_cli.formats.folder_names import MODEL_SUFFIXES, Said, may_hold_a_model
from modelscope_cli.formats.folder_walk import KEPT_HIDDEN, File, Listing
from modelscope_cli.formats.known import foreign_error
from modelscope_cli.formats.registry import by_suffix, sniff
from modelscope_cli.formats.shard_sets import INDEX_SUFFIX
from modelscope_cli.formats.target import Target

SUFFIXES = (
    ".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".tbz", ".xz", ".txz", ".zst", ".zstd", ".tzst", ".nemo", ".mar", ".whl",
)  # fmt: skip
MOST_OPENED = 2_000  # files called like models that are opened, the largest; and as many of other names, where none was one
MOST_FOREIGN = 4  # files called like models and known as something else that are told one by one
UNPACK = "unpack it first and give the folder"


class Finding:
    """What has been found so far in an archive and those in it."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.targets: list[Target] = []
        self.problems: list[ModelscopeError] = []
        self.notes: list[Note] = []
        self.archives = 0
        self.entries = limits.folder_entries  # files whose names may still be looked at
        self.opened = MOST_OPENED  # files called like models that may still be opened
        self.tried = MOST_OPENED  # the same of other files


def look(finding: Finding, archive: Archive, folder: str) -> None:
    """Look into an archive, and into those in it."""
    prefix = f"{folder}/" if folder else ""
    names = [name for name in archive.files if name.startswith(prefix)]
    if archive.alone and names:
        look_at_only_one(finding, archive, names[0])
        return
    looked_at = first_names(finding, archive, names)
    plain = [name for name in looked_at if not is_archive(finding, archive, name)]
    parts = parts_of_sets(plain)
    if parts:
        what = f"a checkpoint in parts inside an archive: {some(parts)}"
        finding.problems.append(UnsupportedFeatureError(what, path=archive.path, hint=UNPACK))
        plain = sorted(set(plain).difference(parts))
    listing = listed(archive, plain)
    search = Search(listing)
    choice = search.choose(folder, LEVELS)
    if not choice.targets:
        choice = search.only_state()
    called = [target._replace(archive=archive) for target in choice.targets]
    looked = set(largest(archive, called, finding.opened))
    finding.opened -= len(looked)
    found = []
    strange: list[str] = []
    for name, target in zip(map(name_in, called), called, strict=True):
        if target.path not in looked or (name in archive.files and not archive.may_look(name)):
            choice.said[name] = Said(MODEL, "not looked into: name it to see it")
        elif like_model(target):
            found.append(target)
        else:
            strange.append(name)
            choice.said[name] = odd(archive, name)
    if len(found) > 1:
        empty = without_tensors(found, finding.limits)
        found = [target for target in found if target.path not in empty] or found
        choice.said.update((empty[path], Said(OTHER, WITHOUT_TENSORS)) for path in empty if found[0].path not in empty)
    if not found and not finding.targets and not finding.problems:
        known = {*strange, *archive.links}
        others = [name for name in plain if name not in known][: finding.tried]
        finding.tried -= len(others)
        found = [single(archive, name) for name in others if tells(archive, name)]
        for name in map(name_in, found):
            choice.said[name] = Said(WEIGHTS, "a model by its content", True)
        if not found and len(strange) <= MOST_FOREIGN:
            found = [single(archive, name) for name in strange if foreign(archive, name) is not None]
    if len(called) > len(looked):
        message = f"of {len(called):,} files that are called like models only the {len(looked):,} largest were looked at"
        finding.notes.append(Note("archive-unlooked", "warning", archive.path, message))
    contents = None
    if 0 < len(found) <= MOST_MODELS:
        contents = describe(listing, choice.said, search.files, search.aliases, one_model=len(found) == 1)
    finding.targets += [target._replace(in_folder=contents if len(names) > 1 else None) for target in found]


def first_names(finding: Finding, archive: Archive, names: list[str]) -> list[str]:
    """As many names as may be looked at: those that are called like models first, then those nearer to the top."""
    room = finding.entries
    finding.entries = max(0, room - len(names))
    if len(names) <= room:
        return names
    message = f"of {len(names):,} files only {room:,} were looked at (--limit folder_entries=N)"
    finding.notes.append(Note("archive-unlooked", "warning", archive.path, message))
    called = (*MODEL_SUFFIXES, *SUFFIXES, INDEX_SUFFIX)
    return sorted(names, key=lambda name: (not name.lower().endswith(called), name.count("/")))[:room]


def listed(archive: Archive, names: list[str]) -> Listing:
    """Files of an archive as the folder that unpacking it would give."""
    listing = Listing(f"{archive.path}!", archive.budget.limits)
    inside: dict[str, set[str]] = {"": set()}
    linked = {*archive.links, *archive.links.values()}
    for name in names:
        file = archive.files[name]
        identity = (0, file.start) if name in linked else None
        listing.files.append(File(name, max(file.nbytes, 0), identity, name in linked and not best_name(archive, name)))
        folder, _, own = name.rpartition("/")
        if "/." in f"/{name}" and own != KEPT_HIDDEN:
            listing.hidden[name] = name
            continue
        while folder not in inside:
            inside[folder] = {own}
            listing.folders.add(folder)
            folder, _, own = folder.rpartition("/")
        inside[folder].add(own)
    listing.names = {folder: sorted(held) for folder, held in inside.items()}
    return listing


def look_at_only_one(finding: Finding, archive: Archive, name: str) -> None:
    """What is compressed by itself is the model, whatever its name, or an archive."""
    if is_archive(finding, archive, name):
        return
    head = archive.head(name)
    if sniff(head, name) is None and (by_suffix(name) is None or foreign(archive, name) is not None):
        finding.problems.append(foreign_error(MemoryWindow(head, archive.at(name))))
        return
    finding.targets.append(single(archive, name))


def is_archive(finding: Finding, archive: Archive, name: str) -> bool:
    """Whether a file is an archive, which is looked into then. One that cannot be is a problem, and nothing else."""
    if not (archive.alone or name.lower().endswith(SUFFIXES) or may_hold_a_model(name.rpartition("/")[2])):
        return False
    if not may_be_archive(archive.head(name)):
        return False
    finding.archives += 1
    if finding.archives > finding.limits.archives + 1:  # which has been said
        return True
    try:
        if finding.archives > finding.limits.archives:
            raise LimitError(
                "archives", finding.limits.archives, f"more than {finding.limits.archives:,}", path=archive.at(name)
            )
        inner = archive.inner(name)
        if inner is None:
            return False
        look(finding, inner, "")
    except ModelscopeError as problem:
        finding.problems.append(problem)
    return True
