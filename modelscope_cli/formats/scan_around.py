"""What the configurations of the model ask for that a Python file of this machine belongs to: those beside it and in folders above.

Of folders above are read the index of a pipeline in the next one, and MLmodel and what else names modules in packages: a component of
a pipeline, and the code of mlflow, lie in folders of their own. Modules of sentence-transformers lie in folders below, and name code of
the folder of the model. A config.json can name others, one of which transformers reads in its place.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from itertools import islice
from typing import Any

from modelscope_cli.core.limits import Limits
from modelscope_cli.core.window import open_window
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.scan_asked import (
    ADAPTER,
    INDEXES,
    MODULES,
    OF_MODULES,
    ROUTER,
    Asked,
    Asking,
    asked_by_place,
    asked_in,
    exists_below,
    place_of,
    versions_in,
)
from modelscope_cli.formats.scan_mlflow import MLMODEL, asked_by_mlflow

CONFIGURATIONS = (
    *OF_MODULES,
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "image_processor_config.json",
    "video_preprocessor_config.json",
    "feature_extractor_config.json",
    "generation_config.json",
    ADAPTER,
    "modular_config.json",
    *INDEXES,
    MODULES,
)
IN_PACKAGES = (*OF_MODULES, ADAPTER, MODULES)  # that name modules with dots, whose files lie in folders below
ABOVE = 4  # folders
MOST_MODULES = 64  # of sentence-transformers, in folders of their own


def asked_around(path: str, limits: Limits) -> tuple[Asked, bool] | None:
    """Who asks for a Python file, whose path is absolute, and whether by its name; None where nobody does."""
    folder, name = os.path.split(path)
    up, own = os.path.split(folder)
    if (entry := place_of(own)[0]) and (
        found := Asking(asked_by_place([f"{own}/{entry}"]), exists_below(up)).of(f"{own}/{name}")
    ):
        return found
    reading = _Reading(limits)
    for above in range(ABOVE + 1):
        found = Asking(reading.of_folder(folder, above), exists_below(folder)).of(name)
        up, own = os.path.split(folder)
        if found is not None or up == folder:
            return found
        folder, name = up, f"{own}/{name}"
    return None


class _Reading:
    """Reads configurations, as many bytes of them as are left."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.left = 2 * limits.searched_bytes

    def of_folder(self, folder: str, above: int) -> Iterator[Asked]:
        """What the configurations in a folder ask for that lies so many folders below."""
        if data := self._data(os.path.join(folder, MLMODEL)):
            yield from asked_by_mlflow("", data.decode("utf-8", "replace"))[0]
        modules: list[str] = []
        for name in CONFIGURATIONS if not above else (*INDEXES, *IN_PACKAGES) if above == 1 else IN_PACKAGES:
            document = self._document(os.path.join(folder, name))
            yield from asked_in(name, "", document)
            if above:
                continue
            modules += _modules(name, document)
            for other in versions_in(document) if name == "config.json" else ():
                yield from asked_in(name, "", self._document(os.path.join(folder, other)))
        for module in islice(modules, MOST_MODULES):  # which grows
            for name in OF_MODULES:
                document = self._document(os.path.join(folder, module, name))
                yield from asked_in(name, module, document)
                modules += [posixpath.join(module, each) for each in _modules(name, document)]

    def _data(self, path: str) -> bytes:
        try:
            with open_window(path) as window:
                size = window.size if window.size <= min(self.left, self.limits.searched_bytes) else 0
                self.left -= size
                return window.read(0, size)
        except ModelscopeError:
            return b""

    def _document(self, path: str) -> Any:
        from modelscope_cli.formats.scan_text import document_of

        data = self._data(path)
        return document_of(data) if data else None


def _modules(name: str, document: Any) -> list[str]:
    """The folders of the modules that a configuration of sentence-transformers names, as far as they lie below it."""
    named: list[Any] = []
    if name == MODULES and isinstance(document, list):
        named = [each.get("path") for each in document if isinstance(each, dict)]
    elif name in (ROUTER, "config.json") and isinstance(document, dict) and isinstance(document.get("types"), dict):
        named = list(document["types"])
    paths = [each for each in named[:MOST_MODULES] if isinstance(each, str) and each and not os.path.isabs(each)]
    return [path for path in paths if ".." not in path.replace("\\", "/").split("/")]
