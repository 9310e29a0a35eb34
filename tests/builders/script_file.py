"""TorchScript archives: a module as a pickle, its classes as source text, constants, mobile bytecode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.builders.pickle_code import Code, instance, pickled
from tests.builders.torch_file import torch_zip_bytes


def class_text(cls: str, parameters: list[str], buffers: list[str], *lines: str) -> str:
    """A class as torch prints it; `lines` are attributes."""
    quoted = {
        kind: "".join(f'"{name}", ' for name in names) for kind, names in (("parameters", parameters), ("buffers", buffers))
    }
    listed = [f"__{kind}__ = [{names}]" for kind, names in quoted.items()]
    body = "".join(f"  {line}\n" for line in [*listed, *lines])
    return f"class {cls}(Module):\n{body}  def forward(self: __torch__.{cls},\n    x: Tensor) -> Tensor:\n    return x\n"


def script_module(cls: str, attributes: Mapping[str, Any]) -> Code:
    """An object of a TorchScript class; `cls` without the __torch__ in front."""
    return instance(f"__torch__.{cls}", {"training": False, **attributes})


def packed(cls: str, state: Any) -> Code:
    """An object of a custom class, with the state that its __getstate__ gave."""
    return instance(f"__torch__.torch.classes.quantized.{cls}", state)


def script_bytes(
    root: Any,
    storages: Mapping[str, bytes | int] | None = None,
    code: Mapping[str, str] | None = None,
    *,
    constants: tuple[Any, ...] = (),
    constant_storages: Mapping[str, bytes] | None = None,
    bytecode: Any = None,
    records: Mapping[str, bytes] | None = None,
    **options: Any,
) -> bytes:
    """The archive. `code`: path below code/__torch__ without its suffix ("" for code/__torch__.py) → text."""
    members: dict[str, bytes] = {f"code/__torch__{path and '/'}{path}.py": text.encode() for path, text in (code or {}).items()}
    members["constants.pkl"] = pickled(constants)
    members |= {f"constants/{key}": data for key, data in (constant_storages or {}).items()}
    if bytecode is not None:
        members["bytecode.pkl"] = pickled(bytecode)
    return torch_zip_bytes(root, storages, records={**members, **(records or {})}, **options)


def method(name: str, constants: tuple[Any, ...]) -> tuple[Any, ...]:
    """A method of bytecode.pkl."""
    table = (
        ("instructions", (("LOAD", 1, 0), ("RET", 0, 0))),
        ("operators", ()),
        ("constants", constants),
        ("types", ()),
        ("register_size", 1),
    )
    return (f"__torch__.{name}", table, (("arguments", ()), ("returns", ())))
