"""Sources that come along in a folder or an archive, and what says that they are run: a torch.package, a manifest of TorchServe.

    FOLDER/.data/extern_modules    makes the folder a torch.package: PackageImporter takes a folder as it takes an archive
    FOLDER/shop/models.py          then is the module shop.models, whatever else goes by that name
    FOLDER/MAR-INF/MANIFEST.json   {"model": {"handler": "handler.py", "modelFile": "model.py", …}}   TorchServe imports them

Facts: torch/package/_directory_reader.py, package_importer.py; model-archiver/model_archiver/manifest_components; ts/model_loader.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Any

from modelscope_cli.core.scanned import Scanned
from modelscope_cli.core.window import open_window
from modelscope_cli.errors import ModelscopeError

DATA, EXTERN = ".data", "extern_modules"
MANIFEST = ("MAR-INF", "MANIFEST.json")
LARGEST_MANIFEST = 1 << 20
MOST_ABOVE = 16  # folders above a file that are looked into
MOST_LISTED = 100_000  # entries of each
MOST_ASKED = 20_000  # modules that are looked for
PY = re.compile(r"\.py\Z", re.IGNORECASE)
NAMING = ("handler", "modelFile", "serviceFile", "service")  # keys of a manifest whose values are Python files


def roots_of(names: Iterable[str]) -> list[str]:
    """Where among the members of an archive a torch.package begins, in small letters, the deepest first."""
    end = f"{DATA}/{EXTERN}"
    lowered = [name.lower() for name in names]
    roots = {name.removesuffix(end) for name in lowered if name.endswith(end)}
    return sorted((root for root in roots if not root or root.endswith("/")), key=len, reverse=True)


def module_of(path: str, roots: Iterable[str]) -> str:
    """The module that a torch.package makes of a member: `archive/shop/models.py` is shop.models."""
    root = next((root for root in roots if path.lower().startswith(root)), "")
    return PY.sub("", path[len(root) :]).removesuffix("/__init__").replace("/", ".")


def package_around(path: str) -> str | None:
    """The folder above a file that is a torch.package; None where there is none."""
    folder = os.path.dirname(os.path.abspath(path))
    for _ in range(MOST_ABOVE):
        if _is_package(folder):
            return folder
        above = os.path.dirname(folder)
        if above == folder:
            break
        folder = above
    return None


def _is_package(folder: str) -> bool:
    try:
        return _has_extern(folder, os.stat(folder).st_mtime_ns)
    except OSError:
        return False


@lru_cache(1 << 10)
def _has_extern(folder: str, changed: int) -> bool:
    """Whether .data/extern_modules stands in a folder, whatever the case: other file systems than this one mind none."""
    data = [entry for entry in islice(os.scandir(folder), MOST_LISTED) if entry.name.lower() == DATA and entry.is_dir()]
    return any(name.lower() == EXTERN for entry in data for name in os.listdir(entry.path))


def modules_beside(found: Scanned) -> set[str]:
    """The modules that the pickles of a file name and whose sources stand in the torch.package that its folder is."""
    root = package_around(found.path)
    if root is None:
        return set()
    named = {use.module for stream in found.streams for use in stream.trace.globals}
    asked: dict[str, str] = {}
    for module in sorted(named)[:MOST_ASKED]:
        parts = module.split(".")
        if all(part.isidentifier() for part in parts):
            asked.update((".".join(parts[:end]), os.path.join(root, *parts[:end])) for end in range(1, min(len(parts), 50) + 1))
    return {
        module
        for module, path in islice(asked.items(), MOST_ASKED)
        if os.path.exists(f"{path}.py") or os.path.exists(os.path.join(path, "__init__.py"))
    }


def served_files(path: str) -> set[str] | None:
    """The Python files that a manifest of TorchServe names; None where there is no manifest."""
    try:
        with open_window(path) as window:
            data = window.read(0, window.size) if window.size <= LARGEST_MANIFEST else b""
    except ModelscopeError:
        return None
    from modelscope_cli.formats.scan_text import document_of

    return named_in(document_of(data))


def named_in(manifest: Any) -> set[str]:
    """The Python files that a manifest names: `handler.py` also for handler, handler.py:entry and service/handler.py."""
    model = manifest.get("model") if isinstance(manifest, dict) else None
    values = [model.get(key) for key in NAMING] if isinstance(model, dict) else []
    named: set[str] = set()
    for value in values:
        if isinstance(value, str) and value:
            file = value.partition(":")[0].replace("\\", "/")
            file = file if PY.search(file) else f"{file}.py"
            named |= {file, file.rpartition("/")[2]}
    return named
