"""`mscope scan`: can this file be opened without fear?"""

from __future__ import annotations

import os
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from modelscope_cli.cli.options import Color, LimitChanges, Unit, limits
from modelscope_cli.cli.output import (
    OUTPUT,
    TABLE,
    Colors,
    Github,
    Output,
    Publisher,
    complete_documents,
    outputs,
    within_limits,
)
from modelscope_cli.cli.policies import Criteria, PolicyFile
from modelscope_cli.cli.rules import Config, NoConfig, settings_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelscope_cli.analysis.policy import Policy
    from modelscope_cli.analysis.safety import Safety
    from modelscope_cli.core.limits import Limits
    from modelscope_cli.errors import ModelscopeError

FAILED = 1
MOST_TOLD = 20  # verdicts on stderr
JUDGING = "Judging"  # a panel of the help

HELP = """Say what loading a file would execute, and how grave that is. Nothing is executed, imported or written.

Every name that a pickle imports is listed with its byte and how often it is called, in whatever archive, member, nested file or \
suffix it hides; verdicts come from a policy that judges each name with its reason. \
safe: only what torch's weights-only loader and honest files need. unknown: names nobody has judged. \
suspicious: what no honest file needs. dangerous: loading it can run what its author wanted. \
Folders are gone through with all that is in them, but for .git.

Exit codes: 0 fine (what is left out of a folder is listed), 1 a verdict at or above --fail-on (whatever else could not be read or \
written), 2 wrong usage, 3 something could not be read or written, or a file that was named is of a kind that is not judged.

\b
Examples:
  mscope scan model.pt                           what would torch.load run?
  mscope scan downloads/                         every file in a folder
  mscope scan 'all.zip!/a/model.pt'              a file in an archive
  mscope scan model.pt --fail-on dangerous       let suspicious ones pass
  mscope scan model.pt -o scan.sarif -o scan.md  code scanning, and people
  mscope scan model.pt --policy ours.toml        names of our own
  mscope scan model.pt --config mscope.toml      with all of its \\[scan]
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
            metavar="LEVEL",
            help="unknown, suspicious (the default), dangerous or never: the verdict from which the exit code is 1.",
            rich_help_panel=JUDGING,
            show_default=False,
        ),
    ] = None,
    policy: PolicyFile = None,
    config: Config = None,
    no_config: NoConfig = False,
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
    output: Annotated[
        list[str] | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write to a file, - for stdout; may be given again. The suffix decides: .md .html .json .sarif .csv .tsv. "
            "No file that is scanned is written over, but for JSON, SARIF and JUnit of mscope itself.",
            rich_help_panel=OUTPUT,
            show_default=False,
        ),
    ] = None,
    github: Github = False,
    color: Colors = Color.auto,
    limit: LimitChanges = None,
) -> None:
    """Check the options, then scan; the help text is HELP."""
    wanted = outputs(format, output, TABLE, without=("junit",))
    if all(each.file is not None for each in wanted):
        wanted.append(Output(TABLE, None))  # the verdict is for the log, whatever goes into files
    settings = settings_for(config, none=no_config)
    criteria = Criteria(settings, named=config is not None, policy=policy, fail_on=fail_on and fail_on.value)
    run(paths, criteria, wanted, color, limits(limit), github=github)


def run(
    paths: list[str],
    criteria: Criteria,
    wanted: list[Output],
    color: Color,
    bounds: Limits,
    *,
    github: bool,
) -> None:
    """Scan every file; 1 when a verdict is grave enough, else 3 when something could not be read or written."""
    from modelscope_cli.analysis.safety_report import SCHEMA, to_report
    from modelscope_cli.checks.safety import Judged
    from modelscope_cli.cli.problems import UNREADABLE, tell, told_if_spent
    from modelscope_cli.cli.progress import LateStatus
    from modelscope_cli.cli.scan_paths import ScanPaths, read_by, told_folders, unread_in_folders
    from modelscope_cli.errors import ModelscopeError

    policy = criteria.policy
    publisher = Publisher(wanted, SCHEMA, color, Unit.auto, github=github, judging=True)
    besides = [path for path in (criteria.policy_path, criteria.origin) if path]
    publisher.refuse([*besides, *(file for path in paths for file in read_by(path))])
    files = ScanPaths(paths, bounds, [output.file for output in wanted if output.file is not None])
    problems: list[ModelscopeError] = []
    unread: list[ModelscopeError] = []
    safeties: list[Safety] = []
    in_folders: list[str] = []
    with LateStatus() as status, told_if_spent(problems):
        for number, (path, asked) in enumerate(files):
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
            if wrong is not None:
                problems.append(wrong)
                if asked:
                    tell(fitting(wrong))
                else:
                    in_folders.append(path)
    unread += files.problems
    told = told_folders(files.problems)
    if in_folders:
        told.append(unread_in_folders(in_folders))
    others: list[ModelscopeError] = []
    with told_if_spent(problems):
        others += [fitting(problem) for problem in set_problems(paths, bounds)]
    if not safeties and not unread:
        others.append(files.nothing())
    for problem in told + others:  # of many files a line: documents have a problem of each
        tell(problem)
    problems += files.problems + others
    failing = Judged(safeties, criteria.fail_on).failing
    failed = False
    with told_if_spent(problems):
        criteria.tell(safeties)
        if safeties or unread:
            make = partial(to_report, safeties, title=title_of(paths), unread=unread, left_out=files.left_out, paths=paths)
            said = within_limits("the report", partial(publisher.add, make), problems)
            if said is None:
                tell_verdicts(failing)
            failed = said is not False
        failed = publisher.finish([fitting(problem) for problem in problems]) or failed
    if failing:
        raise typer.Exit(FAILED)
    if failed or problems:
        raise typer.Exit(UNREADABLE)


def tell_verdicts(failing: Sequence[Safety]) -> None:
    """The gravest verdicts, where there was no time or memory for a report."""
    from modelscope_cli.cli.problems import say
    from modelscope_cli.render.plain import visible

    for safety in failing[:MOST_TOLD]:
        say(f"mscope: {visible(safety.path)}: it is {safety.verdict}: {visible(str(safety.why))}")
    if len(failing) > MOST_TOLD:
        say(f"mscope: {len(failing) - MOST_TOLD:,} more files are as grave, or nearly")


def fitting(problem: ModelscopeError) -> ModelscopeError:
    """The problem without advice that is for those who want to see the model."""
    from modelscope_cli.errors import InternalError, LimitError, MissingExtraError, SourceError

    if problem.hint is None or isinstance(problem, InternalError | LimitError | MissingExtraError | SourceError):
        return problem
    problem.hint = None
    return problem


def judged(path: str, bounds: Limits, policy: Policy | None) -> Safety:
    """The verdict on one file, in an archive or not."""
    from modelscope_cli.analysis.safety import Safety
    from modelscope_cli.cli.clock import Clock
    from modelscope_cli.cli.looking import judged_or_unread
    from modelscope_cli.cli.reading import guarded
    from modelscope_cli.core.scanned import Scanned
    from modelscope_cli.errors import ModelscopeError, SourceError
    from modelscope_cli.formats.archive_paths import leads_inside, open_path
    from modelscope_cli.formats.locate import ADDRESS
    from modelscope_cli.formats.registry import read_window
    from modelscope_cli.formats.scanning import scan_file, scan_window

    if ADDRESS.match(path) and not os.path.lexists(path):
        raise SourceError("remote files: not yet", path=path, hint="download it first and give the local path")
    found = Scanned(path)

    def scan() -> Scanned:
        if not leads_inside(path):
            return scan_file(path, bounds, read_window, found)
        with open_path(path, bounds) as window:
            return scan_window(window, bounds, read_window, found)

    clock = Clock.reading(bounds, path)
    try:
        with clock:
            clock.keep_for_the_end()
            found = guarded(scan, path)
    except ModelscopeError as problem:
        if not found.has_something:
            raise
        found.problem = problem  # the time was up, or the memory: what was found until then counts
    clock.last()
    with clock.asking() as ends:
        safety = judged_or_unread(partial(Safety, found, policy, ends), found)
    clock.note()
    return safety


def title_of(paths: list[str]) -> str:
    """What was scanned, as one name."""
    paths = list(dict.fromkeys(paths))
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1:,} more"


def set_problems(paths: list[str], bounds: Limits) -> list[ModelscopeError]:
    """What is wrong with checkpoints of several files as a whole: a shard that is missing, pieces outside their file."""
    from modelscope_cli.cli.clock import Clock
    from modelscope_cli.cli.reading import guarded, read_in_time
    from modelscope_cli.errors import LimitError, ModelscopeError
    from modelscope_cli.formats.locate import locate

    problems: list[ModelscopeError] = []
    folders = [path for path in paths if os.path.isdir(path)]
    located = locate(
        folders,
        limits=bounds,
        timed=partial(Clock.reading, bounds),
        unpacking=lambda done, whole: Clock.running_now[-1].restart(),  # which has a limit of its own
    )
    problems += [  # what else is wrong a scan has told
        problem
        for problem in located.problems
        if isinstance(problem, LimitError) and problem.resource in ("seconds", "memory_bytes")
    ]
    for target in located.found:
        if target.reader is None and target.shards is None and target.index_path is None:
            continue
        try:
            checkpoint = guarded(partial(read_in_time, target, bounds), target.path)
        except ModelscopeError as problem:
            problems.append(problem)
            continue
        problems += [ModelscopeError(note.message, path=note.where) for note in checkpoint.notes if note.severity == "error"]
    return problems
