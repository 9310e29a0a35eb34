"""`modelscope_cli.check(...)`: the rules from Python, for a test suite."""

from __future__ import annotations

import warnings
from functools import partial

from modelscope_cli.analysis.overview import inspect
from modelscope_cli.checks.check import Check
from modelscope_cli.checks.check import check as judge
from modelscope_cli.checks.rule import Subject, whole
from modelscope_cli.checks.safety import Bench, Judged, asks
from modelscope_cli.checks.settings import Settings, read_settings, settings_of
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.limits import DEFAULT_LIMITS, Limits
from modelscope_cli.core.scan_codes import SUSPICIOUS
from modelscope_cli.errors import SettingsError
from modelscope_cli.formats.locate import Target, locate, names_of
from modelscope_cli.formats.looking import Looking
from modelscope_cli.formats.registry import read, read_target


def check(
    path: str,
    baseline: str | None,
    config: str | None,
    modules: dict[str, dict[str, object]],
    rules: dict[str, object],
    limits: Limits | None,
    *,
    strict: bool,
) -> Check:
    """The verdicts of all rules on the checkpoint at a path. Raises ModelscopeError."""
    bounds = limits or DEFAULT_LIMITS
    located = locate([path], limits=bounds)
    for problem in located.problems:
        raise problem
    names = names_of(located.found[0])
    settings = (read_settings(config) or Settings()).for_paths(names) if config is not None else Settings()
    given: dict[str, object] = {_key(name): value for name, value in rules.items()}
    if modules:
        given["modules"] = {
            pattern: {_key(name): value for name, value in inside.items()} if isinstance(inside, dict) else inside
            for pattern, inside in modules.items()
        }
    asked = settings.over(settings_of(given, "", ".", inner=True))
    if not asked.demands:
        raise SettingsError("there is no rule to check", hint='give one: max_size="500 MB", or config="mscope.toml"')
    asked = asked._replace(baseline=baseline or asked.baseline)
    needing = asked.lacking()
    if needing is not None:
        raise SettingsError(f"{needing.rule.name} needs something to compare with", hint="give baseline=")
    target, looking = located.found[0], Looking(bounds) if asks(asked.demands) else None
    checkpoint = whole(read_target(target, bounds, look=looking), "it cannot be judged")
    old = whole(read(asked.baseline, bounds), "nothing can be measured against it") if asked.baseline is not None else None
    safety = None
    if looking is not None:
        safety = partial(_judged, looking, checkpoint, target, located.found, asked)
    subject = Subject(inspect(checkpoint), old, safety)
    result = judge(subject, asked.demands, strict=strict or bool(asked.strict), origin=config or "")
    for verdict in result.verdicts:
        if verdict.status == "warning":
            warnings.warn(f"{verdict.rule} {verdict.target}".rstrip() + f": {verdict.message}; {verdict.todo}", stacklevel=3)
    return result


def _judged(looking: Looking, checkpoint: Checkpoint, target: Target, targets: list[Target], asked: Settings) -> Judged:
    """The verdicts of a scan, by the policy of the settings."""
    from modelscope_cli.analysis.policy_file import read_policy

    own, rest = looking.own(checkpoint, target), looking.around(target, targets)
    policy = read_policy(asked.policy) if asked.policy is not None else None
    return Judged(
        Bench(policy).judge(own.scans + rest.scans), asked.fail_on or SUSPICIOUS, own.unread + rest.unread, asked.origin
    )


def _key(name: str) -> str:
    return name.replace("_", "-")
