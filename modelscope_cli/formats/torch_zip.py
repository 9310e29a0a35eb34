"""PyTorch's zip formats, whatever the suffix: which of them an archive is, and the plain one (torch.save since 1.6).

    ROOT/data.pkl       the object, its storages left as persistent ids ('storage', class, key, location, numel)
    ROOT/data/KEY       the bytes of a storage, aligned to 64 by padding the extra field of its local header
    ROOT/byteorder      and other records: see torch_archive

ROOT is the stem of the file's first name, or `archive`. Members are normally stored, but torch also reads deflated ones,
so a storage may take fewer bytes in the file than in memory. TorchScript, torch.export and torch.package write archives of
their own; members that only they have tell them apart (KINDS). Facts: caffe2/serialize/inline_container.h.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

from modelscope_cli.containers.zip_directory import read_zip_directory
from modelscope_cli.core.checkpoint import Checkpoint, Note
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.window import Window
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.torch_archive import Archive
from modelscope_cli.formats.torch_walk import Walk

TORCH_SAVE = "modelscope_cli.formats.torch_zip"
TORCHSCRIPT = "modelscope_cli.formats.torchscript"
OLD_TORCHSCRIPT = "modelscope_cli.formats.torchscript_json"

# What it is called, the member that tells (its folder is the root), the module that reads it. The first row that matches counts.
KINDS = (
    ("a torch.export archive (.pt2)", "archive_format", "modelscope_cli.formats.torch_export"),
    ("a torch.export archive (.pt2)", "archive_version", "modelscope_cli.formats.torch_export"),
    ("a torch.export archive (.pt2)", "serialized_exported_program.json", "modelscope_cli.formats.torch_export"),
    ("a torch.package archive", ".data/extern_modules", "modelscope_cli.formats.torch_package"),
    ("a TorchScript archive", "data.pkl", TORCHSCRIPT),
    ("a TorchScript archive of torch 1.0 to 1.3", "model.json", OLD_TORCHSCRIPT),
    ("a torch.save archive", "data.pkl", TORCH_SAVE),
)
BESIDE = {TORCHSCRIPT: "constants.pkl", OLD_TORCHSCRIPT: "code/"}  # must stand beside it; torch.load tells TorchScript so too


def read(window: Window, limits: Limits, *, lenient: bool = False) -> Checkpoint:
    """The checkpoint in a torch zip. Reads the directory, local headers, pickles and small records, no tensor data."""
    archive = Archive(window, read_zip_directory(window, limits), limits)
    found = kinds(archive)
    if not found:
        raise what_else(list(archive.members), archive.path)
    what, root, module = found[0]
    for other, folder, _ in found[1:]:
        if not folder.startswith(f"{root}.data/"):  # a package keeps TorchScript modules there
            look_at_other(archive, what, other, folder)
    checkpoint: Checkpoint = import_module(module).read_archive(archive, root)
    return checkpoint


def look_at_other(archive: Archive, what: str, other: str, folder: str) -> None:
    """Note that the archive is of a second kind as well, and what the pickle of that one would import and call."""
    message = f"read as {what}, but it holds {other} as well: programs differ in what they load"
    archive.notes.append(Note("several-kinds", "warning", archive.path, message))
    if f"{folder}data.pkl" in archive.members:
        with suppress(ModelscopeError):
            archive.unpickle(f"{folder}data.pkl", "pickle", lambda pid, offset: None)


def read_plain(window: Window, limits: Limits) -> Checkpoint:
    """The checkpoint in a torch.save archive that was found inside another file: no other kind will do."""
    archive = Archive(window, read_zip_directory(window, limits), limits)
    root = roots(archive, "data.pkl")
    if not root:
        raise what_else(list(archive.members), archive.path)
    return read_archive(archive, root[0])


def read_archive(archive: Archive, root: str) -> Checkpoint:
    """The checkpoint in what torch.save wrote."""
    archive.check_byteorder(root)
    walk = Walk(archive.table, f"{archive.path}:{root}data.pkl", archive.limits)
    walk.run(archive.unpickle(f"{root}data.pkl", "pickle", archive.storages(f"{root}data/").load))
    archive.label(f"{root}data/", "data")  # storages that no tensor refers to are still data
    return archive.checkpoint("torch-zip", walk=walk)


def kinds(archive: Archive) -> list[tuple[str, str, str]]:
    """(what it is, root folder, reader) for each kind that the members speak for."""
    found: dict[str, tuple[str, str, str]] = {}
    for what, tail, module in KINDS:
        for root in roots(archive, tail):
            if module == TORCH_SAVE and any(other in found and found[other][1] == root for other in BESIDE):
                continue
            if module not in BESIDE or archive.has(root + BESIDE[module]):
                found.setdefault(module, (what, root, module))
                break
    return list(found.values())


def roots(archive: Archive, tail: str) -> list[str]:
    """The folders (with their slash, or empty) that hold a member of a name, the outermost first."""
    found = [name.removesuffix(tail) for name in archive.members if name.endswith(tail)]
    return sorted((root for root in found if not root or root.endswith("/")), key=len)


def what_else(names: list[str], path: str) -> ModelscopeError:
    """The error for a zip that torch did not write, saying what it is."""
    from modelscope_cli.formats.known_archive import archive_error

    return archive_error(names, path)
