"""`mscope report`: one document with everything about a model file, in the formats that people and CI servers read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from modelscope_cli.cli.options import Color, Lenient, LimitChanges, Only, Unit, limits
from modelscope_cli.cli.output import OUTPUT, Files, Github, Output, Publisher, Units, outputs
from modelscope_cli.cli.policies import Criteria, PolicyFile
from modelscope_cli.cli.rules import Baseline, Config, Judge, NoConfig, Strict, settings_for

if TYPE_CHECKING:
    from modelscope_cli.analysis.overview import Overview
    from modelscope_cli.analysis.safety import Safety
    from modelscope_cli.checks.check import Check
    from modelscope_cli.checks.rule import Demand
    from modelscope_cli.checks.safety import Judged
    from modelscope_cli.cli.reading import Unread
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.report.document import Report, Section

MARKDOWN = "markdown"

HELP = """One document with everything about a model file, for people and for CI servers.

Totals, modules, kinds, dtypes, roles, shards, ties, waste, findings, metadata and architecture; where rules are \
written down (mscope.toml, pyproject.toml), their verdicts are in it; with a baseline, what changed since. \
html is one offline page with a table to sort and search, the diagram and the treemap; markdown fits a comment; junit is for \
the test panel of a CI server. All files come from one read. The report itself never fails a build: `mscope check` does.

Exit codes: 0 fine, 2 wrong usage, 3 something could not be read or written.

\b
Examples:
  mscope report weights.pth                         Markdown on stdout
  mscope report weights.pth -o report.html          a page to look at
  mscope report weights.pth -o report.md -o report.json -o report.xml
  mscope report weights.pth -b model.baseline.json -o comment.md
  mscope report weights.pth --github                step summary and annotations
  mscope report weights.pth -f tsv | cut -f 2,5     modules and their parameters
