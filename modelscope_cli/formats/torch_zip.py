"""PyTorch's zip format (torch.save since 1.6, TorchScript since 1.0), whatever the suffix.

    ROOT/data.pkl       the object, its storages left as persistent ids ('storage', class, key, location, numel)
    ROOT/data/KEY       the bytes of a storage, aligned to 64 by padding the extra field of its local header
    ROOT/byteorder      little or big (absent before 2.1: the machine's own)
    ROOT/version        plus .format_version, .storage_alignment, .data/serialization_id
    ROOT/code/…         TorchScript only: source text, with constants.pkl and constants/KEY

ROOT is the stem of the file's first name, or `archive`. Members are normally stored, but torch also reads deflated ones,
so a storage may take fewer bytes in the file than in memory. Facts: caffe2/serialize/inline_container.h.
"""

from __future__ import annotations

from typing import Any

from modelscope_cli.containers.pickle_machine import PickleMachine
from modelscope_cli.containers.pickle_nodes import mapping
from modelscope_cli.containers.zip_directory import STORED, Member, ZipDirectory, read_zip_directory
from modelscope_cli.core.checkpoint import Checkpoint, FileRecord, Note, PickleTrace
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.span import ByteMapBuilder
from modelscope_cli.core.tensor import TensorTable
from modelscope_cli.core.window import Window
from modelscope_cli.errors import CorruptFileError, ModelscopeError, UnknownFormatError, UnsupportedFeatureError
from modelscope_cli.formats.plain_values import pruned
from modelscope_cli.formats.torch_legacy import NestedFiles
from modelscope_cli.formats.torch_objects import BadTensorError, StorageRef, storage_dtype
from modelscope_cli.formats.torch_walk import Walk

SMALL_RECORD = 4_096  # bytes read of version, byteorder and their like


def read(window: Window, limits: Limits, *, lenient: bool = False) -> Checkpoint:
    """The checkpoint in a torch zip. Reads the directory, local headers and pickles, no tensor data."""
    directory = read_zip_directory(window, limits)
    archive = Archive(directory, window.name)
    root = archive.root()
    table = TensorTable()
    table.filenames.append(window.name)
    check_byteorder(archive, root)

    scripted = f"{root}constants.pkl" in archive.members
    nested = NestedFiles(table, limits)
    walk = Walk(table, f"{window.name}:{root}data.pkl", limits)
    traces: list[PickleTrace] = []
    labels: dict[str, str] = {}
    for name in ("data.pkl", "constants.pkl") if scripted else ("data.pkl",):
        folder = f"{root}{name.removesuffix('.pkl')}/"
        storages = Storages(archive, folder, table, labels)
        member = archive.members[root + name]
        labels[member.name] = "pickle" if name == "data.pkl" else "code"
        data = directory.read(member, limits.pickle_bytes, "pickle_bytes")
        readers = nested.readers(data, member.start if member.method == STORED else None)
        machine = PickleMachine(data, f"{window.name}:{member.name}", limits, storages.load, readers=readers)
        result = run(machine, traces)
        if machine.end < len(machine.data):
            walk.notes.append(
                Note(
                    "after-stop",
                    "warning",
                    member.name,
                    f"{len(machine.data) - machine.end:,} bytes follow the end of the pickle",
                )
            )
        if name == "data.pkl":
            walk.run(result)
        elif type(result) is tuple and result:
            walk.run(named_constants(result))
    label_rest(archive, root, labels)
    builder = ByteMapBuilder()
    directory.claim(builder, labels, "record", nested.spans)
    return Checkpoint(
        window.name,
        "torchscript" if scripted else "torch-zip",
        [FileRecord(window.name, window.size, range(len(table)))],
        table,
        [builder.finish(window.size, window.name)],
        metadata=pruned(walk.metadata),
        modules=walk.modules,
        groups=walk.groups,
        pickles=traces + nested.traces,
        notes=directory.notes + archive.notes + walk.notes,
    )


def run(machine: PickleMachine, traces: list[PickleTrace]) -> Any:
    """The object of a pickle; its trace is kept, also when it fails."""
    try:
        result = machine.run()
    except ModelscopeError as problem:
        traces.append(machine.trace(problem.message))
        raise
    traces.append(machine.trace())
    return result


def named_constants(constants: tuple[Any, ...]) -> Any:
    """TorchScript's constants under the name c0, c1 …, as its code refers to them."""
    return mapping([("constants", mapping([(f"c{index}", value) for index, value in enumerate(constants)]))])


