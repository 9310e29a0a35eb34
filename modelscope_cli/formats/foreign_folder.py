"""Folders without a model that is read: named by the files that tell, which are looked into.

    saved_model.pb, variables/                    TensorFlow SavedModel
    Manifest.json, Data/com.apple.CoreML/         Core ML package (.mlpackage)
    coremldata.bin, model.mil                     compiled Core ML model (.mlmodelc)
    model.json, group1-shard1of1.bin              TensorFlow.js
    model.bin, config.json, *vocabulary*          CTranslate2
    variables.index, variables.data-0000…         TensorFlow checkpoint
    net.xml, net.bin                              OpenVINO
    _METADATA, manifest.ocdbt                     Orbax checkpoint (JAX)

Else the kinds of models that lie in it and in the folders below are named, and LFS pointers.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from modelscope_cli.core.folder import CONFIGURATION, OTHER, SAME
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.place import typed
from modelscope_cli.core.window import open_window
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.archive_paths import ZIP_MAGIC
from modelscope_cli.formats.folder_names import NO_MODELS, by_name
from modelscope_cli.formats.known import Recognised, recognise, recognised
from modelscope_cli.formats.known_kinds import FILE, MODELS, NETRON, NETRON_AND_SCAN

MOST_FILES = 64  # that are looked into
MOST_ENTRIES = 10_000  # of a folder and its folders that are counted
DEEPEST = 8  # folders in folders
FEW = 3  # kinds, and files of each, that are named
LONGEST = 80  # letters of a path
COREML_MANIFEST, COREML_DATA = "Manifest.json", "Data"
ORBAX = ("_METADATA", "manifest.ocdbt", "_sharding")


class Sign(NamedTuple):
    """A file that tells what its folder is, by the kind it must be. `title` goes on after "this is"."""

    suffix: str
    kind: str
    title: str
    todo: str


SIGNS = (
    Sign("saved_model.pb", "savedmodel", "a TensorFlow SavedModel", NETRON_AND_SCAN),
    Sign(".json", "tfjs", "a TensorFlow.js model", NETRON),
    Sign("model.bin", "ctranslate2", "a CTranslate2 model", "ctranslate2 reads it; the checkpoint it was converted from can be read here"),
    Sign(".index", "tf-checkpoint", "a TensorFlow checkpoint", NETRON),
    Sign(".xml", "openvino", "an OpenVINO model", NETRON),
)  # fmt: skip


class File(NamedTuple):
    """A file: its path from the folder on, and its size."""

    name: str
    nbytes: int


def foreign_folder(path: str) -> tuple[str, str] | None:
    """(what the folder is, what to do) where that can be told, or None. Goes on after "this is". Never raises."""
    files, cut = files_of(path)
    here = [file for file in files if "/" not in file.name]
    found = package(path, files) or orbax(here)
    if found is None:
        told = [(file, kind) for file in here[:MOST_FILES] if (kind := kind_of(path, file.name)) and telling(kind)]
        found = signed(path, told)
        if found is None:
            left = MOST_FILES - len(here)
            deeper = likely([file for file in files if "/" in file.name])[: max(left, 0)]
            return held(path, told + [(file, kind) for file in deeper if (kind := kind_of(path, file.name)) and telling(kind)])
    what, todo = found
    nbytes = sum(file.nbytes for file in files)
    counted = f"{len(files):,} {'file' if len(files) == 1 else 'files'} of {nbytes:,} bytes together"
    return f"{what}, {counted}{' and more' if cut else ''}", todo


def likely(files: list[File]) -> list[File]:
    """Those that may tell what their folder is, by their names, and the nearest of them first: no pictures, no code."""

    def rank(file: File) -> tuple[int, int, str]:
        said = by_name(os.path.basename(file.name))
        speaking = said is None or said.what == SAME
        return (not speaking, file.name.count("/"), file.name)

    named = ((file, by_name(os.path.basename(file.name))) for file in files)
    return sorted([file for file, said in named if said is None or said.what in (SAME, CONFIGURATION, OTHER)], key=rank)


def files_of(path: str) -> tuple[list[File], bool]:
    """The files of a folder and of the folders in it, sorted by name, and whether there are more. Links are not followed."""
    found: list[File] = []
    folders = [("", 0)]
    seen = 0
    while folders:
        inner, depth = folders.pop(0)
        try:
            with os.scandir(os.path.join(path, inner)) as entries:
                for entry in entries:
                    seen += 1
                    if seen > MOST_ENTRIES:
                        return sorted(found), True
                    name = f"{inner}{entry.name}"
                    if entry.is_file(follow_symlinks=depth == 0):
                        found.append(File(name, entry.stat().st_size))
                    elif depth < DEEPEST and entry.is_dir(follow_symlinks=False) and looked_into(entry.name):
                        folders.append((f"{name}/", depth + 1))
        except OSError:
            continue
    return sorted(found), False


def looked_into(name: str) -> bool:
    """Whether a folder is neither hidden nor one of other people's programs."""
    return not name.startswith(".") and NO_MODELS.fullmatch(name.lower()) is None