"""


def complete_formats(incomplete: str) -> list[str]:
    """Shell completion of --format."""
    from modelscope_cli.render.registry import NAMES

    return [name for name in NAMES if name.startswith(incomplete)]


def report(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Model files, shards, index files or folders.", show_default=False)
    ],
    format: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            metavar="FORMAT",
            help="markdown, html, json, junit, sarif, csv or tsv, for stdout and names without a suffix of these; default: markdown.",
            rich_help_panel=OUTPUT,
            show_default=False,
            autocompletion=complete_formats,
        ),
    ] = None,
    output: Files = None,
    github: Github = False,
    unit: Units = Unit.auto,
    config: Config = None,
    no_config: NoConfig = False,
    baseline: Baseline = None,
    strict: Strict = False,
    policy: PolicyFile = None,
    only: Only = False,
    lenient: Lenient = False,
    limit: LimitChanges = None,
) -> None:
    """Check the options, then read and write; the help text is HELP."""
    from modelscope_cli.checks.settings import Settings

    wanted = outputs(format, output, MARKDOWN, own=())
    if github and not format and not output:
        wanted = []  # the step summary has it
    settings = settings_for(config, none=no_config)
    judge = Judge(
        settings,
        Settings(),
        baseline,
        limits(limit),
        strict=strict,
        criteria=Criteria(settings, named=config is not None, policy=policy),
    )
    run(paths, judge, wanted, unit, only=only, lenient=lenient, github=github)


def run(
    paths: list[str], judge: Judge, wanted: Sequence[Output], unit: Unit, *, only: bool, lenient: bool, github: bool
) -> None:
    """Report on every path that can be read."""
    from modelscope_cli.analysis.folder_total import Totals
    from modelscope_cli.analysis.full_report import SCHEMA
    from modelscope_cli.analysis.overview import inspect
    from modelscope_cli.cli.overwriting import judged_files
    from modelscope_cli.cli.problems import UNREADABLE
    from modelscope_cli.cli.reading import find, in_time, readable

    unread: list[Unread] = []
    targets, problems = find(paths, only=only, bounds=judge.bounds, unread=unread)
    asked = judge.asked_of(targets)
    publisher = Publisher(wanted, SCHEMA, Color.never, unit, github=github)
    publisher.targets(targets)
    publisher.refuse(judge.read_besides())
    safeties = judge.safeties(paths)
    failed, totals = False, Totals()
    looking_at = safeties.looking_at

    def make(number: int, checkpoint: Checkpoint) -> bool:
        publisher.model(checkpoint)
        safety = safeties.of(checkpoint, targets[number], targets, around=True)
        safety()  # first, so that the verdict is there whatever the rest takes
        overview = inspect(checkpoint)
        totals.add(overview)
        publisher.refuse(judged_files(safety()))
        result = judge.judged(overview, asked[number], problems, safety)
        safeties.tell(safety(), problems)
        if result.subject.baseline is not None:
            publisher.model(result.subject.baseline)
        drawn = pictures(overview) if publisher.pictured else ()
        return publisher.add(Making(overview, result, drawn, safety().safeties))

    for number, checkpoint in readable(targets, problems, judge.bounds, lenient=lenient, looking_at=looking_at, unread=unread):
        said = in_time(partial(make, number, checkpoint), checkpoint.path, judge.bounds, problems, unread, number)
        failed = said is not False or failed
    for left in unread:
        looked = safeties.unread(left, targets, unread)
        if all([one.verdict is None for one in looked.safeties]):  # there is nothing, or nothing that is judged
            continue
        publisher.refuse(judged_files(looked))
        safeties.tell(looked, problems)
        settings = judge.asked_at(left.path) if left.number is None else asked[left.number]
        publisher.add(Unjudged(left, looked, settings.demands))
    failed = publisher.finish(problems) or failed or bool(problems)
    if failed:
        raise typer.Exit(UNREADABLE)


class Making:
    """Makes the report of one checkpoint in as much detail as is asked for."""

    def __init__(self, overview: Overview, result: Check, drawn: Sequence[Section], safeties: Sequence[Safety]):
        self.overview = overview
        self.result = result
        self.drawn = drawn
        self.safeties = safeties  # none where there is only a description of the model

    def __call__(self, detail: str) -> Report:
        from modelscope_cli.analysis.full_report import to_report
        from modelscope_cli.checks.check import verdicts
        from modelscope_cli.report.document import PICTURED

        result = self.result
        judged = verdicts(result) if result.verdicts else None
        since: Report | None = None
        if result.subject.baseline is not None:
            from modelscope_cli.analysis import diff_report

            since = diff_report.to_report(result.subject.diff, detail)
        drawn = self.drawn if detail == PICTURED else ()
        return to_report(self.overview, detail, verdicts=judged, since=since, pictures=drawn, safeties=self.safeties)


class Unjudged:
    """Makes the report of what lies where no model could be read, in as much detail as is asked for."""

    def __init__(self, left: Unread, judged: Judged, demands: Sequence[Demand]):
        self.left = left
        self.judged = judged
        self.demands = demands

    def __call__(self, detail: str) -> Report:
        from modelscope_cli.analysis.unread import to_report
        from modelscope_cli.checks.unread import verdicts

        said = verdicts(self.demands, self.judged) if self.demands else None
        return to_report(self.left.path, self.left.problem, self.judged.safeties, detail, said)


def pictures(overview: Overview) -> list[Section]:
    """The diagram and the treemap of a page. A diagram that cannot be drawn is left out, and that is said."""
    from modelscope_cli.analysis.byte_tree import byte_tree
    from modelscope_cli.cli.problems import say
    from modelscope_cli.engines import diagram
    from modelscope_cli.errors import DrawingError
    from modelscope_cli.render.plain import visible
    from modelscope_cli.report.document import Areas, Drawing

    drawn: list[Section] = []
    try:
        drawn.append(Drawing("diagram", "Diagram", *diagram.light_and_dark(overview.checkpoint, overview.tree)))
    except DrawingError as problem:
        say(f"mscope: {visible(overview.checkpoint.path)}: without a diagram: {visible(problem.message)}")
    if overview.checkpoint.nbytes:
        drawn.append(Areas("map", "Where the bytes are", byte_tree(overview)))
    return drawn
