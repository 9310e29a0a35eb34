"""Calling a made model once, and saying in which of its modules that failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelscope_cli.bridges.models.bounds import bounded
from modelscope_cli.bridges.models.failing import FailedOnTheseError, said
from modelscope_cli.bridges.models.making import Made
from modelscope_cli.bridges.models.quiet import quiet
from modelscope_cli.errors import DrawingError

MOST_SECONDS, MOST_MEMORY = 600.0, 8 << 30


class Place:
    """Where a model is while it runs: `path` is the innermost module that was entered and not left, "" the model itself."""

    def __init__(self) -> None:
        self.entered: list[str] = []

    @property
    def path(self) -> str:
        return self.entered[-1] if self.entered else ""


@contextmanager
def watched(module: Any) -> Iterator[Place]:
    """Keeps track of the modules that a call goes through. Script modules take no hooks and are passed over."""
    from torch.jit import ScriptModule

    place = Place()
    handles: list[Any] = []
    for path, inner in module.named_modules() if not isinstance(module, ScriptModule) else ():

        def enter(_: Any, args: Any, path: str = path) -> None:
            place.entered.append(path)

        def leave(_: Any, args: Any, output: Any, path: str = path) -> None:
            if place.path == path and place.entered:
                place.entered.pop()

        handles += [inner.register_forward_pre_hook(enter), inner.register_forward_hook(leave)]
    try:
        yield place
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def slow_attention() -> Iterator[None]:
    """torch's fast path of nn.Transformer is one operator that hides everything, leaves no graph and does not run on meta."""
    from torch.backends import mha

    backend: Any = mha
    fast = backend.get_fastpath_enabled()
    backend.set_fastpath_enabled(False)
    try:
        yield
    finally:
        backend.set_fastpath_enabled(fast)


def call(made: Made) -> Any:
    """What the model returns. Raises DrawingError that names the module in which it failed."""
    limit = bounded("calling the model", MOST_SECONDS, MOST_MEMORY)
    with quiet(), slow_attention(), limit, watched(made.module) as place:
        try:
            with made.mode:
                return made.module(*made.args, **made.kwargs)
        except (KeyboardInterrupt, DrawingError):
            raise
        except BaseException as problem:
            raise failure(made, place.path, problem) from problem


def failure(made: Made, path: str, problem: BaseException) -> FailedOnTheseError:
    """A failed call in words: in which module, with which inputs, and why."""
    inner = dict(made.module.named_modules()).get(path) if path else None
    where = f"in {path} ({type(inner).__name__}) " if inner is not None else ""
    called = " ".join(f"--input '{spec}'" for spec in made.specs)
    return FailedOnTheseError(
        f"calling {type(made.module).__name__} with {called} failed {where}with {said(problem)}", hint=made.advice
    )
