"""Look inside model files without loading or executing them.

>>> import modelscope_cli
>>> checkpoint = modelscope_cli.read("weights.pth")
>>> checkpoint.tensors[0].name, checkpoint.tensors[0].shape
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.core.limits import Limits
    from modelscope_cli.core.tensor import TensorInfo
    from modelscope_cli.errors import ModelscopeError

__version__ = "0.1.0"
__all__ = ["Checkpoint", "Limits", "ModelscopeError", "TensorInfo", "__version__", "read"]

_PLACES = {  # imported when they are asked for: starting is fast because little is imported
    "Checkpoint": "modelscope_cli.core.checkpoint",
    "Limits": "modelscope_cli.core.limits",
    "ModelscopeError": "modelscope_cli.errors",
    "TensorInfo": "modelscope_cli.core.tensor",
}


def __getattr__(name: str) -> object:
    if name in _PLACES:
        from importlib import import_module

        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def read(path: str, *, limits: Limits | None = None, lenient: bool = False) -> Checkpoint:
    """The checkpoint at `path`: a file, any shard or the index of a sharded set, or a folder that holds one.

    Only headers, directories and pickles are read, no tensor data, and nothing in the file is executed. `lenient` shows what
    can be shown of a damaged safetensors file, with notes of severity "error". Raises modelscope_cli.errors.ModelscopeError.
    """
    from modelscope_cli.core.limits import DEFAULT_LIMITS
    from modelscope_cli.formats.registry import read as read_path

    return read_path(path, limits or DEFAULT_LIMITS, lenient=lenient)
