"""The models in an archive, as targets: what a person would find after unpacking it and looking into its folders.

What to take is chosen as in a folder of the system (formats/folder.py), by names; then the content has to agree. Where no name
speaks for a model the content does alone. Sets of parts that are put together by a reader of their own
(distributed, partitioned, tensor-parallel) are not read from an archive: their files are looked for on the disk.
formats/archive_search.py does the looking.
"""

from __future__ import annotations

import os

from modelscope_cli.containers.unpacked import Progress
from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.place import typed
from modelscope_cli.errors import ModelscopeError, SourceError
from modelscope_cli.formats.archive import Archive
from modelscope_cli.formats.archive_foreign import without_models
from modelscope_cli.formats.archive_members import single
from modelscope_cli.formats.archive_opening import open_file
from modelscope_cli.formats.archive_paths import reach
from modelscope_cli.formats.archive_search import SUFFIXES as SUFFIXES
from modelscope_cli.formats.archive_search import Finding, listed, look
from modelscope_cli.formats.folder import MOST_MODELS
from modelscope_cli.formats.folder_sets import candidates
from modelscope_cli.formats.target import Target

MOST_ARCHIVES = 5  # of a folder


def inside(path: str, limits: Limits, progress: Progress | None = None) -> list[Target] | None:
    """The models in the archive at a path; None where it is none. Raises ModelscopeError where there is none that can be read."""
    archive = open_file(path, limits, progress)
    if archive is None:
        return None
    found = models_of(archive, "", limits)
    if not found:
        raise without_models(archive)
    return found


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
    """The models below a folder of an archive. Raises SourceError where there are very many; the first problem where nothing else is."""
    finding = Finding(limits)
    look(finding, archive, folder)
    if len(finding.targets) > MOST_MODELS:
        raise very_many(finding, archive)
    if finding.problems and not finding.targets:
        raise finding.problems[0]
    notes = [Note("archive-unread", "error", problem.path or archive.path, told(problem)) for problem in finding.problems[:20]]
    if finding.targets:
        first = finding.targets[0]
        finding.targets[0] = first._replace(notes=(*first.notes, *finding.notes, *notes))
    return finding.targets


def very_many(finding: Finding, archive: Archive) -> SourceError:
    """The refusal to show more than anybody would look at."""
    folders = list(dict.fromkeys(target.folder for target in finding.targets))
    names = folders if len(folders) > 1 else [target.path for target in finding.targets]
    more = " and more" if finding.archives > finding.limits.archives else ""
    what = f"an archive of {len(finding.targets):,} models{more}" + (
        f" in {len(folders):,} folders" if len(folders) > 1 else ""
    )
    return SourceError(what, path=archive.path, hint=f"name one of them: {', '.join(map(typed, names[:3]))} …")


def told(problem: ModelscopeError) -> str:
    return f"{problem.message} - {problem.hint}" if problem.hint else problem.message


def close_to(name: str, archive: Archive) -> str:
    """What somebody may have meant."""
    from difflib import get_close_matches

    names = list(archive.files)[:10_000]
    ends = [other for other in names if other.rpartition("/")[2] == name.rpartition("/")[2]]
    close = (ends or get_close_matches(name, names, 3, 0.5) or names)[:3]
    return f"it holds {', '.join(typed(archive.at(other)) for other in close)}" if close else "it is empty"
