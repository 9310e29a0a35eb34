"""TorchScript archives (torch.jit.save since 1.4), and those for mobile (`_save_for_lite_interpreter`, .ptl).

    ROOT/data.pkl             the module as an object of class __torch__.package.Net, its attributes in the order of the class
    ROOT/data/KEY             its tensors
    ROOT/code/__torch__/….py  the classes as source text: methods, `__parameters__` and `__buffers__`, Final attributes
    ROOT/constants.pkl        a tuple of the tensors that the code calls CONSTANTS.c0, c1 … (a frozen module has all its weights there)
    ROOT/constants/KEY        their bytes
    ROOT/bytecode.pkl         mobile only: (version, (method, instructions, operators, constants, types) …); it refers to
                              the storages in constants/ again, or to its own in bytecode/
    ROOT/extra/…              files of the user

A packed quantised weight is an object of class __torch__.torch.classes.quantized.…PackedParamsBase whose state is what its
`__getstate__` gave: see PACKED. Facts: torch/csrc/jit/serialization/export_module.cpp, python_print.cpp, and for the packed
ones aten/src/ATen/native/quantized/cpu/fbgemm_utils.cpp.
"""

from __future__ import annotations

from typing import Any

from modelscope_cli.containers.pickle_nodes import Call, mapping
from modelscope_cli.core.checkpoint import Checkpoint, Note
from modelscope_cli.formats.script_walk import ScriptClasses, ScriptWalk
from modelscope_cli.formats.torch_archive import Archive
from modelscope_cli.formats.torch_walk import BUFFER, PARAMETER

CONSTANTS = "constants"
BYTECODE = "bytecode"


def read_archive(archive: Archive, root: str) -> Checkpoint:
    """The checkpoint in a TorchScript archive. Reads pickles and the classes they name, no tensor data."""
    archive.check_byteorder(root)
    walk = ScriptWalk(archive.table, f"{archive.path}:{root}data.pkl", archive.limits, ScriptClasses(archive, f"{root}code/"))
    walk.run(archive.unpickle(f"{root}data.pkl", "pickle", archive.storages(f"{root}data/").load))
    modelled = len(archive.table)
    constants = archive.storages(f"{root}constants/")
    add_constants(walk, archive.unpickle(f"{root}constants.pkl", "code", constants.load))
    metadata: dict[str, Any] = {}
    if f"{root}bytecode.pkl" in archive.members:
        code = archive.unpickle(f"{root}bytecode.pkl", "code", archive.storages(f"{root}constants/", f"{root}bytecode/").load)
        metadata["mobile"] = add_bytecode(walk, code)
    settle_constants(archive, walk, modelled)
    for folder, label in (("data/", "data"), ("constants/", "data"), ("bytecode/", "data"), ("code/", "code")):
        archive.label(root + folder, label)
    archive.label(f"{root}mobile_debug_handles.pkl", "code")
    label_files(archive, f"{root}extra/", metadata)
    return archive.checkpoint("torchscript", walk=walk, metadata=metadata, groups=[(0, "")])


def add_constants(walk: ScriptWalk, constants: Any, path: str = CONSTANTS) -> None:
    """List the tensors that the code refers to under its own names for them: c0, c1 …"""
    if type(constants) is tuple and constants:
        walk.run(mapping([(path, mapping([(f"c{index}", value) for index, value in enumerate(constants)]))]))


def add_bytecode(walk: ScriptWalk, code: Any) -> dict[str, Any]:
    """List the constants of each method of a mobile module, and say how new its bytecode is.

    Methods are (qualified name, (("instructions", …), ("operators", …), ("constants", (…)), …), …).
    """
    version = code[0] if type(code) is tuple and code and type(code[0]) is int else None
    methods: list[tuple[Any, Any]] = []
    for method in code[1:] if version is not None else ():
        if type(method) is not tuple or len(method) < 2 or type(method[0]) is not str or type(method[1]) is not tuple:
            continue
        for part in method[1]:
            if type(part) is tuple and len(part) == 2 and part[0] == "constants" and type(part[1]) is tuple:
                held = [(f"c{index}", value) for index, value in enumerate(part[1]) if type(value) is Call]
                methods += [(method[0].rpartition(".")[2], mapping(held))] if held else []
    if methods:
        walk.run(mapping([(BYTECODE, mapping(methods))]))
    return {"bytecode_version": version}


def settle_constants(archive: Archive, walk: ScriptWalk, modelled: int) -> None:
    """Constants are no parameters, unless freezing made them of all that the module had: then roles are inferred by name."""
    recorded = archive.table.recorded
    if PARAMETER in recorded.values():
        for index in range(modelled, len(archive.table)):
            recorded.setdefault(index, BUFFER)
    elif len(archive.table) > modelled:
        message = "a frozen module: its weights are constants of its code and count as parameters; their names are lost"
        walk.notes.append(Note("frozen", "info", archive.path, message))


def label_files(archive: Archive, folder: str, metadata: dict[str, Any]) -> None:
    """Files that the user put beside the model: labelled, and named in the metadata."""
    names = [name.removeprefix(folder) for name in archive.members if name.startswith(folder)]
    archive.label(folder, "files")
    if names:
        metadata["files"] = names[:64] if len(names) > 64 else names