def kind_of(folder: str, name: str) -> Recognised | None:
    """What a file is; of a zip, by what is in it."""
    try:
        with open_window(os.path.join(folder, name)) as window:
            if not window.head(4).startswith(ZIP_MAGIC):
                return recognise(window)
            from modelscope_cli.containers.zip_directory import read_zip_directory
            from modelscope_cli.formats.known_archive import look

            return recognised(look([member.name for member in read_zip_directory(window, DEFAULT_LIMITS).members]))
    except ModelscopeError:
        return None


def telling(kind: Recognised) -> bool:
    """Whether a file tells something about its folder: a model, or what stands for one."""
    return kind.kind.group == MODELS or kind.kind.name == "lfs-pointer"


def package(path: str, files: list[File]) -> tuple[str, str] | None:
    """A Core ML package, as it is saved or as it is compiled."""
    names = {file.name for file in files}
    if COREML_MANIFEST in names:
        models = [name for name in names if name.startswith(f"{COREML_DATA}/") and name.endswith(".mlmodel")]
        manifest = kind_of(path, COREML_MANIFEST)
        if models and manifest is not None and manifest.kind.name == "coreml-manifest":
            model = kind_of(path, min(models))
            about = model.what.partition(" (")[2] if model is not None and model.kind.name == "coreml" else ""
            what = "a Core ML package" + (f" ({about}" if about else "")
            return what, NETRON.replace(FILE, typed(os.path.join(path, min(models))))
    if {"coremldata.bin", "model.mil"} <= names:
        return "a compiled Core ML model", "the .mlpackage or .mlmodel that it was compiled from can be drawn"
    return None


def signed(path: str, told: list[tuple[File, Recognised]]) -> tuple[str, str] | None:
    """What the first sign tells whose file is what it says, where nothing else is there that tells of another model."""
    kinds = {kind.kind.name for _, kind in told}
    for sign in SIGNS:
        found = [(file, kind) for file, kind in told if kind.kind.name == sign.kind and file.name.endswith(sign.suffix)]
        if found and kinds <= {sign.kind, f"{sign.kind}-data"}:
            file, kind = found[0]
            about = kind.what[len(kind.kind.title) :] if len(found) == 1 else f" in {len(found):,} parts"
            return sign.title + about, sign.todo.replace(FILE, typed(os.path.join(path, file.name)))
    return None


def orbax(here: list[File]) -> tuple[str, str] | None:
    names = {file.name for file in here}
    if len(names.intersection(ORBAX)) < 2:
        return None
    return "an Orbax checkpoint (JAX)", "orbax.checkpoint reads it; to be read here, save it as safetensors"


def shortened(name: str) -> str:
    """A path whose end can be read."""
    return name if len(name) <= LONGEST else "…" + name[-LONGEST:]


def held(path: str, told: list[tuple[File, Recognised]]) -> tuple[str, str] | None:
    """The kinds of files in it, the commonest first. Files of bare numbers go with the file that describes them."""
    kinds: dict[str, list[tuple[File, Recognised]]] = {}
    described = {f"{kind.kind.name}-data" for _, kind in told}
    for file, kind in told:
        if kind.kind.name in described:
            continue
        kinds.setdefault(kind.kind.title.partition(":")[0], []).append((file, kind))
    common = sorted(kinds.items(), key=lambda row: -len(row[1]))[:FEW]
    said = []
    for title, alike in common:
        names = ", ".join(shortened(file.name) for file, _ in alike[:FEW]) + (", …" if len(alike) > FEW else "")
        said.append(f"{title} ({names})" if len(alike) == 1 else f"{len(alike):,} files, each {title} ({names})")
    first = common[0][1][0] if common else None
    return (
        ("a folder with " + "; ".join(said), first[1].hint.replace(FILE, typed(os.path.join(path, first[0].name))))
        if first
        else None
    )
