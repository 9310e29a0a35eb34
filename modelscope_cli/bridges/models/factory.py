"""The factory that a user names: `package.module:name` or `path/to/file.py:name`, a function or class that makes a module.

Naming it is asking to run it, so it is imported and called like any code of the user's. What it prints goes to stderr.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelscope_cli.bridges.models.failing import FailedOnTheseError, said
from modelscope_cli.errors import DrawingError

READ = "__mscope_read__"  # when the file of a module had been changed last
HINT = "--model takes package.module:name or path/to/file.py:name, where name makes the model when it is called"


def find_factory(text: str) -> Any:
    """What the text names: something to call, or a module itself. Raises DrawingError."""
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise DrawingError(f"--model {text!r}: no name after a colon", hint=HINT)
    if place.endswith(".py") and not os.path.isfile(place):
        raise DrawingError(f"--model {text}: there is no file {place}", hint=HINT)
    with importable(home(text), first=is_file(text)):
        try:
            found: Any = run_file(place) if place.endswith(".py") else importlib.import_module(place)
        except KeyboardInterrupt:
            raise
        except ModuleNotFoundError as missing:
            inside = missing.name != place and not place.startswith(f"{missing.name}.")
            why = f"it imports {missing.name}, which is not installed" if inside else f"there is no module {missing.name}"
            raise DrawingError(f"--model {text}: {why}", hint=None if inside else HINT) from None
        except BaseException as problem:  # whatever a module does while it is imported, sys.exit() too
            raise DrawingError(f"--model {text}: importing {place} raised {said(problem)}") from None
    for step in name.split("."):
        if not hasattr(found, step):
            close = difflib.get_close_matches(step, dir(found), 1)
            meant = (
                f"did you mean {close[0]}?" if close else f"it has {', '.join(made_there(found)) or 'no classes or functions'}"
            )
            raise DrawingError(f"--model {text}: {place} has no {step}", hint=meant)
        found = getattr(found, step)
    return found


def call_factory(text: str, found: Any, settings: dict[str, Any] | None) -> Any:
    """The torch module that the factory makes of the settings. Raises DrawingError."""
    from torch import nn

    if isinstance(found, nn.Module):
        if settings:
            raise DrawingError(f"--model {text} is a module already, so --config means nothing to it")
        return found
    if not callable(found):
        raise DrawingError(f"--model {text} is {a(type(found).__name__)}, which cannot be called", hint=HINT)
    try:
        with importable(home(text), first=is_file(text)):
            made = found(**(settings or {}))
    except KeyboardInterrupt:
        raise
    except BaseException as problem:
        written = ", ".join(f"{key}={value!r}" for key, value in (settings or {}).items())
        message = f"--model {text}: {name_of(found)}({written[:200]}) raised {said(problem)}"
        if isinstance(problem, (TypeError, ImportError, SystemExit)):  # it would on any tensors
            hint = """--config '{"name": value}' gives it arguments""" if isinstance(problem, TypeError) else None
            raise DrawingError(message, hint=hint) from None
        raise FailedOnTheseError(message) from problem
    if not isinstance(made, nn.Module):
        raise DrawingError(f"--model {text} made {a(type(made).__name__)}, not a torch.nn.Module")
    return made


def is_file(text: str) -> bool:
    """Whether the text names a script, not a module."""
    return text.rpartition(":")[0].endswith(".py")


def home(text: str) -> str:
    """The folder whose modules what the text names may import."""
    place = text.rpartition(":")[0]
    return os.path.dirname(os.path.abspath(place)) if place.endswith(".py") else os.getcwd()


@contextmanager
def importable(folder: str, *, first: bool = False) -> Iterator[None]:
    """Modules of the folder can be imported. They come after installed ones, unless `first`, as for a script that lies there:
    whoever stands in a folder of downloads and names a package means the one that is installed.
    """
    sys.path.insert(0 if first else len(sys.path), folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def run_file(path: str) -> Any:
    """A file as a module, under its own name, so that classes in it can find themselves again; never in another's place."""
    if not os.path.isfile(path):
        raise FileNotFoundError(path)
    name = os.path.splitext(os.path.basename(path))[0]
    path, changed = os.path.abspath(path), os.stat(path).st_mtime_ns
    for known in (name, f"model_in_{name}"):
        held = sys.modules.get(known)
        if getattr(held, "__file__", None) == path and getattr(held, READ, None) == changed:
            return held  # the model is made once more, on other tensors
    if name in sys.modules or name in sys.stdlib_module_names:
        name = f"model_in_{name}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    setattr(module, READ, changed)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before
        raise
    return module


def made_there(module: Any) -> list[str]:
    """Names that a module makes itself, a few of them."""
    own = [
        name for name, value in vars(module).items() if getattr(value, "__module__", None) == getattr(module, "__name__", "")
    ]
    return [name for name in own if not name.startswith("_")][:8]


def a(noun: str) -> str:
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"


def name_of(found: Any) -> str:
    return str(getattr(found, "__name__", type(found).__name__))
