"""Archives without a model that is read: named by the models of other programs in them, or by what there is."""

from __future__ import annotations

from collections.abc import Iterable

from modelscope_cli.core.folder import SAME
from modelscope_cli.core.place import typed
from modelscope_cli.errors import ModelscopeError, UnknownFormatError, UnsupportedFeatureError
from modelscope_cli.formats.archive import Archive, shortened
from modelscope_cli.formats.archive_members import foreign
from modelscope_cli.formats.folder_names import by_name, may_hold_a_model
from modelscope_cli.formats.known import BY_NAME, Recognised
from modelscope_cli.formats.known_archive import archive_error, look
from modelscope_cli.formats.known_kinds import FILE, MODELS

MOST_OPENED = 64  # files whose first bytes are looked at
MOST_RANKED = 5_000
FEW = 3  # kinds, and files of each, that are named
LEFT_OUT = ("archive-outside", "archive-special", "archive-links")  # notes on members that are no files to read
ANY_FILES = ("archive", "source-zip", "wheel", "apk", "jar")  # kinds of archives in which a model may lie; others are one


def foreign_models(archive: Archive) -> ModelscopeError | None:
    """The error that names the models of other programs in an archive, or pointers to models; None where there are none."""
    names = list(archive.files)
    kind = look(names).kind
    if kind not in ANY_FILES:
        return None
    kinds: dict[str, list[tuple[str, Recognised]]] = {}
    for name in sorted(some_of_each(names), key=rank)[:MOST_OPENED]:
        found = foreign(archive, name)
        if found is not None and (found.kind.group == MODELS or found.kind.name == "lfs-pointer"):
            kinds.setdefault(found.kind.title.partition(":")[0], []).append((name, found))
    if not kinds:
        return None
    common = sorted(kinds.items(), key=lambda row: -len(row[1]))[:FEW]
    name, first = common[0][1][0]
    what = f"this is {BY_NAME[kind].title.partition(',')[0]} with {'; '.join(counted(*row) for row in common)}"
    hint = first.hint.replace(FILE, typed(archive.at(name)))
    if first.kind.group == MODELS:
        return UnsupportedFeatureError(f"{what}, not read yet", path=archive.path, hint=hint)
    return UnknownFormatError(what, path=archive.path, hint=hint)


def some_of_each(names: Iterable[str]) -> list[str]:
    """A few names of each suffix: to rank very many takes long."""
    found: dict[str, list[str]] = {}
    for name in names:
        alike = found.setdefault(name[-4:], [])
        if len(alike) < MOST_OPENED:
            alike.append(name)
    return [name for alike in found.values() for name in alike][:MOST_RANKED]


def rank(name: str) -> int:
    """Names of other programs' models come first, then those that a model may have."""
    own = name.rpartition("/")[2]
    said = by_name(own)
    return 0 if said is not None and said.what == SAME else 1 if may_hold_a_model(own) else 2 if said is None else 3


def counted(title: str, files: list[tuple[str, Recognised]]) -> str:
    """'an ONNX model (a.onnx)', '2 files, each an ONNX model (a.onnx, b.onnx)'."""
    names = ", ".join(shortened(name) for name, _ in files[:FEW]) + (", …" if len(files) > FEW else "")
    return f"{title} ({names})" if len(files) == 1 else f"{len(files):,} files, each {title} ({names})"


def without_models(archive: Archive) -> ModelscopeError:
    """The error for an archive in which no model was found: it names what there is."""
    left_out = [note.message for note in archive.notes if note.code in LEFT_OUT]
    if left_out and not archive.files:
        return UnknownFormatError(f"an archive without a file that can be read: {left_out[0]}", path=archive.path)
    return foreign_models(archive) or archive_error(list(archive.files), archive.path)
