"""Which module a user means by `--root`."""

from __future__ import annotations

import difflib
import re

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.errors import DrawingError

RANGE = re.compile(r"(?<![^.])(\d+)[–,…][\d–,…]*")  # 0–31, as pictures and tables write equal modules
MOST_COMPARED = 20_000
MOST_NAMED = 8


def find_root(ledger: Ledger, root: str) -> str:
    """The path of a module; of folded ones (layers.0–31) the first, since they are equal. Raises DrawingError with a hint."""
    path = RANGE.sub(r"\1", root)
    inside, parents = path + ".", ledger.parents
    if any([parent == path or parent.startswith(inside) for parent in parents]):
        return path
    if path in ledger.names:
        module = path.rpartition(".")[0]
        hint = f"it is a tensor of {module!r}: --root takes modules" if module else "it is a tensor: --root takes modules"
    else:
        modules = {module for parent in set(parents) for module in enclosing(parent)}
        close = difflib.get_close_matches(path, sorted(modules)[:MOST_COMPARED], 1)
        tops = sorted({module.partition(".")[0] for module in modules if module})
        named = ", ".join(tops[:MOST_NAMED]) + (", …" if len(tops) > MOST_NAMED else "")
        hint = f"did you mean {close[0]!r}?" if close else f"at the top are {named}"
    raise DrawingError(f"no module is called {root!r}", path=ledger.checkpoint.path, hint=hint)


def enclosing(path: str) -> list[str]:
    """A module path and those of all modules around it; none for the model itself."""
    parts = path.split(".")[:64] if path else []
    return [".".join(parts[: end + 1]) for end in range(len(parts))]
