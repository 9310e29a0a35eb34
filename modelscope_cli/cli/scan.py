"""`mscope scan`: can this file be opened without fear?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from modelscope_cli.cli.options import Color, LimitChanges, Unit, limits
from modelscope_cli.cli.output import OUTPUT, TABLE, Colors, Files, Github, Output, Publisher, complete_documents, outputs
from modelscope_cli.cli.policies import PolicyFile, believed, chosen_policy
from modelscope_cli.cli.rules import settings_for

if TYPE_CHECKING:
    from modelscope_cli.analysis.policy import Policy
    from modelscope_cli.analysis.safety import Safety
    from modelscope_cli.core.limits import Limits
    from modelscope_cli.errors import ModelscopeError
    from modelscope_cli.formats.files_below import Met

FAILED = 1
JUDGING = "Judging"  # a panel of the help
FEW = 3  # files named in a line

HELP = """Say what loading a file would execute, and how grave that is. Nothing is executed, imported or written.

Every name that a pickle imports is listed with its byte and how often it is called, in whatever archive, member, nested file or \
suffix it hides; verdicts come from a policy that judges each name with its reason. \
safe: only what torch's weights-only loader and honest files need. unknown: names nobody has judged. \
suspicious: what no honest file needs. dangerous: loading it can run what its author wanted. \
Folders are gone through with all that is in them, but for .git.

Exit codes: 0 fine, 1 a verdict at or above --fail-on, 2 wrong usage, 3 something could not be read or written, \
or a file that was named is of a kind that is not judged.

\b
Examples:
  mscope scan model.pt                              what would torch.load execute?
  mscope scan downloads/                            every file in a folder
  mscope scan model.pt --fail-on dangerous          let suspicious ones pass
  mscope scan model.pt -o scan.sarif -o scan.md     for code scanning, and for people
  mscope scan model.pt --policy ours.toml           names of our own: docs/scan.md shows the file
