"""Rules as they are written down: mscope.toml, or [tool.modelscope-cli] in pyproject.toml.

    baseline = "model.baseline.json"          what growth is measured against; paths are relative to this file
    max-size = "520 MB"
    forbid-optimizer-state = true

    [modules."decoder.layers.*"]              for each module that matches
    max-parameters = "4.3 M"

    [models."weights/*.pth"]                  for these files only, over what stands above
    max-size = "200 MB"

    [scan]                                    how mscope scan, forbid-unsafe and report judge what loading executes
    policy = "policy.toml"
    fail-on = "dangerous"

What is not understood is a SettingsError that names the nearest right word.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Sequence
from typing import Any, NamedTuple

from modelscope_cli.checks.patterns import Pattern
from modelscope_cli.checks.quantities import shown
from modelscope_cli.checks.registry import NAMES, RULES, rule_named
from modelscope_cli.checks.rule import MODULE, WHOLE, Demand, Rule
from modelscope_cli.errors import SettingsError, SourceError

FILES = ("mscope.toml", "pyproject.toml")  # the first that is there and speaks of us
TABLE = "modelscope-cli"  # under [tool] in pyproject.toml
OTHER_KEYS = ("baseline", "strict", "modules", "models", "scan")
FAIL_ON = ("unknown", "suspicious", "dangerous", "never")
LARGEST = 1 << 20  # bytes of a configuration


class Settings(NamedTuple):
    """What is asked of some models. `folder` is where relative paths start; `models` are settings for paths that match a pattern."""

    origin: str = ""
    folder: str = ""
    demands: tuple[Demand, ...] = ()
    baseline: str | None = None
    strict: bool | None = None  # None: not said
    models: tuple[tuple[str, Settings], ...] = ()
    policy: str | None = None  # a file of names that are allowed or denied
    fail_on: str | None = None  # the verdict from which a scan fails

    def for_paths(self, paths: Sequence[str]) -> Settings:
        """What is asked of one model: the general demands, and over them those for its path, its index, a shard or its folder."""
        found = self._replace(models=())
        for pattern, settings in self.models:
            if any(_fits(pattern, path, self.folder) for path in paths):
                found = found.over(settings)
        return found.over(Settings())  # where no pattern fits, switches that are off are left out all the same

    def over(self, other: Settings) -> Settings:
        """These settings with another's over them: a switch that the other turns off is off."""
        demands = {(demand.rule.name, demand.target): demand for demand in (*self.demands, *other.demands)}
        kept = tuple(demand for demand in demands.values() if demand.value is not False)  # a switch that is off asks nothing
        strict = self.strict if other.strict is None else other.strict
        return self._replace(
            demands=kept,
            baseline=other.baseline or self.baseline,
            strict=strict,
            policy=other.policy or self.policy,
            fail_on=other.fail_on or self.fail_on,
        )

    def lacking(self) -> Demand | None:
        """A demand that needs a baseline, where there is none."""
        return next((demand for demand in self.demands if demand.rule.needs_baseline), None) if self.baseline is None else None

    def paths(self) -> tuple[list[str], list[str]]:
        """The files that the patterns of `models` find, and the patterns that find none. A path without signs is one, there or not."""
        import glob

        found: dict[str, None] = {}
        empty: list[str] = []
        for pattern, _ in self.models:
            place = os.path.join(glob.escape(self.folder), pattern.replace("[", "[[]"))
            plain = [] if re.search(r"[*?]", pattern) else [os.path.join(self.folder, pattern)]
            paths = sorted(glob.glob(place, recursive=True)) or plain
            found.update((os.path.relpath(path), None) for path in paths)
            empty += [] if paths else [pattern]
        return list(found), empty


def weaker(level: str, other: str) -> bool:
    """Whether a level to fail on lets more pass than another; `never` lets everything pass."""
    return FAIL_ON.index(level) > FAIL_ON.index(other)


def find_settings(start: str = ".") -> Settings:
    """The settings of the folder, or of the nearest one above it in the same repository; empty ones when none has any.

    Outside of a repository nothing above the folder counts: /tmp/mscope.toml may be anybody's.
    """
    folder = os.path.abspath(start)
    for place in _inside_repository(folder):
        for name in FILES:
            path = os.path.join(place, name)
            if os.path.isfile(path):
                found = read_settings(path, required=False)
                if found is not None:
                    return found
    return Settings()


def _inside_repository(folder: str) -> list[str]:
    """The folder, and those above it up to the one with .git; it alone where there is none."""
    places = [folder]
    while not os.path.exists(os.path.join(places[-1], ".git")):
        above = os.path.dirname(places[-1])
        if above == places[-1]:
            return [folder]
        places.append(above)
    return places


def read_settings(path: str, *, required: bool = True) -> Settings | None:
    """The settings in a file. None when it is a pyproject.toml without our table and none is `required`."""
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # no such file; a name with a NUL in it
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"cannot be read: {reason.lower()}", path=path) from None
    if len(data) > LARGEST:
        raise SettingsError(f"is longer than a configuration of {LARGEST:,} bytes may be", path=path)
    try:
        table: Any = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # not Unicode, not TOML, an integer of thousands of digits
        if not required and os.path.basename(path) == "pyproject.toml" and TABLE.encode() not in data:
            return None
        raise SettingsError(f"is not TOML: {error}", path=path) from None
    if os.path.basename(path) == "pyproject.toml":
        tool = table.get("tool")
        table = tool.get(TABLE) if isinstance(tool, dict) else None
        if table is None:
            if required:
                raise SettingsError(f"has no table [tool.{TABLE}]", path=path)
            return None
    return settings_of(table, os.path.relpath(path), os.path.dirname(os.path.abspath(path)))


