"""The rules as options of a command: one flag a row of checks/registry.py, and where the rest of them is written down."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelscope_cli.checks.registry import RULES
from modelscope_cli.checks.rule import MODULE

if TYPE_CHECKING:
    from modelscope_cli.analysis.overview import Overview
    from modelscope_cli.checks.check import Check
    from modelscope_cli.checks.rule import Rule
    from modelscope_cli.checks.safety import Judged
    from modelscope_cli.checks.settings import Settings
    from modelscope_cli.cli.looking import Safeties
    from modelscope_cli.cli.policies import Criteria
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.core.limits import Limits
    from modelscope_cli.errors import ModelscopeError
    from modelscope_cli.formats.locate import Target

RULE_PANEL, CONFIGURED = "Rules", "Where rules come from"

Config = Annotated[
    str | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        help="mscope.toml, or a pyproject.toml with \\[tool.modelscope-cli]; default: the nearest upwards.",
        rich_help_panel=CONFIGURED,
        show_default=False,
    ),
]
NoConfig = Annotated[
    bool,
    typer.Option(
        "--no-config", help="Look for no mscope.toml and no pyproject.toml.", rich_help_panel=CONFIGURED, show_default=False
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        "-b",
        "--baseline",
        metavar="FILE",
        help="What growth is measured against: a file of `mscope baseline save`, or any checkpoint.",
        rich_help_panel=CONFIGURED,
        show_default=False,
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="A rule that meets nothing to judge fails.", rich_help_panel=CONFIGURED)]


def with_rules(command: Callable[..., None]) -> Callable[..., None]:
    """The command with a flag for every rule; it gets them as keywords, None or False where they are not given."""
    own = inspect.signature(command, eval_str=True)
    parameters = [parameter for parameter in own.parameters.values() if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    flags = [_flag(rule) for rule in RULES]
    signature = own.replace(parameters=[*parameters, *flags])

    def with_flags(**values: Any) -> None:
        command(**values)

    setattr(with_flags, "__signature__", signature)  # noqa: B010 - what typer makes the options from
    with_flags.__annotations__ = {parameter.name: parameter.annotation for parameter in signature.parameters.values()}
    with_flags.__doc__ = command.__doc__
    return with_flags


def keyword(rule: Rule) -> str:
    """The name of a rule in Python: max_size."""
    return rule.name.replace("-", "_")


def _flag(rule: Rule) -> inspect.Parameter:
    scoped = MODULE in rule.scopes
    option = typer.Option(
        f"--{rule.name}",
        metavar=None if rule.is_switch else "[MODULE=]VALUE" if scoped else "VALUE",
        help=rule.summary[0].upper() + rule.summary[1:] + ".",
        rich_help_panel=RULE_PANEL,
        show_default=False,
    )
    kind: Any = bool if rule.is_switch else list[str] | None
    return inspect.Parameter(
        keyword(rule),
        inspect.Parameter.KEYWORD_ONLY,
        default=False if rule.is_switch else None,
        annotation=Annotated[kind, option],
    )


def flag_settings(values: dict[str, Any]) -> Settings:
    """What the flags ask. Raises SettingsError."""
    from modelscope_cli.checks.settings import Settings, demand

    demands = []
    for rule in RULES:
        given = values.get(keyword(rule))
        if rule.is_switch:
            demands += [demand(rule, True, None, "")] if given else []
            continue
        values_of: dict[str | None, list[str]] = {}
        for written in given or ():
            pattern, sign, value = written.rpartition("=") if MODULE in rule.scopes else ("", "", written)
            values_of.setdefault(pattern if sign else None, []).append(value)
        for pattern, several in values_of.items():  # lists add up, of one limit given twice the last counts
            demands.append(demand(rule, ",".join(several) if rule.several else several[-1], pattern, ""))
    return Settings(demands=tuple(demands))


def usage(error: Exception) -> typer.BadParameter:
    """A SettingsError as wrong usage: exit code 2."""
    from modelscope_cli.render.plain import visible

    path = getattr(error, "path", None)
    message = getattr(error, "message", str(error))
    return typer.BadParameter(visible(f"{path}: {message}" if path else message))


def settings_for(config: str | None, *, none: bool = False) -> Settings:
    """The settings in a file that was named, or in the nearest one upwards; empty ones where `none` is to be looked for.

    Wrong ones end the command with exit code 2.
    """
    from modelscope_cli.checks.settings import Settings, find_settings, read_settings
    from modelscope_cli.cli.problems import UNREADABLE, tell
    from modelscope_cli.errors import SettingsError, SourceError

    if none:
        if config is not None:
            raise typer.BadParameter(f"contradicts --config {config!r}", param_hint="'--no-config'")
        return Settings()
    try:
        return (read_settings(config) or Settings()) if config is not None else find_settings()
    except SettingsError as error:
        raise usage(error) from None
    except SourceError as error:
        tell(error)
        raise typer.Exit(UNREADABLE) from None


class Judge:
    """Judges checkpoints by what is asked of each; baselines are read once."""

    def __init__(
        self,
        settings: Settings,
        flags: Settings,
        baseline: str | None,
        bounds: Limits,
        *,
        strict: bool,
        criteria: Criteria,
    ):
        self.criteria = criteria
        self.settings = settings
        self.flags = flags
        self.baseline = baseline
        self.bounds = bounds
        self.strict = strict
        self.baselines: dict[str, Checkpoint] = {}

    def asked_of(self, targets: Sequence[Target]) -> list[Settings]:
        """What is asked of each. One baseline for several models, unless [models] says so, is wrong usage."""
        asked = [self.asked(target) for target in targets]
        general = self.baseline or self.settings.baseline
        if general is not None and sum(settings.baseline == general for settings in asked) > 1:
            where = "--baseline" if self.baseline else f"baseline in {self.settings.origin}"
            raise typer.BadParameter(
                f'one baseline cannot fit several models: give each its own under [models."path"] in mscope.toml ({where})'
            )
        return asked

    def asked(self, target: Target) -> Settings:
        """What is asked of one checkpoint. A rule without the baseline it needs is wrong usage."""
        from modelscope_cli.formats.locate import names_of

        asked = self.settings.for_paths(names_of(target)).over(self.flags)
        asked = asked._replace(baseline=self.baseline or asked.baseline, strict=asked.strict or self.strict)
        needing = asked.lacking()
        if needing is not None:
            where = f"{needing.origin}: " if needing.origin else ""
            raise typer.BadParameter(
                f"{where}{needing.rule.name} needs something to compare with: --baseline FILE, or baseline = in mscope.toml "
                "(mscope baseline save PATH makes one)"
            )
        return asked

    def asked_at(self, path: str) -> Settings:
        """What is asked of what lies at a path where no model was found."""
        return self.settings.for_paths([path]).over(self.flags)

    def safeties(self, paths: Sequence[str]) -> Safeties:
        """What scans and judges the files behind paths. A policy that is not understood is wrong usage."""
        from modelscope_cli.cli.looking import Safeties

        return Safeties(self.bounds, self.criteria, paths)

    def read_besides(self) -> list[str]:
        """Files that the command reads, besides models and baselines."""
        return [path for path in (self.settings.origin, self.criteria.policy_path) if path]

    def judged(
        self,
        overview: Overview,
        asked: Settings,
        problems: list[ModelscopeError],
        safety: Callable[[], Judged] | None = None,
    ) -> Check:
        """The verdicts. Where the baseline cannot be read, that is told, and the rules that need none are judged all the same."""
        from modelscope_cli.checks.check import check
        from modelscope_cli.checks.rule import Subject
        from modelscope_cli.cli.problems import tell
        from modelscope_cli.errors import ModelscopeError

        against, demands = None, asked.demands
        try:
            against = self.against(asked)
        except ModelscopeError as problem:
            tell(problem)
            problems.append(problem)
            demands = tuple(demand for demand in demands if not demand.rule.needs_baseline)
        return check(Subject(overview, against, safety), demands, strict=bool(asked.strict), origin=self.settings.origin)

    def against(self, asked: Settings) -> Checkpoint | None:
        """The baseline of some settings. Raises ModelscopeError when it cannot be read."""
        from modelscope_cli.checks.rule import whole
        from modelscope_cli.cli.clock import Clock
        from modelscope_cli.errors import SourceError
        from modelscope_cli.formats.registry import read

        path = asked.baseline
        if path is None:
            return None
        if path not in self.baselines:
            try:
                with Clock.reading(self.bounds, path):
                    self.baselines[path] = whole(read(path, self.bounds), "nothing can be measured against it")
            except SourceError as error:
                error.hint = error.hint or f"mscope baseline save PATH -o {path} makes one"
                raise
        return self.baselines[path]
