"""The policy that files are judged by: --policy, or [scan] in mscope.toml."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from modelscope_cli.analysis.policy import Policy
    from modelscope_cli.checks.settings import Settings

PolicyFile = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="TOML with \\[\\[allow]], \\[\\[suspect]] and \\[\\[deny]]: names and a reason, judged before ours; default: "
        "\\[scan] policy in mscope.toml.",
        rich_help_panel="Where rules come from",
        show_default=False,
    ),
]


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


def believed(settings: Settings, config: str | None, paths: Sequence[str]) -> Settings:
    """The settings without [scan] where they were found in what is to be judged: whoever wrote the files may have written them.

    What was named with --config is believed wherever it lies.
    """
    if config is not None or (settings.policy is None and settings.fail_on is None):
        return settings
    home = os.path.realpath(settings.folder)
    for path in paths:
        place = os.path.realpath(path)
        if os.path.isdir(place) and os.path.commonpath((home, place)) == place:
            from modelscope_cli.cli.problems import say
            from modelscope_cli.render.plain import visible

            say(
                f"mscope: {visible(settings.origin)}: lies in what is judged, so its [scan] does not count - if it is yours, "
                f"say --config {visible(settings.origin)}"
            )
            return settings._replace(policy=None, fail_on=None)
    return settings
