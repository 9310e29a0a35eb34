"""Modules that lie in the file itself: TorchScript archives and pickled modules. Loading one runs what its maker put there.

Nothing here is called unless the user passed --trust-code.
"""

from __future__ import annotations

import os
from typing import Any

from modelscope_cli.bridges.models.factory import importable
from modelscope_cli.bridges.models.failing import said
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.errors import DrawingError

TORCHSCRIPT = "torchscript"
HARMLESS = ("torch._utils.", "torch.nn.", "torch.storage", "torch.Size", "collections.OrderedDict")
PLAIN = (
    "__builtin__.set",
    "builtins.set",
    "builtins.dict",
    "builtins.list",
    "builtins.slice",
    "copyreg.",
    "copy_reg.",
)  # named last


def holds_module(checkpoint: Checkpoint) -> bool:
    """Whether the file is a TorchScript archive or holds a whole pickled module."""
    return checkpoint.format == TORCHSCRIPT or any(module.class_name for module in checkpoint.modules.values())


def why_untrusted(checkpoint: Checkpoint) -> DrawingError:
    """The refusal, with what loading the file would run."""
    if checkpoint.format == TORCHSCRIPT:
        what = "holds a TorchScript program, which loading and tracing it runs"
    else:
        names = [f"{use.module}.{use.name}" for trace in checkpoint.pickles for use in trace.globals if use.calls]
        foreign = (
            sorted((name for name in names if not name.startswith(HARMLESS)), key=lambda name: name.startswith(PLAIN)) or names
        )
        what = (
            f"holds a pickled module, and loading that calls {', '.join(dict.fromkeys(foreign[:4])) or 'what its pickle names'}"
        )
    hint = (
        "--trust-code does so; --model package.module:factory makes the model from code of yours, --engine diagram needs none"
    )
    return DrawingError(what, hint=hint)


def load_module(checkpoint: Checkpoint, device: str) -> Any:
    """The module, on `device`; with "meta" its weights are not read. Raises DrawingError."""
    import torch

    path = checkpoint.files[0].path
    try:
        with importable(os.getcwd()):
            if checkpoint.format == TORCHSCRIPT:
                jit: Any = torch.jit
                return jit.load(path, map_location=device)
            found = torch.load(path, map_location=device, weights_only=False)
    except KeyboardInterrupt:
        raise
    except BaseException as problem:
        hint = "the classes of the module must be importable from this folder" if isinstance(problem, ImportError) else None
        if isinstance(problem, AttributeError) and "__main__" in str(problem):
            hint = "the script that saved it ran as __main__; --model that_script.py:Class makes the model from it"
        raise DrawingError(f"the module in it cannot be loaded: {said(problem)}", hint=hint) from None
    if not isinstance(found, torch.nn.Module) and isinstance(found, dict):
        found = next((value for value in found.values() if isinstance(value, torch.nn.Module)), found)
    if not isinstance(found, torch.nn.Module):
        raise DrawingError(f"what its pickle makes is no torch.nn.Module, but of {type(found).__name__}")
    return found
