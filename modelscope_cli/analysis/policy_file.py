"""A policy of one's own, in TOML: names that are allowed, questioned or forbidden, each with its reason. It comes before ours.

[[allow]]
names = ["shop.models.Net", "shop.layers.*"]
reason = "our own classes"

[[deny]]                                  # dangerous; [[suspect]] makes a name suspicious
names = ["old_library.*"]
reason = "has a loader that runs code"

A star stands at the end: for every name of a module and all below it, or for the rest of a name. `shop.layers` alone is the function
of that name, or the whole module where there is one. What can match nothing is an error.
"""

from __future__ import annotations

import os
import re
import tomllib
from typing import Any

from modelscope_cli.analysis.policy import Policy
from modelscope_cli.analysis.policy_levels import Row
from modelscope_cli.containers.python2_names import imported_as
from modelscope_cli.core.scan_codes import DANGEROUS, SAFE, SUSPICIOUS
from modelscope_cli.errors import SettingsError

TABLES = {"allow": SAFE, "suspect": SUSPICIOUS, "deny": DANGEROUS}
LARGEST = 1 << 20
MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
PATTERN = re.compile(r"(?!\d)(?:\w|\[[\w-]+\])*\*?", re.ASCII)  # of a name, without dots


def read_policy(path: str, kind: type[Policy] = Policy) -> Policy:
    """Our policy with the rows of a file before it. Raises SettingsError."""
    try:
        with open(path, "rb") as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        raise SettingsError(f"the policy cannot be read: {(error.strerror or str(error)).lower()}", path=path) from None
    try:
        document = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"the policy is no TOML: {error}", path=path) from None
    return kind(rows(document, path), os.path.basename(path))


def rows(document: dict[str, Any], path: str) -> list[Row]:
    """The rows of a policy file. Raises SettingsError for what is not understood."""
    found: list[Row] = []
    for key, entries in document.items():
        if key not in TABLES:
            raise SettingsError(f"{key!r} is none of {', '.join(TABLES)}", path=path)
        if not isinstance(entries, list):
            raise SettingsError(f"write [[{key}]], a list of tables", path=path)
        for entry in entries:
            if not isinstance(entry, dict) or not entry.keys() <= {"names", "reason"}:
                raise SettingsError(f"[[{key}]] holds names = [...] and reason = '...'", path=path)
            names, reason = entry.get("names"), entry.get("reason")
            if isinstance(names, str):
                names = [names]
            if not isinstance(names, list) or not names or not all(isinstance(name, str) and "." in name for name in names):
                raise SettingsError(f"[[{key}]] needs names like 'module.Name' or 'module.*'", path=path)
            if not isinstance(reason, str) or not reason.strip():
                raise SettingsError(f"[[{key}]] {', '.join(names[:3])}: say why, reason = '...'", path=path)
            said = f"{reason.strip()} ({'allowed by ' if key == 'allow' else ''}{os.path.basename(path)})"
            for name in names:
                wrong = never_matches(name)
                if wrong:
                    raise SettingsError(f"[[{key}]] {name!r} can match nothing: {wrong}", path=path)
                found += [(module, pattern, TABLES[key], said) for module, pattern in _read_as(name)]
    return found


def never_matches(name: str) -> str:
    """Why nothing that a pickle imports can be meant by a name of a policy; "" where something can."""
    module, _, last = name.rpartition(".")
    if not name.isascii():
        return "names with letters beyond ASCII are suspicious whatever a policy says"
    if "*" in module or "[" in module:
        return "a star stands only at the end, as in 'shop.layers.*'"
    if not MODULE.fullmatch(module):
        return f"{module!r} is no name of a module"
    if not last or not PATTERN.fullmatch(last):
        return f"{last!r} is no name; for all of a module write '{module}.*'"
    return ""


def _read_as(name: str) -> list[tuple[str, str]]:
    """The (module, name) of rows for a name: `a.B.C` is C of the module a.B, or the class B.C of the module a."""
    module, _, last = name.rpartition(".")
    if last == "*":
        return [(f"{module}.*", "*")]
    if "*" in last or "[" in last:
        return [(module, last)]
    parts = name.split(".")
    found = [imported_as(".".join(parts[:at]), ".".join(parts[at:])) for at in range(len(parts) - 1, 0, -1)]
    return found if last.lstrip("_")[:1].isupper() else [*found, (f"{name}.*", "*")]
