"""Look inside model files without loading or executing them.

>>> import modelscope_cli
>>> checkpoint = modelscope_cli.read("weights.pth")
>>> checkpoint.tensors[0].name, checkpoint.tensors[0].shape
>>> assert modelscope_cli.check("weights.pth", max_size="500 MB", forbid_optimizer_state=True)
"""

from __future__ import annotations

from os import PathLike, fspath

TYPE_CHECKING = False  # type checkers know it by its name; importing it would take longer than all the rest here
if TYPE_CHECKING:
    from modelscope_cli.checks.check import Check
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.core.limits import Limits
    from modelscope_cli.core.tensor import TensorInfo
    from modelscope_cli.errors import ModelscopeError

__version__ = "0.1.0"
__all__ = ["Check", "Checkpoint", "Limits", "ModelscopeError", "TensorInfo", "__version__", "check", "read"]

_PLACES = {  # imported when they are asked for: starting is fast because little is imported
    "Check": "modelscope_cli.checks.check",
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


def read(path: str | PathLike[str], *, limits: Limits | None = None, lenient: bool = False) -> Checkpoint:
    """The checkpoint at `path`: a file, any shard or the index of a sharded set, or a folder that holds one.

    Only headers, directories and pickles are read, no tensor data, and nothing in the file is executed. `lenient` shows what
    can be shown of a damaged safetensors file, with notes of severity "error". Raises modelscope_cli.errors.ModelscopeError.
    """
    from modelscope_cli.core.limits import DEFAULT_LIMITS
    from modelscope_cli.formats.registry import read as read_path

    return read_path(fspath(path), limits or DEFAULT_LIMITS, lenient=lenient)


def check(
    path: str | PathLike[str],
    *,
    baseline: str | PathLike[str] | None = None,
    config: str | PathLike[str] | None = None,
    modules: dict[str, dict[str, object]] | None = None,
    strict: bool = False,
    limits: Limits | None = None,
    **rules: object,
) -> Check:
    """What limits say of the checkpoint at `path`: true when it keeps all of them, and printed a line a rule.

    `rules` are those of `mscope check --list-rules` with underscores: max_size="500 MB", forbid_waste=True; `modules` are rules for
    module patterns: {"embedding": {"max_share": "45 %"}}. They come over the rules of a `config` file (mscope.toml); without one
    only they count. `baseline` is what growth is measured against. A rule that meets nothing to judge is a warning; with `strict` it
    fails. Raises modelscope_cli.errors.ModelscopeError: SettingsError for
    a rule that is not understood, others for files that cannot be read.
    """
    from modelscope_cli.checks.call import check as check_path

    other, written = (None if each is None else fspath(each) for each in (baseline, config))
    return check_path(fspath(path), other, written, modules or {}, rules, limits, strict=strict)
