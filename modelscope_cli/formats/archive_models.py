"""The models in an archive, as targets: what a person would find after unpacking it and looking into its folders.

What to take is chosen as in a folder of the system (formats/folder.py), by names; then the content has to agree. Where no name
speaks for a model the content does alone. Sets of parts that are put together by a reader of their own
(distributed, partitioned, tensor-parallel) are not read from an archive: their files are looked for on the disk.
"""

from __future__ import annotations

import os

from modelscope_cli.containers.unpacked import Progress
from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.folder import WEIGHTS
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.place import typed
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.errors import LimitError, ModelscopeError, SourceError, UnsupportedFeatureError
from modelscope_cli.formats.archive import Archive, open_file, some
from modelscope_cli.formats.archive_paths import may_be_archive, reach
from modelscope_cli.formats.composites import (
    DCP_INDEX,
    DCP_PART,
    DCP_SHARD,
    OPTIMIZER_FILE,
    SLICE,
    SLICE_FILES,
    SLICE_FOLDER,
    ZERO_FILE,
)
from modelscope_cli.formats.folder import LEVELS, MOST_MODELS, Search
from modelscope_cli.formats.folder_contents import describe
from modelscope_cli.formats.folder_names import Said, may_hold_a_model
from modelscope_cli.formats.folder_sets import candidates
from modelscope_cli.formats.folder_walk import KEPT_HIDDEN, File, Listing
from modelscope_cli.formats.known import Recognised, foreign_error, recognise
from modelscope_cli.formats.known_archive import archive_error
from modelscope_cli.formats.registry import by_suffix, sniff
from modelscope_cli.formats.target import Target

SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".tbz", ".xz", ".txz", ".zst", ".zstd", ".tzst", ".nemo", ".mar")
TELLING = ("safetensors", "gguf", "torch-zip")  # formats that are known by content without a name
MOST_OPENED = 2_000  # files of other names whose content is looked at
MOST_ARCHIVES = 5  # of a folder
UNPACK = "unpack it first and give the folder"


