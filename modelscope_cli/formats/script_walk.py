"""The object graph of a TorchScript pickle, whose classes stand as source text beside it.

An object of class `__torch__.torch.nn.modules.linear.Linear` has its attributes as state, and its class says which of them
are parameters and which are buffers:

    class Linear(Module):
      __parameters__ = ["weight", "bias", ]
      __buffers__ = []
      weight : Tensor
      in_features : Final[int] = 3

The text is searched for these lines only; nothing is parsed beyond them, compiled or run. Classes that differ in types have
`___torch_mangle_7` in their path, which is taken out of the names that are shown. Facts: torch/csrc/jit/serialization/python_print.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from modelscope_cli.containers.pickle_nodes import Call, Global, Mapping
from modelscope_cli.core.checkpoint import ModuleRecord, Note
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.tensor import TensorTable
from modelscope_cli.formats.plain_values import SCALARS
from modelscope_cli.formats.torch_archive import Archive
from modelscope_cli.formats.torch_objects import Found
from modelscope_cli.formats.torch_walk import BUFFER, PARAMETER, Walk

PREFIX = "__torch__"
MANGLED = re.compile(r"(^|\.)___torch_mangle_\d+(?=\.|$)")
CLASS = re.compile(rb"^class ([^\s(:]+)\(", re.MULTILINE)
LISTED = re.compile(rb"^  __(parameters|buffers)__ = \[([^\]\n]*)\]", re.MULTILINE)
QUOTED = re.compile(r'"((?:[^"\\]|\\.){0,400})"')
FINAL = re.compile(rb"^  (\w{1,200}) : Final\[(?:int|bool|float|str)\] = ([^\n]{1,200})$", re.MULTILINE)
MOST_FINALS = 64  # of a class
ENTRY_COST = 4_096  # bytes that looking for one file of code counts for, however small it is

# What the __getstate__ of torch.ao.nn.quantized's convolutions gives.
QUANTISED_CONV = (
    "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "transposed", "output_padding", "groups",
    "padding_mode", "weight", "bias", "scale", "zero_point", "training",
)  # fmt: skip
# State of a packed weight → names of what it holds. A list of tensors is (configuration, weight), the optional ones are (bias,).
PACKED = {
    "LinearPackedParamsBase": ("weight", "bias"),
    "SparseLinearPackedParamsBase": ("weight", "bias"),
    "Conv2dPackedParamsBase": ("version", ("config", "weight"), ("bias",)),
    "Conv3dPackedParamsBase": ("version", ("config", "weight"), ("bias",)),
    "EmbeddingPackedParamsBase": ("version", ("weight",)),
    "CellParamsBase": ("kind", ("b_ih", "b_hh"), "doubles", "longs", ("w_ih", "w_hh")),
    **dict.fromkeys(
        (
            "Conv1d",
            "Conv2d",
            "Conv3d",
            "ConvTranspose1d",
            "ConvTranspose2d",
            "ConvTranspose3d",
            "ConvReLU1d",
            "ConvReLU2d",
            "ConvReLU3d",
        ),
        QUANTISED_CONV,
    ),
    "LinearOpContext": ("weight", "bias"),  # prepacked for XNNPACK by optimize_for_mobile
    "Conv2dOpContext": ("weight", "bias"),
    "TransposeConv2dOpContext": ("weight", "bias"),
}
PACKED_PARAMETERS = ("weight", "bias", "b_ih", "b_hh")


class ScriptClass(NamedTuple):
    """What the text of a class says: role by attribute (None: it lists none), and attributes that every object has alike."""

    roles: dict[str, str] | None
    finals: dict[str, Any]


UNKNOWN = ScriptClass(None, {})


class ScriptClasses:
    """The classes of an archive, read from its code when they are first asked for."""

    def __init__(self, archive: Archive, folder: str):
        self.archive = archive
        self.folder = folder
        self.notes: list[Note] = []
        self._files: dict[str, dict[str, ScriptClass]] = {}
        self._left = archive.limits.pickle_bytes

    def find(self, cls: Global) -> ScriptClass:
        """The class behind a global; an unknown one when the code does not tell."""
        path = f"{self.folder}{cls.module.replace('.', '/')}.py"
        if path not in self._files:
            self._files[path] = self._read(path)
        return self._files[path].get(cls.name, UNKNOWN)

    def _read(self, path: str) -> dict[str, ScriptClass]:
        member = self.archive.members.get(path)
        if member is None or self._left < 0:
            return {}
        self._left -= member.size + ENTRY_COST
        if self._left < 0:
            message = "so much code that not all of it was looked at: which tensors are buffers is partly inferred"
            self.notes.append(Note("code-cut", "info", path, message))
            return {}
        return parse(self.archive.read(path, self.archive.limits.pickle_bytes, "pickle_bytes"))


def parse(code: bytes) -> dict[str, ScriptClass]:
    """The classes in a source text, by name. What is not written as torch writes it is passed over."""
    starts = list(CLASS.finditer(code))
    stops = [match.start() for match in starts[1:]] + [len(code)] * bool(starts)
    return {
        match[1].decode("utf-8", "replace"): _class(code, match.end(), stop) for match, stop in zip(starts, stops, strict=True)
    }


def _class(code: bytes, start: int, stop: int) -> ScriptClass:
    head = code.find(b"\n  def ", start, stop)
    stop = head + 1 if head >= 0 else stop
    roles: dict[str, str] | None = None
    for kind, listed in LISTED.findall(code, start, stop):
        roles = roles or {}
        role = PARAMETER if kind == b"parameters" else BUFFER
        roles.update(dict.fromkeys(QUOTED.findall(listed.decode("utf-8", "replace")), role))
    finals = [
        (name.decode(), _literal(text.decode("utf-8", "replace")))
        for name, text in FINAL.findall(code, start, stop)[:MOST_FINALS]
    ]
    return ScriptClass(roles, {name: value for name, value in finals if value is not None})


def _literal(text: str) -> Any:
    """A number, truth value or quoted word; None for anything else."""
    if text in ("True", "False"):
        return text == "True"
    if text[:1] == '"' and (match := QUOTED.fullmatch(text)):
        return match[1]
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


class ScriptWalk(Walk):
    """A walk that knows objects of TorchScript classes: their names, and the roles of their attributes."""

    def __init__(self, table: TensorTable, where: str, limits: Limits, classes: ScriptClasses):
        super().__init__(table, where, limits)
        self.classes = classes
        self._told: set[int] = set()  # ids of objects whose class says what its parameters and buffers are
        self._objects: set[int] = set()  # ids of objects of custom classes, of which only some parts are known
        self._pending: list[int] = []  # rows without a role, until the object around them has been walked

    def run(self, root: Any) -> None:
        super().run(root)
        self.notes += self.classes.notes
        self.classes.notes = []

    def _entries(self, node: Any, path: str) -> Iterator[tuple[str, Any, str | None]]:
        if type(node) is Call and type(node.function) is Global and node.function.module.split(".", 1)[0] == PREFIX:
            return iter(self._script_entries(node, node.function, path))
        return super()._entries(node, path)

    def _call(self, frames: Any, node: Call, path: str, key: str, mark: str | None, frame: Any) -> None:
        value = _unwrapped(node)
        if type(value) is Call:
            super()._call(frames, value, path, key, mark, frame)
        else:
            self._container(frames, value, path, key, frame.sink)

    def _add(self, found: Found, path: str, mark: str | None, node: Any) -> None:
        super()._add(found, path, mark, node)
        if len(self.table) - 1 not in self.table.recorded:
            self._pending.append(len(self.table) - 1)

    def _leave(self, frame: Any) -> None:
        """What a class lists neither as parameter nor as buffer is no parameter: an attribute, or in a list or dictionary."""
        super()._leave(frame)
        told = frame.node in self._told
        while (told or frame.node in self._objects) and self._pending and self._pending[-1] >= frame.first:
            row = self._pending.pop()
            if told:
                self.table.recorded[row] = BUFFER

    def _script_entries(self, node: Call, cls: Global, path: str) -> list[tuple[str, Any, str | None]]:
        known = self.classes.find(cls)
        pairs = node.state.pairs if type(node.state) is Mapping else []
        plain_ones = self.plain.attributes([pair for pair in pairs if type(pair[1]) in SCALARS and pair[1] is not None])
        name = MANGLED.sub("", cls.path.removeprefix(PREFIX)).removeprefix(".")
        self.modules[self._name(path)] = ModuleRecord(name, {**known.finals, **plain_ones} if plain_ones else known.finals)
        if known.roles is not None:
            self._told.add(id(node))
        if type(node.state) is not Mapping:
            self._objects.add(id(node))
            return _packed(node.state, PACKED.get(cls.name, ()))
        return [
            (self.plain.key(key), value, known.roles.get(key) if known.roles and type(key) is str else None)
            for key, value in pairs
            if type(value) not in SCALARS
        ]


def _unwrapped(node: Call) -> Any:
    """What torch's own wrappers around typed containers hold: restore_type_tag(value, type), build_tensorlist([…])."""
    value: Any = node
    while type(value) is Call and type(value.function) is Global and value.function.module == "torch.jit._pickle":
        inner = value.args[0] if value.args else None
        if type(inner) not in (Call, Mapping, list, tuple):
            return value
        value = inner
    return value


def _packed(state: Any, names: tuple[Any, ...]) -> list[tuple[str, Any, str | None]]:
    """(name, value, role) of what stands in the state of a custom class; what has no name gets its number."""
    state = _unwrapped(state) if type(state) is Call else state
    if type(state) not in (tuple, list):
        return [] if type(state) in SCALARS else [("state", state, None)]
    found: list[tuple[str, Any, str | None]] = []
    for index, value in enumerate(state):
        name = names[index] if index < len(names) else str(index)
        if type(name) is tuple:
            found += _packed(value, name)
        elif type(value) not in SCALARS:
            role = None if index >= len(names) else PARAMETER if name in PACKED_PARAMETERS else BUFFER
            found.append((name, value, role))
    return found
