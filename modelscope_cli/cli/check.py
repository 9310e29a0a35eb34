"""`mscope check`: does a model file keep within the limits of its team?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelscope_cli.checks.registry import RULES
from modelscope_cli.cli.options import Color, LimitChanges, Only, Unit, limits
from modelscope_cli.cli.output import OUTPUT, TABLE, Colors, Files, Github, Output, Publisher, complete_documents, outputs
from modelscope_cli.cli.policies import Criteria, PolicyFile
from modelscope_cli.cli.rules import (
    CONFIGURED,
    Baseline,
    Config,
    Judge,
    NoConfig,
    Strict,
    flag_settings,
    settings_for,
    usage,
    with_rules,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelscope_cli.checks.settings import Settings
    from modelscope_cli.cli.looking import Safeties
    from modelscope_cli.cli.reading import Unread
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.errors import ModelscopeError
    from modelscope_cli.formats.locate import Target

FAILED = 1

HELP = """Hold model files to limits: a line a rule, exit code 1 when one is broken.

Rules stand in mscope.toml or in \\[tool.modelscope-cli] of pyproject.toml (`mscope init PATH` writes a first one), or are given as \
flags, which come over those of the file. A rule with MODULE= in front holds for each module that matches, by itself: \
`--max-share embedding=45%`, `--max-parameters 'decoder.layers.*=4.3M'`.

Exit codes: 0 all passed, 1 a rule failed (whatever else could not be read or written), 2 wrong usage (or a rule that is not \
understood), 3 something could not be read or written.

\b
Examples:
  mscope check weights.pth                          the rules of mscope.toml
  mscope check weights.pth --max-size 500MB --forbid-optimizer-state
  mscope check weights.pth -b model.baseline.json --max-growth 5%
  mscope check weights.pth --max-share embedding=45%
  mscope check                                      the files in mscope.toml
  mscope check weights.pth -o checks.xml -o checks.md
  mscope check --list-rules
