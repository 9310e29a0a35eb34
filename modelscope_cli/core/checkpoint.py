"""A checkpoint as read: what every reader returns and every analysis starts from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli.core.span import ByteMap
from modelscope_cli.core.tensor import TensorTable

if TYPE_CHECKING:
    from modelscope_cli.core.folder import Folder

CONFIG_FILE = "config.json"
QUANTISATION_KEYS = ("quantization_config", "compression_config", "quantization")  # the last is MLX's
QUANTISATION_FILES = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")  # of ModelOpt, AutoGPTQ, AutoAWQ
SOURCE = "from_file"  # which of them it was


def quantisation_of(config: dict[str, Any]) -> dict[str, Any]:
    """What a configuration says of how the weights were quantised, on the top level or with the language model; {} for nothing."""
    inner = config.get("text_config")
    for place in (config, inner if isinstance(inner, dict) else {}):
        for key in QUANTISATION_KEYS:
            found = place.get(key)
            if isinstance(found, dict) and found:
                return {**found, "mlx": True} if key == "quantization" and "quant_algo" not in found else found
    return {}


class Note(NamedTuple):
    """An oddity that the read survived. `severity`: info, warning or error; an error makes the exit code 3."""

    code: str
    severity: str
    where: str
    message: str


class FileRecord(NamedTuple):
    """One file of the checkpoint; `tensors` are the indices of those it holds.

    That is a range, but where tensors lie in pieces: then a tensor stands with every file that holds some of it.
    """

    path: str
    nbytes: int
    tensors: Sequence[int]


class ModuleRecord(NamedTuple):
    """A module the file itself records. `class_name` is None where only the path is recorded (a state_dict's `_metadata`)."""

    class_name: str | None
    attributes: dict[str, Any]


class GlobalUse(NamedTuple):
    """A global name that a pickle would import. `calls` counts how often it would be called, `offset` is its first mention.

    `loose` counts how often it is mentioned other than as the function of a call that stands with the calls: only where it is
    0 do those calls tell all that is done with it. None where nobody counted (pickle_callers.is_counted). `sites` are the offsets of
    all the calls, but for what stands for several pickles at once.
    """

    module: str
    name: str
    offset: int
    calls: int
    loose: int | None = None
    sites: Sequence[int] = ()


class CallUse(NamedTuple):
    """A call that a pickle would make: the instruction at `offset`, and what would be called with what (nodes of a pickle).

    For BUILD the function is the object, or the class, that is given a state. `through` names what calls the function where the
    instruction does not do so itself: a function that calls what it is given, or the attribute that it was stored as.
    """

    offset: int
    opcode: int
    function: Any
    args: tuple[Any, ...]
    through: str = ""


class PickleTrace(NamedTuple):
    """What one pickle stream would import and call. `where` is the file and member, `problem` what stopped the reading.

    `calls` are the first ones of each function; how many there are of each stands with the globals. `firsts` tells of the
    less usual instructions where each stands first.
    """

    where: str
    nbytes: int
    opcodes: int
    globals: tuple[GlobalUse, ...]
    problem: str | None
    calls: tuple[CallUse, ...] = ()
    firsts: Mapping[int, int] = {}

    @property
    def likeness(self) -> tuple[object, ...]:
        """What tells it from other pickles; blobs that are all written alike are named once."""
        return (self.where, self.nbytes, self.opcodes, self.problem, *[use[:5] for use in self.globals])


class Checkpoint:
    """Tensors, storages, byte maps, metadata and everything noteworthy of one model file or sharded set.

    `tensors` is a sequence of TensorInfo (columns inside: see core/tensor.py). `byte_maps[i]` covers `files[i]`.
    `aliases` maps a name that a writer dropped because it shared memory to the name it kept (safetensors' save_model).
    `groups` are (index of a tensor, path): from that tensor on, the dictionary at that path holds them; "" is the top level.
    `config` is what a config.json says, under its names; `config_from` tells where that comes from.
    `ordered` tells whether the order of names is the model's own (safetensors sorts them).
    `in_folder` is the folder that was named to get here; of several checkpoints in it the last has its entries.
    """

    __slots__ = (
        "aliases",
        "byte_maps",
        "config",
        "config_from",
        "files",
        "format",
        "groups",
        "in_folder",
        "metadata",
        "modules",
        "notes",
        "ordered",
        "path",
        "pickles",
        "skipped",
        "tensors",
    )

    def __init__(
        self,
        path: str,
        format: str,
        files: list[FileRecord],
        tensors: TensorTable,
        byte_maps: list[ByteMap],
        *,
        metadata: dict[str, Any] | None = None,
        modules: dict[str, ModuleRecord] | None = None,
        pickles: list[PickleTrace] | None = None,
        notes: list[Note] | None = None,
        skipped: list[str] | None = None,
        aliases: dict[str, str] | None = None,
        ordered: bool = True,
        groups: list[tuple[int, str]] | None = None,
        config: dict[str, Any] | None = None,
        config_from: str = CONFIG_FILE,
    ):
        self.path = path
        self.format = format
        self.files = files
        self.tensors = tensors
        self.byte_maps = byte_maps
        self.metadata = {} if metadata is None else metadata
        self.modules = {} if modules is None else modules
        self.pickles = [] if pickles is None else pickles
        self.notes = [] if notes is None else notes
        self.skipped = [] if skipped is None else skipped
        self.aliases = {} if aliases is None else aliases
        self.ordered = ordered
        self.groups = [(0, "")] if groups is None else groups
        self.config = {} if config is None else config
        self.config_from = config_from
        self.in_folder: Folder | None = None

    @property
    def nbytes(self) -> int:
        """Size of all files together."""
        return sum(file.nbytes for file in self.files)

    @property
    def shards(self) -> list[FileRecord]:
        """The files but for an index that tells what lies where."""
        return [
            file for file, byte_map in zip(self.files, self.byte_maps, strict=True) if byte_map.totals().keys() != {"index"}
        ]

    @property
    def elements(self) -> int:
        """The plain per-name sum of elements, as torch or safetensors would give it."""
        return sum(map(math.prod, self.tensors.shapes))

    def sections(self) -> dict[str, int]:
        """Bytes under each label of the byte maps, over all files; they add up to `nbytes`."""
        totals: dict[str, int] = {}
        for byte_map in self.byte_maps:
            for label, nbytes in byte_map.totals().items():
                totals[label] = totals.get(label, 0) + nbytes
        return totals

    def __repr__(self) -> str:
        files = "1 file" if len(self.files) == 1 else f"{len(self.files)} files"
        dtypes = ", ".join(dict.fromkeys(dtype.name for dtype in self.tensors.dtypes)) or "no tensors"
        return (
            f"<Checkpoint {self.path!r}: {self.format}, {files}, {self.nbytes:,} bytes, "
            f"{len(self.tensors):,} tensors, {self.elements:,} elements, {dtypes}>"
        )
