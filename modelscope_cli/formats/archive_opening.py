"""What makes an Archive of a file: a zip, a tar, a compressed tar, or one compressed file.

Formats that travel in an archive themselves are none: torch's zips and its old tar.
"""

from __future__ import annotations

import re

from modelscope_cli.containers.compressed import ZIP_METHODS, ZSTD, Codec, codec_of, method_named
from modelscope_cli.containers.tar_directory import LINKS, TarMember, looks_like_tar, read_tar_directory
from modelscope_cli.containers.unpacked import Budget, KeptWindow, Progress, UnpackedWindow
from modelscope_cli.containers.zip_directory import ENCRYPTED_FLAGS, STORED, Member, read_zip_directory
from modelscope_cli.containers.zstd_frames import content_size
from modelscope_cli.core.checkpoint import Note
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.place import SEPARATOR
from modelscope_cli.core.window import Window, open_window
from modelscope_cli.errors import CorruptFileError, LimitError, UnsupportedFeatureError
from modelscope_cli.formats.archive import HEAD, OPENED, Archive, File, first_bytes, some, unpacking
from modelscope_cli.formats.archive_links import add_links
from modelscope_cli.formats.archive_paths import ZIP_MAGIC, may_be_archive

TORCH_TAR = {"sys_info", "pickle", "storages", "tensors"}
FOLDER = b"5"
SPARSE = b"S"
SPARSE_FOLDER = re.compile(r"(^|/)GNUSparseFile\.\d+/")  # in the POSIX form of the same


def open_file(path: str, limits: Limits, progress: Progress | None = None) -> Archive | None:
    """The archive at a path, or None where there is something else."""
    window = KeptWindow(open_window(path))
    return open_archive(window, Budget(limits, progress), None) if may_be_archive(window.head(HEAD)) else None


def open_archive(window: Window, budget: Budget, outer: Archive | None) -> Archive | None:
    """The archive behind a window, or None: also for a damaged zip or tar, which its reader tells about."""
    head = window.head(HEAD)
    codec = codec_of(head)
    if codec is not None:
        archive = _compressed(window, codec, budget, outer)
    else:
        try:
            archive = _zip(window, budget, outer) if head.startswith(ZIP_MAGIC) else _tar(window, window.name, budget, outer)
        except (CorruptFileError, LimitError, UnsupportedFeatureError):
            return None
    if archive is not None:
        OPENED[archive.path] = archive
    return archive


def left(budget: Budget) -> Limits:
    """The limits, with as many members as the archives behind the same path have left."""
    return budget.limits._replace(members=max(0, budget.limits.members - budget.members))


def _zip(window: Window, budget: Budget, outer: Archive | None) -> Archive | None:
    directory = read_zip_directory(window, left(budget))
    budget.members += len(directory.members)
    if is_torch_zip([member.name for member in directory.members]):
        return None
    archive = Archive(window.name, "zip archive", window, outer, budget)
    archive.notes += [note for note in directory.notes if note.code != "zip-encrypted-flag"]
    outside = [member.name for member in directory.members if not _add_zip_member(archive, member)]
    _note_outside(archive, outside)
    return archive


def _add_zip_member(archive: Archive, member: Member) -> bool:
    if member.name.endswith("/") and not member.size:
        return True
    codec = ZIP_METHODS.get(member.method)
    refused = method_named(member.method) if codec is None and member.method != STORED else ""
    encrypted = bool(member.flags & ENCRYPTED_FLAGS)
    return archive.add(member.name, File(member.size, member.stored, member.start, codec, refused, encrypted))


def is_torch_zip(names: list[str]) -> bool:
    """Whether members speak for one of the archives that torch writes."""
    from modelscope_cli.formats.torch_zip import KINDS

    tails = {tail for _, tail, _ in KINDS} - {"model.json"}
    if any(name.rpartition("/")[2] in tails for name in names) or any(name.endswith(".data/extern_modules") for name in names):
        return True
    roots = [name.removesuffix("model.json") for name in names if name.rpartition("/")[2] == "model.json"]
    return any(name.startswith(f"{root}code/") for root in roots for name in names)


def _tar(window: Window, path: str, budget: Budget, outer: Archive | None, what: str = "tar archive") -> Archive | None:
    directory = read_tar_directory(window, left(budget))
    budget.members += len(directory.members)
    if len(TORCH_TAR.intersection(member.name for member in directory.members)) > 1:
        return None
    archive = Archive(path, what, window, outer, budget)
    archive.notes += directory.notes
    outside = [member.name for member in directory.members if not _add_tar_member(archive, member)]
    _note_outside(archive, outside)
    add_links(archive, directory.members)
    special = [
        member.name for member in directory.members if not member.is_file and member.kind not in (*LINKS, FOLDER, SPARSE)
    ]
    if special:
        message = f"members that are no ordinary files are not read: {some(special)}"
        archive.notes.append(Note("archive-special", "info", path, message))
    return archive


def _add_tar_member(archive: Archive, member: TarMember) -> bool:
    if not (member.is_file or member.kind == SPARSE) or member.name.endswith("/"):
        return True
    name = SPARSE_FOLDER.sub(r"\1", member.name)
    refused = "a sparse file of GNU tar" if member.kind == SPARSE or name != member.name else ""
    nbytes = member.stop - member.start
    return archive.add(name, File(nbytes, nbytes, member.start, refused=refused))


def _note_outside(archive: Archive, names: list[str]) -> None:
    if names:
        message = f"members whose names lead out of the archive, or are too long, are not read: {some(names)}"
        archive.notes.append(Note("archive-outside", "warning", archive.path, message))


def _compressed(window: Window, codec: Codec, budget: Budget, outer: Archive | None) -> Archive | None:
    """A compressed tar, or a compressed file. What is neither archive nor model is not unpacked."""
    head = first_bytes(unpacking(window, codec), HEAD)
    name = stem(window.name, codec)
    unpacked = None
    if looks_like_tar(head):
        unpacked = UnpackedWindow(
            window, f"{window.name}{SEPARATOR}{name}", lambda: unpacking(window, codec), budget, slow=codec.slow
        )
        archive = _tar(unpacked, window.name, budget, outer, f"{codec.name}-compressed tar archive")
        if archive is not None:
            archive.nbytes = window.size
            if unpacked.trailing:
                message = f"{unpacked.trailing:,} bytes follow the compressed data"
                archive.notes.append(Note("archive-trailing", "warning", window.name, message))
            return archive
    archive = Archive(window.name, f"{codec.name}-compressed file", window, outer, budget)
    archive.alone = True
    size = content_size(window) if codec is ZSTD else None
    archive.files[name] = File(-1 if size is None else size, window.size, 0, codec)
    if unpacked is not None:  # the tar that torch wrote before 0.1.10
        archive.unpacked[name] = unpacked
    return archive


def stem(path: str, codec: Codec) -> str:
    """A name for what unpacks out of a file: its own, without the suffix of the codec."""
    name = path.replace("\\", "/").rpartition("/")[2]
    for suffix in codec.suffixes:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name