class Archive:
    """The members of a torch zip by name."""

    def __init__(self, directory: ZipDirectory, path: str):
        self.directory = directory
        self.path = path
        self.notes: list[Note] = []
        self.members: dict[str, Member] = {}
        for member in directory.members:
            if member.name in self.members:
                raise CorruptFileError(f"two zip members are called {member.name!r}", path=path, offset=member.header)
            self.members[member.name] = member

    def root(self) -> str:
        """The folder (with its slash, or empty) that holds data.pkl. Raises an error that names what the zip is instead."""
        roots = sorted((name.removesuffix("data.pkl") for name in self.members if name.endswith("data.pkl")), key=len)
        roots = [root for root in roots if not root or root.endswith("/")]
        if roots:
            return roots[0]
        raise what_else(list(self.members), self.path)


def what_else(names: list[str], path: str) -> ModelscopeError:
    """The error for a zip that torch.save did not write, saying what it looks like."""
    tails = {name.partition("/")[2] for name in names}
    if any(tail.startswith("data/weights/") for tail in tails) or "archive_format" in tails:
        return UnsupportedFeatureError(
            "a torch.export archive (.pt2): not read yet",
            path=path,
            hint="save the weights: torch.save(program.state_dict, FILE)",
        )
    if any(name.startswith(".data/") or "/.data/extern_modules" in name for name in names):
        return UnsupportedFeatureError("a torch.package archive: not read yet", path=path, hint="save the model's state_dict()")
    suffixes = [name.rpartition(".")[2].lower() for name in names if "." in name]
    if names and all(name.endswith(".npy") for name in names):
        what = "a NumPy archive (.npz)"
    elif "model.weights.h5" in names:
        what = "a Keras model (.keras)"
    elif "[Content_Types].xml" in names:
        what = "an office document"
    elif "META-INF/MANIFEST.MF" in names:
        what = "a Java archive"
    elif suffixes.count("py") > len(names) / 3:
        what = "a zip of Python source code"
    elif suffixes.count("h5") or suffixes.count("onnx") or suffixes.count("safetensors") or suffixes.count("pt"):
        what = "a zip with model files inside"
    else:
        what = "a zip archive without data.pkl"
    shown = ", ".join(repr(name) for name in names[:4]) + (" …" if len(names) > 4 else "")
    hint = "unzip it and inspect what is inside" if "inside" in what else "torch.save writes data.pkl into every file"
    return UnknownFormatError(f"{what}, not a PyTorch checkpoint; it holds {shown or 'nothing'}", path=path, hint=hint)


def check_byteorder(archive: Archive, root: str) -> None:
    """Note big-endian data; refuse an order that does not exist."""
    member = archive.members.get(f"{root}byteorder")
    if member is None:
        return
    order = archive.directory.read(member, SMALL_RECORD, "header_bytes").strip()
    if order == b"big":
        archive.notes.append(Note("big-endian", "info", archive.path, "the data is big-endian"))
    elif order != b"little":
        raise CorruptFileError(f"byte order {order[:20]!r}, expected little or big", path=archive.path, offset=member.start)


def label_rest(archive: Archive, root: str, labels: dict[str, str]) -> None:
    """Storages that no tensor refers to are still data; code is code."""
    for name in archive.members:
        if name not in labels:
            if name.startswith((f"{root}data/", f"{root}constants/")):
                labels[name] = "data"
            elif name.startswith(f"{root}code/"):
                labels[name] = "code"


class Storages:
    """Persistent ids to rows of the storage table, each backed by the member FOLDER/KEY."""

    def __init__(self, archive: Archive, folder: str, table: TensorTable, labels: dict[str, str]):
        self.archive = archive
        self.folder = folder
        self.table = table
        self.labels = labels
        self.rows: dict[str, int] = {}

    def load(self, pid: Any, offset: int) -> StorageRef:
        """The storage a persistent id means. Raises BadTensorError when there is none or it is too small."""
        if type(pid) is not tuple or len(pid) < 5 or pid[0] != "storage":
            raise BadTensorError("a persistent id that is no storage")
        _, cls, key, _, numel = pid[:5]
        dtype = storage_dtype(cls)
        if type(key) is bytes:
            key = key.decode("utf-8", "replace")
        if type(key) is not str and type(key) is not int:
            raise BadTensorError("the key of a storage is not a string")
        key = str(key)
        member = self.archive.members.get(self.folder + key)
        if member is None:
            raise BadTensorError(f"the storage {key[:80]!r} is not in the archive")
        if type(numel) is not int or numel < 0:
            raise BadTensorError(f"the storage {key!r} has no size")
        nbytes = dtype.nbytes(numel)
        if nbytes is None:
            nbytes = member.size
        if nbytes > member.size:
            raise BadTensorError(f"the storage {key!r} should have {nbytes:,} bytes, its record has {member.size:,}")
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = self.table.storage.add(key, 0, member.start, member.size, member.stored)
            self.labels[member.name] = "data"
        return StorageRef(row, dtype, nbytes)
