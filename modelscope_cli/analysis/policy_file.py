"""A policy of one's own, in TOML: names that are allowed, questioned or forbidden, each with its reason. It comes before ours.

[[allow]]
names = ["shop.models.Net", "shop.layers.*"]
reason = "our own classes"

[[deny]]                                  # dangerous; [[suspect]] makes a name suspicious
names = ["old_library.*"]
reason = "has a loader that runs code"
"""

from __future__ import annotations

import tomllib
from typing import Any

from modelscope_cli.analysis.policy import Policy
from modelscope_cli.analysis.policy_levels import Row
from modelscope_cli.core.scan_codes import DANGEROUS, SAFE, SUSPICIOUS
from modelscope_cli.errors import SettingsError

TABLES = {"allow": SAFE, "suspect": SUSPICIOUS, "deny": DANGEROUS}
LARGEST = 1 << 20


def read_policy(path: str) -> Policy:
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
    return Policy(rows(document, path))


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
            for name in names:
                module, _, last = name.rpartition(".")
                found.append((f"{module}.*" if last == "*" else module, last, TABLES[key], f"{reason.strip()} (your policy)"))
    return found
