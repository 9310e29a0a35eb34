"""Zip and tar archives that hold no model which is read: named by the members they have, and what is in them counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from modelscope_cli.errors import UnknownFormatError, UnsupportedFeatureError
from modelscope_cli.formats.known_protobuf import Found

SOURCE = ("py", "c", "cc", "cpp", "cu", "h", "hpp", "java", "js", "ts", "rs", "go", "ipynb", "sh")
MOST_SUFFIXES = 3  # that are named
LONGEST_SUFFIX = 12


class Contents(NamedTuple):
    """A kind, and whether the names of the members (files only) speak for it."""

    kind: str
    fits: Callable[[Sequence[str]], bool]


KINDS = (  # the first row that fits counts
    Contents("npz", lambda names: all(name.endswith(".npy") for name in names)),
    Contents("keras-zip", lambda names: "config.json" in names and any(name.startswith("model.weights.") for name in names)),
    Contents("savedmodel", lambda names: any(base(name) in ("saved_model.pb", "saved_model.pbtxt") for name in names)),
    Contents("coreml", lambda names: any(".mlpackage/" in name or name.endswith(".mlmodel") for name in names)),
    Contents("wheel", lambda names: any(name.endswith(".dist-info/WHEEL") for name in names)),
    Contents("apk", lambda names: "AndroidManifest.xml" in names),
    Contents("jar", lambda names: "META-INF/MANIFEST.MF" in names),
    Contents("office", lambda names: "[Content_Types].xml" in names or names[0] == "mimetype"),
    Contents("source-zip", lambda names: 2 * sum(suffix(name) in SOURCE for name in names) >= len(names)),
)


def look(names: Sequence[str]) -> Found:
    """Which kind of archive has these members; folders among them end in a slash."""
    files = [name for name in names if not name.endswith("/")]
    if not files:
        return Found("empty-archive", ("1 folder" if len(names) == 1 else f"{len(names):,} folders",) if names else ())
    kind = next((row.kind for row in KINDS if row.fits(files)), "archive")
    if kind == "npz":
        return Found(kind, ("1 array" if len(files) == 1 else f"{len(files):,} arrays",))
    return Found(kind, (counted(files),))


def counted(files: Sequence[str]) -> str:
    """How many there are, and of which suffixes most: 27 files, 20 .py, 3 .md, 4 others."""
    if len(files) == 1:
        return f"1 file, {files[0][-60:]}"
    suffixes = Counter(suffix(name) for name in files)
    suffixes.pop("", 0)
    common = suffixes.most_common(MOST_SUFFIXES)
    rest = len(files) - sum(count for _, count in common)
    said = [f"{count:,} .{name}" for name, count in common] + (
        ["1 other" if rest == 1 else f"{rest:,} others"] if rest and common else []
    )
    return ", ".join([f"{len(files):,} files", *said])


def base(name: str) -> str:
    return name.rpartition("/")[2]


def suffix(name: str) -> str:
    """The suffix in small letters, without its dot; empty where there is none."""
    stem, dot, found = base(name).rpartition(".")
    return found.lower() if dot and stem and len(found) <= LONGEST_SUFFIX else ""


def archive_error(names: Sequence[str], path: str) -> UnknownFormatError | UnsupportedFeatureError:
    """The error for a zip or tar with these members, none of which is read."""
    from modelscope_cli.formats.known import error_for, recognised

    return error_for(recognised(look(names)), path)
