"""`mscope scan`: can this file be opened without fear?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from modelscope_cli.cli.options import Color, LimitChanges, Unit, limits
from modelscope_cli.cli.output import OUTPUT, TABLE, Colors, Files, Github, Output, Publisher, complete_documents, outputs

if TYPE_CHECKING:
    from modelscope_cli.analysis.policy import Policy
    from modelscope_cli.analysis.safety import Safety
    from modelscope_cli.core.limits import Limits
    from modelscope_cli.errors import ModelscopeError

FAILED = 1
JUDGING = "Judging"  # a panel of the help

HELP = """Say what loading a file would execute, and how grave that is. Nothing is executed, imported or written.

Every name that a pickle imports and every call it makes is listed with its byte, in whatever archive, member, nested file or \
suffix it hides; verdicts come from a policy that judges each name with its reason. \
safe: only what torch's weights-only loader and honest files need. unknown: names nobody has judged. \
suspicious: what no honest file needs. dangerous: loading it can run what its author wanted. \
Folders are gone through with all that is in them.

Exit codes: 0 fine, 1 a verdict at or above --fail-on, 2 wrong usage, 3 something could not be read.

\b
Examples:
  mscope scan model.pt                              what would torch.load execute?
  mscope scan downloads/                            every file in a folder
  mscope scan model.pt --fail-on dangerous          let suspicious ones pass
  mscope scan model.pt -o scan.sarif -o scan.md     for code scanning, and for people
  mscope scan model.pt --policy ours.toml           \\[\\[allow]] names = \\["shop.Net"], reason = "ours"
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
        FailOn, typer.Option("--fail-on", help="The verdict from which the exit code is 1.", rich_help_panel=JUDGING)
    ] = FailOn.suspicious,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            metavar="FILE",
            help="TOML with \\[\\[allow]], \\[\\[suspect]] and \\[\\[deny]]: names and a reason, judged before ours.",
            rich_help_panel=JUDGING,
            show_default=False,
        ),
    ] = None,
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
    run(paths, chosen_policy(policy), wanted, color, fail_on, limits(limit), github=github, policy_path=policy)


def chosen_policy(path: str | None) -> Policy | None:
    """The policy of a file before ours; one that is not understood is wrong usage."""
    if path is None:
        return None
    from modelscope_cli.analysis.policy_file import read_policy
    from modelscope_cli.errors import SettingsError

    try:
        return read_policy(path)
    except SettingsError as error:
        from modelscope_cli.render.plain import visible

        raise typer.BadParameter(visible(str(error)), param_hint="'--policy'") from None


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
    from modelscope_cli.errors import ModelscopeError

    publisher = Publisher(wanted, SCHEMA, color, Unit.auto, github=github, judging=True)
    publisher.refuse([policy_path] if policy_path else [])
    problems: list[ModelscopeError] = []
    safeties: list[Safety] = []
    for path, asked in files_of(paths, problems):
        publisher.refuse([path])
        try:
            safety = judged(path, bounds, policy)
        except ModelscopeError as problem:
            tell(problem)
            problems.append(problem)
            continue
        safeties.append(safety)
        unread = safety.problem or (safety.scanned.problem if asked and safety.verdict is None else None)
        if unread is not None:
            tell(unread)
            problems.append(unread)
    for unread in set_problems(paths, bounds):
        tell(unread)
        problems.append(unread)
    failed = False
    if safeties:
        failed = publisher.add(partial(to_report, safeties, title=title_of(paths)))
    failed = publisher.finish(problems) or failed or bool(problems)
    if fail_on is not FailOn.never and grave(worst(safeties)) >= grave(fail_on.value):
        raise typer.Exit(FAILED)
    if failed:
        raise typer.Exit(UNREADABLE)


def judged(path: str, bounds: Limits, policy: Policy | None) -> Safety:
    """The verdict on one file."""
    from modelscope_cli.analysis.safety import Safety
    from modelscope_cli.cli.clock import Clock
    from modelscope_cli.cli.progress import LateProgress
    from modelscope_cli.cli.reading import guarded
    from modelscope_cli.formats.registry import read_window
    from modelscope_cli.formats.scanning import scan_file

    with LateProgress(path), Clock(bounds.seconds, path):
        return Safety(guarded(lambda: scan_file(path, bounds, read_window), path), policy)


def title_of(paths: list[str]) -> str:
    """What was scanned, as one name."""
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1:,} more"


def files_of(paths: list[str], problems: list[ModelscopeError]) -> Iterator[tuple[str, bool]]:
    """(file, whether it was named itself): each file once, folders with everything below them, links to folders not followed."""
    from modelscope_cli.cli.problems import tell
    from modelscope_cli.core.window import source_error

    seen: set[tuple[int, int]] = set()
    for path in paths:
        if not os.path.isdir(path):
            yield path, True
            continue

        def told(error: OSError) -> None:
            problem = source_error(str(error.filename), error)
            tell(problem)
            problems.append(problem)

        for folder, folders, names in os.walk(path, onerror=told):
            folders[:] = sorted(name for name in folders if name != ".git")
            for name in sorted(names):
                file = os.path.join(folder, name)
                try:
                    found = os.stat(file)
                except OSError as error:
                    told(error)
                    continue
                identity = (found.st_dev, found.st_ino)
                if identity not in seen or not found.st_ino:
                    seen.add(identity)
                    yield file, False


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
