"""torch.package archives: pickles, the Python code they need, and other files, in one zip.

    ROOT/package/resource.pkl     save_pickle: an object; its storages are ('storage', class, key, location, numel)
    ROOT/.data/KEY.storage        the bytes of a storage
    ROOT/package/module.py        code that was taken along (interned); a mocked module holds a few lines that raise
    ROOT/package/name             save_text, save_binary: any file
    ROOT/.data/extern_modules     names of modules that must be installed where it is loaded, one a line
    ROOT/.data/python_version     and version, byteorder …
    ROOT/.data/ts_code/ID/data.pkl     a TorchScript module that a pickle refers to, with constants.pkl; its tensors are
                                       in .data/KEY too, and its classes in .data/ts_code/code/

Besides storages a pickle may refer to ('reduce_package', id, function, arguments): what loads a torch.fx graph module (its
attributes, its code) or a TorchScript module (its ID). Facts: torch/package/package_exporter.py, package_importer.py.
"""

from __future__ import annotations

from typing import Any

from modelscope_cli.containers.pickle_nodes import Call, Global, Mapping, mapping, shortened
from modelscope_cli.core.checkpoint import Checkpoint, Note
from modelscope_cli.errors import LimitError
from modelscope_cli.formats.script_walk import ScriptClasses, ScriptWalk
from modelscope_cli.formats.torch_archive import SMALL_RECORD, Archive
from modelscope_cli.formats.torch_objects import BadTensorError, StorageRef
from modelscope_cli.formats.torchscript import add_constants

PICKLE_BEGINS = tuple(b"\x80" + bytes([protocol]) for protocol in (2, 3, 4, 5))
MOCKED = b"from _mock import MockedObject"
MOST_NAMED = 64  # modules named in the metadata


def read_archive(archive: Archive, root: str) -> Checkpoint:
    """The checkpoint in a torch.package. Reads the pickles, the list of modules and the beginnings of files."""
    archive.check_byteorder(root)
    package = Package(archive, root)
    pickles = package.sort_members()
    alone = len(pickles) == 1
    classes = ScriptClasses(archive, f"{root}.data/ts_code/code/")
    walk = ScriptWalk(archive.table, archive.path, archive.limits, classes)
    groups: list[tuple[int, str]] = []
    for name in pickles:
        walk.where = f"{archive.path}:{name}"
        path = "" if alone else name.removeprefix(root).rpartition(".")[0].replace("/", ".")
        result = archive.unpickle(name, "pickle", package.load)
        first, known = len(archive.table), len(walk.groups)
        walk.run(result if alone else mapping([(path, result)]))
        groups += walk.groups[known:] if type(result) is Mapping else [(first, path)]
        add_package_constants(package, walk, path)
    archive.label(f"{root}.data/ts_code/", "code")
    return archive.checkpoint("torch-package", walk=walk, metadata={"package": package.contents()}, groups=groups or None)


def add_package_constants(package: Package, walk: ScriptWalk, path: str) -> None:
    """List the constants of the TorchScript modules met since this was asked last."""
    for script in package.opened:
        name = f"{package.root}.data/ts_code/{script}/constants.pkl"
        if name in package.archive.members:
            owner = f"{path}.constants" if path else "constants"
            add_constants(walk, package.archive.unpickle(name, "code", package.script_storages.load), owner)
    package.opened.clear()