"""


class FailOn(StrEnum):
    unknown = "unknown"
    suspicious = "suspicious"
    dangerous = "dangerous"
    never = "never"


def scan(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files, or folders with all that is in them.", show_default=False)
    ],
    fail_on: Annotated[
        FailOn | None,
        typer.Option(
            "--fail-on",
            help="The verdict from which the exit code is 1: suspicious, or what \\[scan] in mscope.toml says.",
            rich_help_panel=JUDGING,
            show_default=False,
        ),
    ] = None,
    policy: PolicyFile = None,
    format: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            metavar="FORMAT",
            help="table, json, sarif, markdown, html, csv or tsv.",
            rich_help_panel=OUTPUT,
            show_default=False,
            autocompletion=complete_documents,
        ),
    ] = None,
    output: Files = None,
    github: Github = False,
    color: Colors = Color.auto,
    limit: LimitChanges = None,
) -> None:
    """Check the options, then scan; the help text is HELP."""
    wanted = outputs(format, output, TABLE)
    if any(each.format == "junit" for each in wanted):
        raise typer.BadParameter(
            "junit has no place for findings: write .sarif, or use check --forbid-unsafe", param_hint="'--format'"
        )
    if all(each.file is not None for each in wanted):
        wanted.append(Output(TABLE, None))  # the verdict is for the log, whatever goes into files
    settings = believed(settings_for(None), None, paths)
    run(
        paths,
        chosen_policy(policy or settings.policy),
        wanted,
        color,
        fail_on or FailOn(settings.fail_on or "suspicious"),
        limits(limit),
        github=github,
        policy_path=policy or settings.policy,
    )


def run(
    paths: list[str],
    policy: Policy | None,
    wanted: list[Output],
    color: Color,
    fail_on: FailOn,
    bounds: Limits,
    *,
    github: bool,
    policy_path: str | None,
) -> None:
    """Scan every file; 1 when a verdict is grave enough, else 3 when something could not be read or written."""
    from modelscope_cli.analysis.policy import grave
    from modelscope_cli.analysis.safety import worst
    from modelscope_cli.analysis.safety_report import SCHEMA, to_report
    from modelscope_cli.cli.problems import UNREADABLE, tell
    from modelscope_cli.cli.progress import LateStatus
    from modelscope_cli.errors import ModelscopeError
    from modelscope_cli.formats.files_below import Met

    publisher = Publisher(wanted, SCHEMA, color, Unit.auto, github=github, judging=True)
    publisher.refuse([*([policy_path] if policy_path else []), *paths])
    problems: list[ModelscopeError] = []
    unread: list[ModelscopeError] = []
    safeties: list[Safety] = []
    left_out: list[tuple[str, str]] = []
    met = Met()
    for output in wanted:
        if output.file is not None:
            met.is_new(output.file)
    folders: list[ModelscopeError] = []
    in_folders: list[str] = []
    with LateStatus() as status:
        for number, (path, asked) in enumerate(files_of(paths, bounds, met, folders.append, left_out)):
            status.step(f"scanning {os.path.basename(path)}" + (f", {number:,} files done" if number else ""))
            wrong: ModelscopeError | None
            try:
                safety = judged(path, bounds, policy)
            except ModelscopeError as error:
                unread.append(error)
                wrong = error
            else:
                safeties.append(safety)
                wrong = safety.problem or (safety.scanned.problem if asked and safety.verdict is None else None)
            if wrong is not None and asked:
                tell(fitting(wrong))
                problems.append(wrong)
            elif wrong is not None:
                in_folders.append(path)
    unread += folders
    in_folders += [problem.path or "" for problem in folders]
    if in_folders:
        summed = unread_in_folders(in_folders)
        tell(summed)
        problems.append(summed)
    for problem in set_problems(paths, bounds):
        tell(fitting(problem))
        problems.append(problem)
    if not safeties and not unread:
        nothing = nothing_found(paths, left_out)
        tell(nothing)
        problems.append(nothing)
    failed = False
    if safeties or unread:
        failed = publisher.add(partial(to_report, safeties, title=title_of(paths), unread=unread, left_out=left_out))
    failed = publisher.finish([fitting(problem) for problem in problems]) or failed or bool(problems)
    if fail_on is not FailOn.never and grave(worst(safeties)) >= grave(fail_on.value):
        raise typer.Exit(FAILED)
    if failed:
        raise typer.Exit(UNREADABLE)


def unread_in_folders(files: list[str]) -> ModelscopeError:
    """One problem for all files of folders that could not be read: each has its verdict and its finding."""
    from modelscope_cli.errors import SourceError

    named = ", ".join(map(os.path.basename, files[:FEW])) + (" …" if len(files) > FEW else "")
    count = f"{len(files):,} {'file' if len(files) == 1 else 'files'}"
    said = f"{count} could not be read, or not to the end: {named}"
    return SourceError(said, hint="the verdicts say why, and -f json has them all")


def fitting(problem: ModelscopeError) -> ModelscopeError:
    """The problem without advice that is for those who want to see the model."""
    from modelscope_cli.errors import LimitError, MissingExtraError, SourceError

    if problem.hint is None or isinstance(problem, LimitError | MissingExtraError | SourceError):
        return problem
    problem.hint = None
    return problem


def files_of(
    paths: list[str],
    bounds: Limits,
    met: Met,
    told: Callable[[ModelscopeError], None],
    left_out: list[tuple[str, str]],
) -> Iterator[tuple[str, bool]]:
    """(file, whether it was named itself): each once, folders with everything below them."""
    from modelscope_cli.formats.files_below import files_below

    for path in paths:
        if os.path.isdir(path):
            for file in files_below(path, told, bounds, met, lambda place, why: left_out.append((place, why))):
                yield file, False
        elif met.is_new(path):
            yield path, True


def nothing_found(paths: list[str], left_out: list[tuple[str, str]]) -> ModelscopeError:
    """That there is nothing to scan is no verdict: a folder may have been misspelt."""
    from modelscope_cli.errors import SourceError

    hint = "; ".join(f"{place}: {why}" for place, why in left_out[:FEW]) if left_out else "is it the folder you mean?"
    return SourceError("no files to scan", path=paths[0], hint=hint)


def judged(path: str, bounds: Limits, policy: Policy | None) -> Safety:
    """The verdict on one file."""
    from modelscope_cli.analysis.safety import Safety
    from modelscope_cli.cli.clock import Clock
    from modelscope_cli.cli.reading import guarded
    from modelscope_cli.core.scanned import Scanned
    from modelscope_cli.errors import ModelscopeError
    from modelscope_cli.formats.registry import read_window
    from modelscope_cli.formats.scanning import scan_file

    found = Scanned(path)
    try:
        with Clock(bounds.seconds, path):
            return Safety(guarded(lambda: scan_file(path, bounds, read_window, found), path), policy)
    except ModelscopeError as problem:
        if not found.streams and not found.signs:
            raise
        found.problem = problem  # the time was up, or the memory: what was found until then counts
        return Safety(found, policy)


def title_of(paths: list[str]) -> str:
    """What was scanned, as one name."""
    paths = list(dict.fromkeys(paths))
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1:,} more"


def set_problems(paths: list[str], bounds: Limits) -> list[ModelscopeError]:
    """What is wrong with checkpoints of several files as a whole: a shard that is missing, pieces outside their file."""
    from modelscope_cli.cli.reading import guarded, read_in_time
    from modelscope_cli.errors import ModelscopeError
    from modelscope_cli.formats.locate import locate

    problems: list[ModelscopeError] = []
    for target in locate([path for path in paths if os.path.isdir(path)]).found:
        if target.reader is None and target.shards is None and target.index_path is None:
            continue
        try:
            checkpoint = guarded(partial(read_in_time, target, bounds), target.path)
        except ModelscopeError as problem:
            problems.append(problem)
            continue
        problems += [ModelscopeError(note.message, path=note.where) for note in checkpoint.notes if note.severity == "error"]
    return problems
