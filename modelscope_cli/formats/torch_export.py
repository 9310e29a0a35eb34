"""torch.export archives (.pt2), in three layouts, and the AOTInductor packages of the same name.

    since 2.8   ROOT/archive_format                          "pt2", and archive_version
                ROOT/models/NAME.json                        the graph and its signature
                ROOT/data/weights/NAME_weights_config.json   {"config": {tensor: {path_name, is_param, use_pickle, tensor_meta}}}
                ROOT/data/weights/weight_0 …                 the bytes of a storage; tensors that share it name the same file;
                                                             tensor subclasses (use_pickle) are torch.save files instead
                ROOT/data/constants/                         the same for constants: NAME_constants_config.json, tensor_0 …;
                                                             custom_obj_0 is a torch.save file, opaque_obj_0 a bare pickle
                ROOT/data/sample_inputs/NAME.pt              a torch.save file: example inputs, no part of the model
                ROOT/data/aotinductor/NAME/                  compiled code: .so, .cpp, kernels, weights_config.json
                ROOT/extra/…                                 files of the user
    2.7         the same, but data/weights/NAME.pt and data/constants/NAME.pt are torch.save files
    2.1 to 2.6  no ROOT: serialized_exported_program.json, serialized_state_dict.pt (.json in 2.1), serialized_constants.pt,
                serialized_example_inputs.pt, version, extra_files/…

The graph is not read. It is searched for the names of parameters and buffers and for the classes of modules, which every
node carries as text. Facts: torch/export/pt2_archive/_package.py, torch/_export/serde/schema.py.
"""

from __future__ import annotations

from typing import Any

from modelscope_cli.core.checkpoint import Checkpoint, Note
from modelscope_cli.errors import CorruptFileError
from modelscope_cli.formats.export_graph import Graph, read_graph
from modelscope_cli.formats.export_payloads import add_payloads, add_views, payload_config, view_config
from modelscope_cli.formats.inner_file import adopt, read_inner
from modelscope_cli.formats.torch_archive import Archive
from modelscope_cli.formats.torch_walk import BUFFER, PARAMETER

COMPILED = (".so", ".dll", ".pyd", ".dylib", ".cubin", ".hsaco", ".spv", ".ptx", ".fatbin", ".o")
BUILT_IN = (".blob", ".bin")  # weights of compiled code, without a directory of their own
WEIGHTS, CONSTANTS = "data/weights/", "data/constants/"
OLD_PARTS = ("serialized_state_dict", "serialized_constants", "serialized_example_inputs")


def read_archive(archive: Archive, root: str) -> Checkpoint:
    """The checkpoint in a torch.export archive. Reads configurations, graphs as text, and pickles; no tensor data."""
    archive.check_byteorder(root)
    program = Program(archive, root)
    if f"{root}serialized_exported_program.json" in archive.members:
        program.read_old()
    else:
        program.read_new()
    archive.label(f"{root}extra/", "files")
    archive.label(f"{root}extra_files/", "files")
    name = "torch-aotinductor" if program.compiled and not program.exported else "torch-export"
    return archive.checkpoint(name, metadata=program.metadata, modules=program.graph.modules, groups=program.groups)


