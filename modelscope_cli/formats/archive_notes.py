"""What is said of a checkpoint that was read out of an archive: where its files lie, how, and what was odd or left out."""

from __future__ import annotations

import os
from collections.abc import Iterable

from modelscope_cli.core.checkpoint import Note
from modelscope_cli.formats.archive import Archive

WHOLE = "zip-trailing zip-two-ends zip-prefix tar-end archive-links archive-special archive-outside archive-trailing"  # of the archive, not of a member


def notes_on(archive: Archive, paths: Iterable[str], *, inner: bool = False) -> list[Note]:
    """Notes on the files at some paths, and on the archives they lie in. `inner`: the file is an archive that was looked into."""
    prefix = len(archive.at(""))
    names = [name for path in paths if (name := path[prefix:].replace(os.sep, "/")) in archive.files]
    held = set(names)
    notes = [Note("archive", "info", archive.path, where(archive, names, inner=inner))] if names else []
    for note in archive.notes:
        if note.code in WHOLE.split() or note.where in held:
            notes.append(note._replace(where=archive.at(note.where) if note.where in held else archive.path))
    for name in names:
        unpacked = archive.unpacked.get(name)
        if archive.files[name].encrypted:
            message = "marked as encrypted, but it is not: programs that believe the mark do not look at it"
            notes.append(Note("zip-encrypted-flag", "warning", archive.at(name), message))
        if unpacked is not None and unpacked.trailing:
            message = f"{unpacked.trailing:,} bytes follow the compressed data"
            notes.append(Note("archive-trailing", "warning", archive.at(name), message))
    return notes + (notes_on(archive.outer, [archive.path], inner=True) if archive.outer is not None else [])


def where(archive: Archive, names: list[str], *, inner: bool) -> str:
    """One sentence: which archive, how the files lie in it, and (but for an inner archive) what the numbers of the report count."""
    said, whose, partly = placed(archive, names)
    return said if inner else f"{said}; sizes and offsets are those of {whose}{partly}"


def placed(archive: Archive, names: list[str]) -> tuple[str, str, str]:
    """How files lie in an archive, whose sizes are shown, and that not all had to be unpacked, where it had not."""
    files = [archive.files[name] for name in names]
    stored = sum(file.stored for file in files)
    packed = sorted({file.codec.name for file in files if file.codec is not None})
    several = len(names) > 1
    member = "the members" if several else "the member"
    reached = sum(archive.unpacked[name].reached for name in names if name in archive.unpacked)
    whole = sum(file.nbytes for file in files)
    partly = f", of which {reached:,} bytes had to be unpacked" if packed and reached < whole else ""
    if archive.alone:
        return f"unpacked from {packed[0]}, {archive.nbytes:,} bytes", "the unpacked file", partly
    said = f"{len(names):,} members" if several else "a member"
    said += f" of a {archive.what} of {archive.nbytes:,} bytes, "
    if packed:
        return (
            f"{said}compressed with {' and '.join(packed)} to {stored:,} of them",
            f"the unpacked file{'s' * several}",
            partly,
        )
    if "compressed" in archive.what:
        return f"{said}which was unpacked", member, ""
    place = "" if several else f" from byte {files[0].start:,} on"
    return f"{said}stored as {'they are' if several else 'it is'}{place}", member, ""
