"""Sources that come along in a folder or an archive, and what says that they are run: a torch.package, a manifest of TorchServe.

    FOLDER/.data/extern_modules    makes the folder a torch.package: PackageImporter takes a folder as it takes an archive
    FOLDER/shop/models.py          then is the module shop.models, whatever else goes by that name
    FOLDER/MAR-INF/MANIFEST.json   {"model": {"handler": "handler.py", "modelFile": "model.py", …}}   TorchServe imports them: also
                                   handler.pyc, and for "shop.nets:entry" shop/nets.py and shop/__init__.py
    FOLDER/WAR-INF/MANIFEST.json   {"workflow": {"handler": "steps.py", …}}   the same of an archive of a workflow

Facts: torch/package/_directory_reader.py, package_importer.py; model-archiver/model_archiver/manifest_components; ts/model_loader.py;
workflow-archiver/workflow_archiver/manifest_components; pytorch/serve docs/workflows.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli.core.scanned import SERVED, Scanned
from modelscope_cli.core.window import open_window
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.compiled_python import source_of

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

DATA, EXTERN = ".data", "extern_modules"
MANIFESTS = (("MAR-INF", "MANIFEST.json"), ("WAR-INF", "MANIFEST.json"))
LARGEST_MANIFEST = 16 << 20
MOST_ABOVE = 16  # folders above a file that are looked into
MOST_LISTED = 100_000  # entries of each
MOST_ASKED = 20_000  # modules that are looked for
PY = re.compile(r"\.py\Z", re.IGNORECASE)
NAMING = ("handler", "modelFile", "serviceFile", "service")  # keys of a manifest whose values are Python files
MOST_PARTS = 12  # of a name with dots
ABOVE = 4  # folders above a file of an unpacked archive that are looked into for its manifest
# Handlers that TorchServe has itself, which it takes where no file goes by the name.
OWN_HANDLER = re.compile(
    r"(?:ts\.torch_handler\.)?(?:(?:base|vision|text|densenet|dali|trt_llm|vllm)_handler|(?:dali_)?image_classifier|image_segmenter"
    r"|object_detector|text_classifier|distributed\.\w+)(?:\.py)?(?::\w+)?"
)
LONGEST = 120  # characters of a name that are shown


class Manifest(NamedTuple):
    """What TorchServe imports for an archive that it serves: Python files, and its handler where that can be another one's."""

    files: frozenset[str]
    handler: str = ""


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
    except (OSError, ValueError):
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


def served_around(path: str) -> Iterator[tuple[str, Manifest]]:
    """The folders of TorchServe archives that were unpacked and that a file lies in, the nearest first, each with its manifest."""
    folder = os.path.dirname(os.path.abspath(path))
    for _ in range(ABOVE + 1):
        read = [found for place in MANIFESTS if (found := _read(os.path.join(folder, *place))) is not None]
        if read:
            yield folder, Manifest(frozenset().union(*[one.files for one in read]), read[0].handler)
        above = os.path.dirname(folder)
        if above == folder:
            break
        folder = above


def _read(path: str) -> Manifest | None:
    try:
        with open_window(path) as window:
            data = window.read(0, window.size) if window.size <= LARGEST_MANIFEST else b""
    except ModelscopeError:
        return None
    from modelscope_cli.formats.scan_text import document_of

    return named_in(document_of(data))


def keep_manifest(walk: Walk, root: str, document: Any) -> None:
    """Keep what a manifest in an archive names; `root` is where it begins. There may be one of a model and one of a workflow."""
    found, before = named_in(document), walk.served.get(root, Manifest(frozenset()))
    walk.served[root] = Manifest(before.files | found.files, before.handler or found.handler)


def named_in(manifest: Any) -> Manifest:
    """What a manifest names. TorchServe takes a/b.py:entry for the module b, and of a module's name each part is imported."""
    model = (manifest.get("model") or manifest.get("workflow")) if isinstance(manifest, dict) else None
    values = {key: model.get(key) for key in NAMING} if isinstance(model, dict) else {}
    named: set[str] = set()
    for value in values.values():
        if isinstance(value, str) and value:
            plain = PY.sub("", value.partition(":")[0].replace("\\", "/"))
            last = plain.rpartition("/")[2]
            parts = last.split(".")[:MOST_PARTS]
            modules = {plain, last, *("/".join(parts[:end]) for end in range(1, len(parts) + 1))}
            named |= {f"{module}{end}" for module in modules for end in (".py", "/__init__.py")}
    handler = values.get("handler")
    own = not isinstance(handler, str) or OWN_HANDLER.fullmatch(handler) is not None
    return Manifest(frozenset(named), "" if own else str(handler))


def is_named(manifest: Manifest, path: str) -> bool:
    """Whether a manifest names a source, by its path from where the archive begins."""
    return path in manifest.files or path.rpartition("/")[2] in manifest.files


def sign_handler(walk: Walk, where: str, handler: str) -> None:
    """Tell of a handler that is no file of the archive: TorchServe imports it from where it can."""
    from modelscope_cli.formats.scan_names import NAME, add_name

    said = f"TorchServe imports its handler, which is none of its own and no file of the archive: {handler[:LONGEST]}"
    walk.sign("custom-code", where, said)
    name = PY.sub("", handler.partition(":")[0]).rpartition("/")[2] + "." + handler.partition(":")[2]
    if NAME.fullmatch(name):
        add_name(walk, where, name, SERVED)


def scan_manifest(walk: Walk, where: str, document: Any) -> None:
    """Look at a manifest in a folder: whether its handler is there. In an archive that is known when all was looked at."""
    path = os.path.abspath(walk.found.path)
    if where or os.path.basename(os.path.dirname(path)).upper() not in [folder for folder, _ in MANIFESTS]:
        return
    manifest = named_in(document)
    root = os.path.dirname(os.path.dirname(path))
    if manifest.handler and not any(_is_there(root, file) for file in manifest.files):
        sign_handler(walk, where, manifest.handler)


def _is_there(root: str, file: str) -> bool:
    """Whether a source is below a folder, or what was compiled of it."""
    path = os.path.normpath(os.path.join(root, file))
    if not path.startswith(os.path.join(root, "")):
        return False
    folder, leaf = os.path.split(path)
    try:
        with os.scandir(folder) as entries:
            return any(source_of(entry.name) == leaf for entry in islice(entries, MOST_LISTED))
    except (OSError, ValueError):  # a manifest may name what no system has
        return False