"""


def list_rules(wanted: bool) -> None:
    """Print the rules, and end."""
    if not wanted:
        return
    from modelscope_cli.cli.problems import print_line

    widest = max(len(rule.name) for rule in RULES)
    print_line("Rules of mscope check, with an example of each as it stands in mscope.toml:")
    for rule in RULES:
        print_line("")
        print_line(f"  {rule.name.ljust(widest)}  {rule.summary}")
        needs = "; needs a baseline" if rule.needs_baseline else ""
        print_line(f"  {''.ljust(widest)}  {rule.name} = {rule.example}   about {' or '.join(rule.scopes)}{needs}")
    raise typer.Exit


@with_rules
def check(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Model files, shards, index files or folders; without any: those that \\[models] in mscope.toml names.",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    no_config: NoConfig = False,
    baseline: Baseline = None,
    strict: Strict = False,
    policy: PolicyFile = None,
    allow_none: Annotated[
        bool,
        typer.Option(
            "--allow-none", help="Without any rule, pass (and say so) instead of refusing.", rich_help_panel=CONFIGURED
        ),
    ] = False,
    list_rules: Annotated[
        bool, typer.Option("--list-rules", help="Show all rules and exit.", callback=list_rules, is_eager=True)
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            metavar="FORMAT",
            help="table, json, junit, sarif, markdown, html, csv or tsv.",
            rich_help_panel=OUTPUT,
            show_default=False,
            autocompletion=complete_documents,
        ),
    ] = None,
    output: Files = None,
    github: Github = False,
    color: Colors = Color.auto,
    only: Only = False,
    limit: LimitChanges = None,
    **rules: Any,
) -> None:
    """Read the rules, then the files; the help text is HELP."""
    from modelscope_cli.errors import SettingsError

    settings = settings_for(config, none=no_config)
    try:
        flags = flag_settings(rules)
    except SettingsError as error:
        raise usage(error) from None
    empty: list[str] = []
    if not paths:
        paths, empty = settings.paths()
    if not paths:
        raise typer.BadParameter(
            "name a model file"
            + (f": [models] in {settings.origin} finds none" if settings.models else ", or files in [models] of mscope.toml"),
            param_hint="PATH",
        )
    wanted = outputs(format, output, TABLE)
    if all(each.file is not None for each in wanted):
        wanted.append(Output(TABLE, None))  # the verdict is for the log, whatever goes into files
    criteria = Criteria(settings, named=config is not None, policy=policy)
    judge = Judge(settings, flags, baseline, limits(limit), strict=strict, criteria=criteria)
    for pattern in empty:
        from modelscope_cli.cli.problems import say
        from modelscope_cli.render.plain import visible

        say(f"mscope: {visible(settings.origin)}: [models.{visible(repr(pattern))}] finds no file")
    broken = bool(empty) and (strict or bool(settings.strict))
    run(paths, judge, wanted, color, only=only, github=github, allow_none=allow_none, broken=broken)


def run(
    paths: list[str],
    judge: Judge,
    wanted: list[Output],
    color: Color,
    *,
    only: bool,
    github: bool,
    allow_none: bool,
    broken: bool,
) -> None:
    """Judge every path; 1 when what was read breaks a rule, else 3 when something could not be read or written."""
    from modelscope_cli.analysis.overview import inspect
    from modelscope_cli.checks.check import SCHEMA, to_report
    from modelscope_cli.checks.safety import NAME as FORBID_UNSAFE
    from modelscope_cli.checks.safety import asks
    from modelscope_cli.cli.overwriting import judged_files
    from modelscope_cli.cli.problems import UNREADABLE, say
    from modelscope_cli.cli.reading import find, in_time, readable
    from modelscope_cli.render.plain import visible

    unread: list[Unread] = []
    targets, problems = find(paths, only=only, bounds=judge.bounds, unread=unread)
    asked = judge.asked_of(targets)
    for target, settings in zip(targets, asked, strict=True):
        if not allow_none:
            refuse_none(target.path, settings)
    publisher = Publisher(wanted, SCHEMA, color, Unit.auto, github=github, judging=True)
    publisher.targets(targets)
    publisher.refuse(judge.read_besides())
    every = [*asked, *(judge.asked_at(lost.path) for lost in unread)]
    safeties = judge.safeties(paths) if any([asks(settings.demands) for settings in every]) else None
    failed = False
    looking_at = safeties.looking_at if safeties is not None else None

    def judge_one(number: int, checkpoint: Checkpoint) -> tuple[bool, bool]:
        """Whether it breaks a rule, and whether what is said of it could not be written."""
        publisher.model(checkpoint)
        if not asked[number].demands:
            say(f"mscope: {visible(checkpoint.path)}: there is no rule, so nothing was checked")
        unlooked = False  # whether forbid-unsafe fails for what could not be looked at, and for no verdict
        if safeties is not None and asks(asked[number].demands):
            safety = safeties.of(checkpoint, targets[number], targets, around=True)
            safety()  # first, so that the verdict is there whatever the rest takes
            overview = inspect(checkpoint)
            result = judge.judged(overview, asked[number], problems, safety)
            publisher.refuse(judged_files(safety()))
            safeties.tell(safety(), problems)
            unlooked = bool(safety().problems) and not safety().failing
        else:
            result = judge.judged(inspect(checkpoint), asked[number], problems)
        if asked[number].demands and not result.verdicts:  # all of them needed the baseline that could not be read
            return False, False
        if result.subject.baseline is not None:
            publisher.model(result.subject.baseline)
        breaks = any([verdict.rule != FORBID_UNSAFE or not unlooked for verdict in result.failed])
        return breaks, publisher.add(lambda detail: to_report(result))

    for number, checkpoint in readable(targets, problems, judge.bounds, lenient=False, looking_at=looking_at, unread=unread):
        said = in_time(partial(judge_one, number, checkpoint), checkpoint.path, judge.bounds, problems, unread, number)
        if said is not None:
            broken, failed = broken or said[0], failed or said[1]
    if safeties is not None and unread:
        broken = judge_unread(unread, targets, asked, judge, safeties, publisher, problems) or broken
    failed = publisher.finish(problems) or failed or bool(problems)
    if failed or broken:
        raise typer.Exit(FAILED if broken else UNREADABLE)


def judge_unread(
    unread: Sequence[Unread],
    targets: Sequence[Target],
    asked: Sequence[Settings],
    judge: Judge,
    safeties: Safeties,
    publisher: Publisher,
    problems: list[ModelscopeError],
) -> bool:
    """Judge what lies where no model could be read, as far as that goes. Whether it breaks a rule."""
    from modelscope_cli.checks.safety import asks
    from modelscope_cli.checks.unread import to_report, verdicts
    from modelscope_cli.cli.overwriting import judged_files

    broken = False
    for left in unread:
        demands = (judge.asked_at(left.path) if left.number is None else asked[left.number]).demands
        looked = safeties.unread(left, targets, unread) if asks(demands) else None
        if looked is None or not looked.safeties:  # there is nothing at all
            continue
        publisher.refuse(judged_files(looked))
        safeties.tell(looked, problems)
        broken = broken or bool(looked.failing)
        report = to_report(left.path, left.problem, looked, verdicts(demands, looked), judge.settings.origin)
        publisher.add(lambda detail, report=report: report)  # type: ignore[misc]
    return broken


def refuse_none(path: str, asked: Settings) -> None:
    """A check without a rule would pass whatever came."""
    if not asked.demands:
        from modelscope_cli.render.plain import visible

        raise typer.BadParameter(
            f"there is no rule for {visible(path)}: give one as a flag (--list-rules shows them), or write them down "
            f"(mscope init {visible(path)} makes a first mscope.toml)"
        )
