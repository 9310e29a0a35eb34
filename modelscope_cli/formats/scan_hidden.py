"""Pickles that stand where nothing says so: between raw numbers, members of an archive or pickles, behind its end, in its comment.

    … \\x80 protocol …                      where a pickle of protocol 2 to 5 begins
    … c module \\n name \\n …  i module …    where one of an older protocol imports, by GLOBAL or by INST
    … 'module' 'name' STACK_GLOBAL …       where any imports by two strings

Wherever one seems to begin, or to import, it is run. What imports may need what stands before it, so it is run with a mark before it
as well. Text can read as such lines by chance: there it has to come to an end, or to call what everybody has.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from modelscope_cli.containers.pickle_machine import CHUNK
from modelscope_cli.containers.pickle_nodes import Global
from modelscope_cli.core.scanned import PYTHON
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.errors import ModelscopeError

if TYPE_CHECKING:
    from modelscope_cli.formats.scan_pickles import Series
    from modelscope_cli.formats.scanning import Walk

_NAME = rb"[A-Za-z_][\w.]{0,80}"
_STRING = (
    rb"(?:(?:\x8c.|[XT].\0\0\0|U.|\x8d.\0{7})" + _NAME + rb"|V" + _NAME + rb"\n|S(?:'" + _NAME + rb"'|\"" + _NAME + rb"\")\n)"
    rb"(?:\x94|q.|r....|p\d{1,9}\n)?"
)
_LINES = rb"[ci](?=(" + _NAME + rb")\n(" + _NAME + rb")\n)"  # the lines of one may be the beginning of another
PICKLE_START = re.compile(rb"\x80[\x02-\x05]|" + _LINES + rb"|" + _STRING + _STRING + rb"\x93", re.DOTALL)
PLACES = 64  # times scanned_pickles: places that are looked at to find so many
PROTOCOL = 0x80
MARK, INST = ord("("), ord("i")
ROOTS = sys.stdlib_module_names | {"torch", "numpy", "__builtin__", "commands", "copy_reg"}
RECORDED = re.compile(r"\w+(?:Storage|Tensor)")  # what each record of the oldest format imports from torch


def hidden_in(walk: Walk, data: bytes, where: str, depth: int, *, told: str = "") -> bool:
    """Judge the pickles in bytes that belong to nothing; whether there was one. `told` is what is said of each place with one."""
    from modelscope_cli.formats.scan_pickles import Series

    if PICKLE_START.search(data) is None:
        return False
    series = Series(walk, MemoryWindow(data, where), where, depth + 1, PYTHON)
    try:
        first = search(series, data)
    except ModelscopeError as problem:
        walk.unseen(where, problem)
        return False
    if first is None:
        return False
    if told:
        walk.sign("hidden-pickle", where, told, first)
    return True


def search(series: Series, data: bytes, first: int = 0, *, base: int = 0, records: bool = False) -> int | None:
    """Run what may be pickles in `data`, which stands at `base` of the window; where the first one stands that was told.

    `records`: torch's own stand there, which are told too where a pickle comes to its end.
    """
    walk = series.walk
    line = 0
    places = PLACES * walk.limits.scanned_pickles
    found: int | None = None
    known: set[int] = set()  # where the imports stand that were told
    names: set[tuple[str, str]] = set()  # and what they are, up to `end`
    end = 0
    for match in PICKLE_START.finditer(data, first):
        at = base + match.start()
        places -= 1
        module, imported = match.groups(b"")
        named = module.decode("latin-1"), imported.decode("latin-1")
        within, line = at < line, max(line, base + match.end(1))  # a letter in a word begins an import of what is known only
        is_told = at in known or base + match.end() - 1 in known or (at < end and named in names)
        if places and (is_told or (module and _root(module) not in ROOTS and (within or _holds(module)))):
            continue
        if walk.tries <= 0 or walk.spare <= 0 or not places:
            limit = "opcodes" if walk.spare <= 0 else "scanned_pickles"
            walk.unseen(series.where, f"what may be pickles from byte {at:,} on (--limit {limit}=N)")
            break
        wanted = min(at + CHUNK, series.window.size)
        if len(series.data) < wanted:
            series.data += series.more(wanted - len(series.data))
        walk.tries -= 1
        plain = records and not _recorded(*named)
        before = walk.opcodes
        told = _run_at(series, at, records=records, by_itself=plain or match[0][0] == PROTOCOL)
        walk.spare -= before - walk.opcodes
        if told:
            known = {use.offset for use in told}
            names = {(use.module, use.name) for use in told}
            end = series.position
            found = at if found is None else found
    series.look_inside()
    return found


def _root(module: bytes) -> str:
    return module.partition(b".")[0].decode("latin-1")


def _holds(module: bytes) -> bool:
    """Whether an import of what is known begins within a word, as in "cpuctorch": then that is meant."""
    return any(letter in b"ci" and _root(module[at + 1 :]) in ROOTS for at, letter in enumerate(module))


def _run_at(series: Series, start: int, *, records: bool, by_itself: bool) -> list[Global]:
    """Run what begins there, and again with a mark before it; keep what it imports or calls. Where its imports stand, if it was told."""
    from modelscope_cli.formats.scan_pickles import named

    before = series.data[start - 1] if start else 0
    told: list[Global] = []
    for position in (start, start - 1) if start else (start,):
        if position < start:
            series.data[position] = MARK
        series.position = position
        machine, problem = series.one()
        uses = named(machine)
        known = [use for use in uses if use.module.partition(".")[0] in ROOTS and not _recorded(use.module, use.name)]
        called = any([use.calls for use in uses])
        if problem is None or records:
            is_one = bool(known) or called or (problem is None and by_itself)
        else:  # words in lines, as in "int" and "value", seem to import, and by INST to call
            is_one = any(series.data[site] != INST for use in known for site in use.sites or ())
        if uses and is_one:
            series.keep(machine, None)
            told += uses
        if series.data[start] == PROTOCOL or problem is None:
            break
    if start:
        series.data[start - 1] = before
    return told


def _recorded(module: str, name: str) -> bool:
    return module == "torch" and RECORDED.fullmatch(name) is not None
