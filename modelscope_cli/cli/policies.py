"""By what files are judged: our policy, --policy, and [scan] in a settings file.

    --policy, --fail-on, and [scan] of a file that --config names      count as they are
    [scan] of a settings file that was only found                      counts where it is stricter than the defaults

Whoever publishes a model can put a mscope.toml beside it, and the working folder may be what was downloaded. So a file that nobody
named never makes a verdict milder, and what it would have made milder is told. So is what a file that counts does make milder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

import typer

from modelscope_cli.cli.rules import CONFIGURED
from modelscope_cli.core.scan_codes import SAFE, SUSPICIOUS, UNKNOWN

if TYPE_CHECKING:
    from modelscope_cli.analysis.policy import Policy
    from modelscope_cli.analysis.safety import Safety
    from modelscope_cli.checks.settings import Settings

PolicyFile = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="TOML with \\[\\[allow]], \\[\\[suspect]] and \\[\\[deny]]: names and a reason, judged before ours; default: "
        "\\[scan] policy of --config, or of a mscope.toml found upwards as far as that is stricter.",
        rich_help_panel=CONFIGURED,
        show_default=False,
    ),
]
FEW = 3  # names in a line


class Criteria:
    """The policy and the level to fail on, of options and of settings. `named` says that --config named the settings."""

    def __init__(self, settings: Settings, *, named: bool, policy: str | None = None, fail_on: str | None = None):
        from modelscope_cli.checks.settings import weaker

        self.origin = settings.origin
        self.named = named
        self.policy_path = policy or settings.policy
        self.trusted = named or policy is not None  # the policy
        self.from_settings = policy is None and settings.policy is not None
        said = settings.fail_on if fail_on is None else None
        self.overruled = said if said is not None and not named and weaker(said, SUSPICIOUS) else None
        self.weakened = said if said is not None and named and weaker(said, SUSPICIOUS) else None
        self.fail_on = fail_on or (said if self.overruled is None else None) or SUSPICIOUS
        self._told: set[str] = set()

    @cached_property
    def policy(self) -> Policy | None:
        """Our policy with the rows of a file before it; None for ours alone. One that is not understood is wrong usage."""
        path = self.policy_path
        if path is None:
            return None
        from modelscope_cli.analysis.policy import Policy
        from modelscope_cli.analysis.policy_file import read_policy
        from modelscope_cli.analysis.policy_stricter import StricterPolicy
        from modelscope_cli.errors import SettingsError
        from modelscope_cli.render.plain import visible

        try:
            if not self.trusted and os.path.exists(path) and not os.path.isfile(path):
                raise SettingsError("the policy is no file", path=path)  # a pipe would keep us waiting
            return read_policy(path, Policy if self.trusted else StricterPolicy)
        except SettingsError as error:
            where = f" (\\[scan] policy of {visible(self.origin)}; --no-config reads none)" if self.from_settings else ""
            raise typer.BadParameter(visible(str(error)) + where.replace("\\[", "["), param_hint="'--policy'") from None

    def tell(self, safeties: Sequence[Safety]) -> None:
        """Say on stderr what made verdicts milder than they would be, or would have; each once."""
        from modelscope_cli.cli.problems import say
        from modelscope_cli.render.plain import visible

        for line in self._lines(safeties):
            if line not in self._told:
                self._told.add(line)
                say(f"mscope: {visible(line)}")

    def _lines(self, safeties: Sequence[Safety]) -> list[str]:
        from modelscope_cli.analysis.policy import grave
        from modelscope_cli.analysis.safety import worst
        from modelscope_cli.checks.settings import weaker

        level = worst(safeties)
        milder = self.weakened or self.overruled
        lines = []
        if milder is not None and grave(level) >= grave(SUSPICIOUS) and weaker(milder, level):
            said = f'{self.origin}: [scan] fail-on = "{milder}"'
            if self.weakened:
                lines.append(f"{said}: so what is {level} here does not fail")
            else:
                lines.append(f"{said} does not count: {self._unnamed()}")
        if self.policy is None:
            return lines
        if not self.trusted:
            held = self._overruled_names()
            lines += [f"{self.policy_path}: does not make {held}: {self._unnamed()}"] if held else []
            return lines
        from modelscope_cli.checks.safety import loosened

        allowed: dict[str, str] = {}
        for safety in safeties:
            if self.from_settings or safety.verdict != SAFE:  # else the line of the verdict says it
                allowed.update(loosened(safety))
        if allowed:
            of = f" ([scan] policy of {self.origin})" if self.from_settings else ""
            lines.append(f"{self.policy_path}{of}: makes milder {_few(allowed, ' without it')}")
        return lines

    def _overruled_names(self) -> str:
        from modelscope_cli.analysis.policy_stricter import StricterPolicy

        policy = self.policy
        if not isinstance(policy, StricterPolicy):
            return ""
        held = {path: level for path, level in policy.overruled.items() if level != UNKNOWN} or policy.overruled
        return f"milder {_few(held)}" if held else ""

    def _unnamed(self) -> str:
        return f"{self.origin} was found, not named - if it is yours, say --config {self.origin}"


def _few(levels: dict[str, str], end: str = "") -> str:
    """Names with their levels, the first few."""
    shown = [f"{path} ({level}{end})" for path, level in list(levels.items())[:FEW]]
    more = [f"{len(levels) - FEW:,} more"] if len(levels) > FEW else []
    return ", ".join([*shown, *more])
