"""The operators that TorchScript for mobile calls: bytecode.pkl has them by name, and its code runs while a module is loaded.

    (version, (method, (("instructions", …), ("operators", (("aten::add", "Scalar", 2), …)), …, ("types", ("List[int]", …)), …)), …)

torch runs the bytecode of a `__setstate__`; the sources in code/ beside it are for the full torch and need not be the same. Every text of
the pickle that reads as the name of an operator is judged, wherever it stands: texts cannot be put together while it is unpickled.
Facts: torch/csrc/jit/mobile/import.cpp, parse_operators.cpp (names are looked up as they are), parse_bytecode.cpp (types);
torch/csrc/jit/serialization/unpickler.cpp.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modelscope_cli.core.window import Window
from modelscope_cli.formats.source_words import NAMES_OF_FILES, OWN_OPERATORS, foreign_classes

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

# BINUNICODE, the one instruction for texts that torch's own unpickler knows: how long, and the text with more letters behind it.
TEXT = re.compile(rb"X(..)\0\0(?=([A-Za-z_]\w{0,99}+::[A-Za-z_]\w{0,199}))", re.DOTALL)
MOST_LISTED = 64  # names that are kept


def scan_bytecode(walk: Walk, window: Window, where: str) -> None:
    """Judge the operators and classes that a bytecode.pkl names. Raises a ModelscopeError for what cannot be read."""
    most = 4 * walk.limits.searched_bytes
    data = window.read(0, min(window.size, most))
    if window.size > most:
        walk.unseen(where, f"what follows the first {most:,} bytes of its bytecode (--limit searched_bytes=N)")
    files: set[str] = set()
    foreign: set[str] = set()
    for match in TEXT.finditer(data):
        length = int.from_bytes(match[1], "little")
        name = match[2][:length].decode("ascii")
        library, _, operator = name.partition("::")
        if length > len(match[2]):  # a text that goes on
            continue
        if NAMES_OF_FILES.fullmatch(operator):
            files.add(name)
        elif operator and library not in OWN_OPERATORS and len(foreign) < MOST_LISTED:
            foreign.add(library)
    if files:
        names = ", ".join(sorted(files)[:4])
        why = f"TorchScript bytecode that calls {names}: it reads or writes files when it is loaded or runs"
        walk.sign("script-files", where, why)
    if foreign:
        names = ", ".join(sorted(foreign)[:4])
        why = f"TorchScript bytecode that calls operators of {names}, a library that has not been judged"
        walk.sign("script-operators", where, why)
    classes = foreign_classes(data.decode("latin-1"))
    if classes:
        why = f"TorchScript bytecode that makes objects of {', '.join(classes[:4])}, a library that has not been judged"
        walk.sign("script-operators", where, why)