class Finding:
    """What has been found so far in an archive and those in it."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.targets: list[Target] = []
        self.problems: list[ModelscopeError] = []
        self.archives = 0


def inside(path: str, limits: Limits, progress: Progress | None = None) -> list[Target] | None:
    """The models in the archive at a path; None where it is none, or a zip or tar without one: the readers name these.

    Raises ModelscopeError where there is none that can be read.
    """
    archive = open_file(path, limits, progress)
    if archive is None:
        return None
    found = models_of(archive, "", limits)
    if not found and archive.what not in ("zip archive", "tar archive"):
        raise without_models(archive)
    return found or None


def in_archives(folder: str, names: list[str], limits: Limits) -> list[Target]:
    """The models in the archives among the names of a folder that holds no other. Raises the first problem where there are none."""
    found: list[Target] = []
    problems: list[ModelscopeError] = []
    for name in [name for name in names if name.lower().endswith(SUFFIXES)][:MOST_ARCHIVES]:
        try:
            found += inside(os.path.join(folder, name), limits) or []
        except ModelscopeError as problem:
            problems.append(problem)
    if problems and not found:
        raise problems[0]
    return found


def named(path: str, limits: Limits, progress: Progress | None = None, *, only: bool = False) -> list[Target]:
    """What a path into an archive means: a model, the set of a shard, an archive in it, or the models of a folder.

    `only` takes a shard by itself. Raises SourceError where there is nothing.
    """
    archive, name = reach(path, limits)
    archive.budget.progress = progress
    name = name.rstrip("/")
    if name not in archive.files:
        if not any(file.startswith(f"{name}/") for file in archive.files) and name:
            raise SourceError("the archive holds no such file", path=path, hint=close_to(name, archive))
        found = models_of(archive, name, limits)
        if not found:
            raise without_models(archive)
        return found
    inner = archive.inner(name)
    if inner is not None:
        found = models_of(inner, "", limits)
        if not found:
            raise without_models(inner)
        return found
    folder = name.rpartition("/")[0]
    members = [other for other in archive.files if other.rpartition("/")[0] == folder]
    sets = [] if only else candidates(listed(archive, members), folder, {})
    whole = next((one.target for one in sets if one.target.shards is not None and name.rpartition("/")[2] in one.names), None)
    return [single(archive, name) if whole is None else whole._replace(archive=archive)]


def models_of(archive: Archive, folder: str, limits: Limits) -> list[Target]:
    """The models below a folder of an archive. Raises the first problem where there are none but problems."""
    finding = Finding(limits)
    look(finding, archive, folder)
    if finding.problems and not finding.targets:
        raise finding.problems[0]
    if finding.problems:
        notes = [
            Note("archive-unread", "error", problem.path or archive.path, told(problem)) for problem in finding.problems[:20]
        ]
        first = finding.targets[0]
        finding.targets[0] = first._replace(notes=(*first.notes, *notes))
    return finding.targets


def told(problem: ModelscopeError) -> str:
    return f"{problem.message} - {problem.hint}" if problem.hint else problem.message


def look(finding: Finding, archive: Archive, folder: str) -> None:
    """Look into an archive, and into those in it."""
    prefix = f"{folder}/" if folder else ""
    names = [name for name in archive.files if name.startswith(prefix)]
    if archive.alone and names:
        look_at_only_one(finding, archive, names[0])
        return
    plain = [name for name in names if not is_archive(finding, archive, name)]
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
    found = [target._replace(archive=archive) for target in choice.targets]
    strange = [target for target in found if not like_model(target)]
    found = [target for target in found if target not in strange]
    if not found and not finding.targets and not finding.problems:
        found = [single(archive, name) for name in plain[:MOST_OPENED] if tells(archive, name)]
        choice.said.update((name_in(target), Said(WEIGHTS, "a model by its content", True)) for target in found)
        found = found or [target for target in strange if foreign(archive, name_in(target)) is not None]
    if len(found) > MOST_MODELS and search.searched:
        folders = list(dict.fromkeys(target.folder for target in found))
        raise SourceError(
            f"an archive of {len(found):,} models in {len(folders):,} folders",
            path=archive.path,
            hint=f"name one of them: {', '.join(map(typed, folders[:3]))} …",
        )
    contents = describe(listing, choice.said, search.files, search.aliases, one_model=len(found) == 1) if found else None
    finding.targets += [target._replace(in_folder=contents if len(names) > 1 else None) for target in found]


def listed(archive: Archive, names: list[str]) -> Listing:
    """Files of an archive as the folder that unpacking it would give."""
    listing = Listing(f"{archive.path}!")
    inside: dict[str, set[str]] = {"": set()}
    for name in names:
        listing.files.append(File(name, max(archive.files[name].nbytes, 0), None, False))
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


def single(archive: Archive, name: str) -> Target:
    """A file by itself."""
    path = archive.at(name)
    return Target(path, path.rpartition("/")[0], None, None, archive=archive)


def name_in(target: Target) -> str:
    """The name of the file of a target in its archive."""
    return target.path[len(target.archive.at("")) :].replace(os.sep, "/") if target.archive is not None else target.path


def like_model(target: Target) -> bool:
    """Whether a file that is called like a model begins like one. What is encrypted may be one."""
    archive, name = target.archive, name_in(target)
    if archive is None or target.shards is not None or target.index_path is not None:
        return True
    head = archive.head(name)
    if not head:
        return archive.files[name].encrypted or archive.files[name].nbytes != 0
    return sniff(head, name) is not None or (by_suffix(name) is not None and foreign(archive, name) is None)


def foreign(archive: Archive, name: str) -> Recognised | None:
    """What a file is that is no model of a kind that is read, as far as its first bytes tell."""
    return recognise(MemoryWindow(archive.head(name), archive.at(name)), neighbours=False)


def tells(archive: Archive, name: str) -> bool:
    """Whether a file is a model by its content, whatever its name."""
    head = archive.head(name)
    row = sniff(head, "")
    return row is not None and row.name in TELLING and not may_be_archive(head)


def parts_of_sets(names: list[str]) -> list[str]:
    """Those files that are parts of sets which have readers of their own."""
    folders: dict[str, list[str]] = {}
    for name in names:
        folders.setdefault(name.rpartition("/")[0], []).append(name)
    found: list[str] = []
    ranks: dict[str, list[str]] = {}
    for folder, members in folders.items():
        base = {name: name.rpartition("/")[2] for name in members}
        distributed = [name for name in members if DCP_PART.fullmatch(base[name]) or DCP_SHARD.fullmatch(base[name])]
        zero = [name for name in members if ZERO_FILE.fullmatch(base[name])]
        slices = [name for name in members if SLICE.fullmatch(base[name])]
        if distributed:
            found += distributed + [name for name in members if DCP_INDEX.fullmatch(base[name])]
        elif any(OPTIMIZER_FILE.fullmatch(base[name]) for name in zero):
            found += zero
        elif len(slices) > 1:
            found += slices
        above, _, own = folder.rpartition("/")
        if SLICE_FOLDER.fullmatch(own):
            ranks.setdefault(above, []).extend(name for name in members if base[name] in SLICE_FILES)
    for several in ranks.values():
        found += several if len(several) > 1 else []
    return found


def without_models(archive: Archive) -> ModelscopeError:
    """The error for an archive in which no model was found: it names what there is."""
    return archive_error(list(archive.files), archive.path)


def close_to(name: str, archive: Archive) -> str:
    """What somebody may have meant."""
    from difflib import get_close_matches

    names = list(archive.files)[:10_000]
    ends = [other for other in names if other.rpartition("/")[2] == name.rpartition("/")[2]]
    close = (ends or get_close_matches(name, names, 3, 0.5) or names)[:3]
    return f"it holds {', '.join(typed(archive.at(other)) for other in close)}" if close else "it is empty"