def settings_of(table: Any, origin: str, folder: str, *, inner: bool = False) -> Settings:
    """The settings in a table of plain values."""
    if not isinstance(table, dict):
        raise SettingsError(f"[tool.{TABLE}] is not a table", path=origin)
    demands: list[Demand] = []
    models: list[tuple[str, Settings]] = []
    baseline: str | None = None
    strict: bool | None = None
    policy: str | None = None
    fail_on: str | None = None
    for key, value in table.items():
        if key == "modules":
            demands += _module_demands(value, origin)
        elif key == "models" and not inner:
            for pattern, inside in _tables(value, "models", origin):
                models.append((pattern, settings_of(inside, origin, folder, inner=True)))
        elif key == "scan" and not inner:
            policy, fail_on = _scan_settings(value, origin, folder)
        elif key == "baseline":
            if not isinstance(value, str) or not value:
                raise SettingsError(f"baseline = {shown(value)} is not the name of a file", path=origin)
            baseline = os.path.relpath(os.path.join(folder, value))
        elif key == "strict":
            if not isinstance(value, bool):
                raise SettingsError(f"strict = {shown(value)} is neither true nor false", path=origin)
            strict = value
        else:
            rule = rule_named(key)
            if rule is None:
                known = tuple(word for word in (*NAMES, *OTHER_KEYS) if word != key)
                raise SettingsError(f"there is no rule {shown(key)}{nearest(key, known)}", path=origin)
            demands.append(demand(rule, value, None, origin))
    return Settings(origin, folder, tuple(demands), baseline, strict, tuple(models), policy, fail_on)


def demand(rule: Rule, written: object, pattern: str | None, origin: str) -> Demand:
    """A demand as it was written; the value of a switch may be False. Raises SettingsError."""
    name = rule.name if pattern is None else f"{rule.name} of {shown(pattern)}"
    scope = WHOLE if pattern is None else MODULE
    if scope not in rule.scopes:
        raise SettingsError(f"{name}: this rule is about {' and '.join(rule.scopes)} only", path=origin or None)
    try:
        value = rule.value(written)
        return Demand(rule, value, Pattern(pattern) if pattern is not None else None, origin)
    except (ValueError, re.error) as error:
        raise SettingsError(f"{name}: {error}", path=origin or None) from None


def nearest(word: str, known: tuple[str, ...]) -> str:
    """A hint at what may have been meant."""
    close = difflib.get_close_matches(word.replace("_", "-").lower(), known, 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(rule.name for rule in RULES)}"


def _scan_settings(value: Any, origin: str, folder: str) -> tuple[str | None, str | None]:
    """The policy file and the level to fail on in [scan]."""
    if not isinstance(value, dict):
        raise SettingsError("scan is a table: write [scan]", path=origin)
    for key in value.keys() - {"policy", "fail-on"}:
        raise SettingsError(f"[scan]: there is no {shown(key)}; there are policy and fail-on", path=origin)
    policy, fail_on = value.get("policy"), value.get("fail-on")
    if policy is not None and (not isinstance(policy, str) or not policy):
        raise SettingsError(f"[scan]: policy = {shown(policy)} is not the name of a file", path=origin)
    if fail_on is not None and fail_on not in FAIL_ON:
        raise SettingsError(f"[scan]: fail-on = {shown(fail_on)} is none of {', '.join(FAIL_ON)}", path=origin)
    return (os.path.relpath(os.path.join(folder, policy)) if policy else None), fail_on


def _module_demands(value: Any, origin: str) -> list[Demand]:
    demands: list[Demand] = []
    allowed = tuple(rule.name for rule in RULES if MODULE in rule.scopes)
    for pattern, inside in _tables(value, "modules", origin):
        for key, written in inside.items():
            rule = rule_named(key)
            if rule is None:
                raise SettingsError(
                    f"[modules.{shown(pattern)}]: there is no rule {shown(key)}{nearest(key, allowed)}", path=origin
                )
            demands.append(demand(rule, written, pattern, origin))
    return demands


def _tables(value: Any, key: str, origin: str) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(value, dict) or not all(isinstance(inside, dict) for inside in value.values()):
        raise SettingsError(f'{key} is a table of tables: write [{key}."pattern"]', path=origin)
    return list(value.items())


def _fits(pattern: str, path: str, folder: str) -> bool:
    """Whether a path, or the folder it is in, matches a pattern relative to `folder`. A * stays within one folder, ** does not."""
    folder = os.path.realpath(folder)
    relative = os.path.relpath(os.path.realpath(path), folder).replace(os.sep, "/")
    pattern = os.path.relpath(os.path.join(folder, pattern), folder).replace(os.sep, "/")  # ./weights/ is weights
    if relative.startswith("../") and not pattern.startswith("../"):
        return False
    pieces = re.split(r"(\*\*/?|\*|\?)", pattern)
    signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    regex = re.compile("".join(signs.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL)
    return any(regex.fullmatch(each) for each in (relative, os.path.dirname(relative)) if each)