class Package:
    """What the members of a package are, and what its persistent ids mean."""

    def __init__(self, archive: Archive, root: str):
        self.archive = archive
        self.root = root
        self.storages = archive.storages(f"{root}.data/", suffix=".storage")
        self.script_storages = archive.storages(f"{root}.data/")
        self.opened: list[str] = []  # TorchScript modules whose constants have not been listed
        self._scripts: dict[str, Any] = {}
        self._reduced: dict[Any, Any] = {}
        self._code: list[str] = []
        self._mocked: list[str] = []
        self._files: list[str] = []

    def sort_members(self) -> list[str]:
        """Label the members by what they are; the names of the pickles."""
        pickles: list[str] = []
        for member in self.archive.directory.members:
            name = member.name.removeprefix(self.root)
            if member.name.startswith(f"{self.root}.data/") or name == "byteorder":
                if name.endswith(".storage"):
                    self.archive.labels[member.name] = "data"
            elif name.endswith(".py"):
                self.archive.labels[member.name] = "code"
                module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                (self._mocked if self._is_mock(member.name) else self._code).append(module)
            elif self._is_pickle(member.name):
                pickles.append(member.name)
            else:
                self.archive.labels[member.name] = "files"
                self._files.append(name)
        return pickles

    def _is_mock(self, name: str) -> bool:
        member = self.archive.members[name]
        return member.size <= SMALL_RECORD and self.archive.read(name, SMALL_RECORD, "header_bytes").startswith(MOCKED)

    def _is_pickle(self, name: str) -> bool:
        """By the name that save_pickle is usually given, or by the first and last bytes."""
        member = self.archive.members[name]
        if name.endswith((".pkl", ".pickle")):
            return True
        if member.method or member.size < 4:
            return False
        window = self.archive.window
        return window.read(member.start, 2) in PICKLE_BEGINS and window.read(member.stop - 1, 1) == b"."

    def load(self, pid: Any, offset: int) -> Any:
        """A storage, or the object that a `__reduce_package__` describes."""
        if type(pid) is tuple and len(pid) >= 3 and pid[0] == "reduce_package":
            number = pid[1] if len(pid) > 3 and type(pid[1]) is int else None
            if number is not None and number in self._reduced:
                return self._reduced[number]
            made = self._reduce(pid[-2], pid[-1], offset)
            if number is not None:
                self._reduced[number] = made
            return made
        return self.storages.load(pid, offset)

    def _reduce(self, function: Any, args: Any, offset: int) -> Any:
        if type(function) is not Global or type(args) is not tuple:
            raise BadTensorError("an object of a package without the function that makes it")
        function.called_at(offset)
        if function.name == "unpackage_script_module" and args and type(args[0]) is str:
            return self._script(args[0])
        made = Call(function, args)
        body = args[0] if args else None
        if function.module.startswith("torch.fx") and type(body) is Mapping:
            cls = body.get("_graphmodule_cls_name")
            made = Call(Global("torch.fx.graph_module", shortened(cls) if type(cls) is str else "GraphModule"), ())
            made.state = body
        return made

    def _script(self, number: str) -> Any:
        """The TorchScript module of a number."""
        if number not in self._scripts:
            name = f"{self.root}.data/ts_code/{number}/data.pkl"
            if name not in self.archive.members:
                raise BadTensorError(f"the TorchScript module {number[:20]!r} is not in the archive")
            most = self.archive.limits.nested_files
            if len(self._scripts) >= most:
                raise LimitError("nested_files", most, len(self._scripts) + 1, path=self.archive.path)
            self._scripts[number] = None
            self._scripts[number] = self.archive.unpickle(name, "pickle", self._load_script_storage)
            self.opened.append(number)
        return self._scripts[number]

    def _load_script_storage(self, pid: Any, offset: int) -> StorageRef:
        return self.script_storages.load(pid, offset)

    def contents(self) -> dict[str, Any]:
        """What goes along with the pickles: modules that are needed, taken along, mocked; other files."""
        name = f"{self.root}.data/extern_modules"
        listed = self.archive.read(name, self.archive.limits.header_bytes, "header_bytes").decode("utf-8", "replace")
        found: dict[str, Any] = {"python_version": self.archive.record(f"{self.root}.data/python_version")}
        for what, names in (
            ("extern", listed.split()), ("intern", self._code), ("mock", self._mocked), ("files", self._files)
        ):  # fmt: skip
            if names:
                more = [f"… {len(names) - MOST_NAMED:,} more"] if len(names) > MOST_NAMED else []
                found[what] = [name[:SMALL_RECORD] for name in names[:MOST_NAMED]] + more
        if self._code:
            count = f"{len(self._code):,} Python {'file' if len(self._code) == 1 else 'files'}"
            self.archive.notes.append(
                Note("packaged-code", "info", self.archive.path, f"{count} inside: loading the package runs them")
            )
        return {key: value for key, value in found.items() if value is not None}