class Program:
    """The programs of one archive: mostly one, called `model`; of several, names begin with the program's."""

    def __init__(self, archive: Archive, root: str):
        self.archive = archive
        self.root = root
        self.metadata: dict[str, Any] = {}
        self.graph = Graph()
        self.groups: list[tuple[int, str]] = []
        self.exported = self.compiled = False

    def read_new(self) -> None:
        """archive_format and what belongs to it."""
        archive, root = self.archive, self.root
        for record in ("archive_format", "archive_version"):
            self.metadata[record] = archive.record(root + record)
        if self.metadata["archive_format"] not in ("pt2", None):
            raise CorruptFileError(
                f"archive_format is {self.metadata['archive_format'][:20]!r}, expected 'pt2'", path=archive.path
            )
        models = self._named("models/", ".json")
        compiled = sorted(
            {
                name.removeprefix(f"{root}data/aotinductor/").split("/")[0]
                for name in archive.members
                if name.startswith(f"{root}data/aotinductor/")
            }
        )
        alone = len(set(models) | set(compiled)) < 2
        for name in models:
            self.read_model(name, "" if alone else name)
        for name in compiled:
            self.read_compiled(name, "" if alone else name)
        for folder in (WEIGHTS, CONSTANTS, "xl_model_weights/"):
            archive.label(root + folder, "data")  # of a program that is not there
        archive.label(f"{root}data/executorch/", "compiled")
        archive.label(f"{root}models/", "code")

    def read_model(self, name: str, prefix: str) -> None:
        """One exported program: its graph, weights, constants, example inputs."""
        archive, root = self.archive, self.root
        graph = self.read_graph(f"{root}models/{name}.json", prefix)
        self.groups.append((len(archive.table), prefix))
        for folder, kind in ((WEIGHTS, "weights"), (CONSTANTS, "constants")):
            old = f"{root}{folder}{name}.pt"
            config = f"{root}{folder}{name}_{kind}_config.json"
            if old in archive.members:
                self.take(old, graph if kind == "weights" else None, prefix)
            elif config in archive.members:
                add_payloads(archive, root + folder, payload_config(archive, config), prefix)
            elif kind == "weights":
                raise CorruptFileError(f"the program {name[:80]!r} has no weights: {config!r} is missing", path=archive.path)
        inputs = f"{root}data/sample_inputs/{name}.pt"
        if inputs in archive.members:
            adopt(archive, inputs, read_inner(archive, inputs), data="examples")

    def read_compiled(self, name: str, prefix: str) -> None:
        """Compiled code: labelled, and its weights listed where they are kept beside it."""
        self.compiled = True
        archive = self.archive
        folder = f"{self.root}data/aotinductor/{name}"
        code = built_in = 0
        for path in [*filter(archive.members.__contains__, [folder]), *archive.below(f"{folder}/")]:
            lower, size = path.lower(), archive.members[path].size
            native = lower.endswith((*COMPILED, *BUILT_IN))
            archive.labels[path] = "compiled" if native else "code"
            code += size if lower.endswith(COMPILED) else 0
            built_in += size if lower.endswith(BUILT_IN) else 0
        weights = f"{folder}/weights_config.json"
        self.groups.append((len(archive.table), prefix))
        if weights in archive.members:
            add_views(archive, self.root + WEIGHTS, view_config(archive, weights), prefix)
        blob = f"; {built_in:,} bytes of weights lie beside it without names" if built_in else ""
        if not built_in and weights not in archive.members:
            blob = ", its weights built in"
        message = f"compiled for one kind of machine ({code:,} bytes of native code{blob}): loading it runs that code"
        archive.notes.append(Note("compiled-code", "warning", folder, message))

    def read_old(self) -> None:
        """The layout of torch 2.1 to 2.6: a zip of torch.save files."""
        archive, root = self.archive, self.root
        graph = self.read_graph(f"{root}serialized_exported_program.json", "")
        self.metadata["schema_version"] = archive.record(f"{root}version")
        found = False
        for part in OLD_PARTS:
            name = next((name for suffix in (".pt", ".json") if (name := f"{root}{part}{suffix}") in archive.members), None)
            if name is None or archive.members[name].size == 0:
                continue
            if part == OLD_PARTS[2]:
                adopt(archive, name, read_inner(archive, name), data="examples")
            else:
                found = True
                self.take(name, graph if part == OLD_PARTS[0] else None, "")
        if not found:
            raise CorruptFileError("an exported program without its state_dict", path=archive.path)
        self.groups.append((0, ""))

    def read_graph(self, name: str, prefix: str) -> Graph:
        """What a graph tells about tensors and modules; its bytes are code."""
        self.exported = True
        graph = read_graph(self.archive, name)
        self.archive.labels[name] = "code"
        self.archive.count_names(len(graph.modules), len(prefix) + 1)
        self.graph.modules.update(
            {f"{prefix}.{path}" if prefix and path else prefix or path: module for path, module in graph.modules.items()}
        )
        self.metadata.update(graph.versions)
        return graph

    def take(self, name: str, graph: Graph | None, prefix: str) -> None:
        """List the tensors of a torch.save file, with the roles that the signature gives them; constants have no graph."""
        table = self.archive.table
        for row in adopt(self.archive, name, read_inner(self.archive, name), prefix):
            own = table.names[row].removeprefix(f"{prefix}.") if prefix else table.names[row]
            if graph is None or graph.signed:
                table.recorded[row] = PARAMETER if graph is not None and own in graph.parameters else BUFFER

    def _named(self, folder: str, suffix: str) -> list[str]:
        """Names of the members FOLDER NAME SUFFIX."""
        start = self.root + folder
        return [
            name.removeprefix(start).removesuffix(suffix)
            for name in self.archive.members
            if name.startswith(start) and name.endswith(suffix) and "/" not in name.removeprefix(start)
        ]
