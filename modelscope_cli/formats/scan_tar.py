"""A tar archive: each member by content. torch before 0.1.10 wrote its files so, and torch up to 2.5 unpickled them without asking."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modelscope_cli.containers.tar_directory import LINKS, read_tar_directory
from modelscope_cli.core.scanned import TORCH
from modelscope_cli.core.window import Window
from modelscope_cli.formats.archive import parts_of
from modelscope_cli.formats.archive_links import end_of, goals

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

TORCH_MEMBERS = ("sys_info", "pickle", "storages", "tensors")
RECORDS = ("storages", "tensors")  # pickles with raw numbers in between
PICKLE_START = re.compile(rb"\x80[\x02-\x05]")
SEARCHED = 4 << 20
MOST_TRIES = 2_000


def scan_tar(walk: Walk, window: Window, where: str, depth: int) -> None:
    """Look at every member."""
    directory = read_tar_directory(window, walk.limits)
    prefix = f"{where}/" if where else ""
    names: dict[str, int] = {}
    files = {"/".join(parts_of(member.name)) for member in directory.members if member.is_file} - {""}
    leads = goals(member for member in directory.members if member.kind in LINKS)
    walk.found.looked = walk.found.looked or not where
    for note in directory.notes:
        walk.sign(note.code, where, note.message)
    for member in directory.members:
        inner = f"{prefix}{member.name}"
        names[member.name] = names.get(member.name, 0) + 1
        if names[member.name] == 2 and member.is_file:
            walk.sign("tar-duplicate", inner, "several members have this name: programs differ in which they take")
        if member.name.startswith("/") or ".." in member.name.split("/"):
            walk.sign("tar-name", inner, "a member name that would leave the folder it is unpacked to")
        if not member.is_file:
            if member.kind in LINKS and not end_of(member, leads, files):
                walk.sign("tar-link", inner, "a link: where it leads is not followed")
            continue
        if member.stop == member.start:
            continue
        content = window.cut(member.start, member.stop - member.start, inner)
        if member.name in TORCH_MEMBERS:
            from modelscope_cli.formats.scan_pickles import Series

            Series(walk, content, inner, depth + 1, TORCH, one_of_many=member.name in RECORDS).run()
            if member.name in RECORDS:
                _records(walk, content, inner, depth)
        else:
            walk.content(content, inner, depth + 1)


def _records(walk: Walk, content: Window, where: str, depth: int) -> None:
    """Pickles that stand between raw numbers: wherever one seems to begin, it is run."""
    from modelscope_cli.formats.scan_pickles import Series

    data = content.head(min(content.size, SEARCHED))
    if content.size > SEARCHED:
        walk.unseen(where, f"records behind the first {SEARCHED:,} bytes")
    for tries, match in enumerate(PICKLE_START.finditer(data, 2)):
        begin = match.start()
        if tries >= MOST_TRIES or walk.opcodes <= 0:
            walk.unseen(where, f"what may be pickles from byte {begin:,} on")
            return
        series = Series(
            walk, content.cut(begin, content.size - begin, content.name), f"{where} at byte {begin:,}", depth + 1, TORCH
        )
        machine, problem = series.one()
        if machine.globals and (problem is None or any(use.calls for use in machine.globals.values())):
            series.keep(machine, None)
