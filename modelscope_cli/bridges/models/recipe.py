"""How the model behind a file is made, as its user says it: a factory, what it is called with, settings, trust."""

from __future__ import annotations

from typing import Any, NamedTuple


class Recipe(NamedTuple):
    """Everything of it may be absent: then the model is made from the config.json beside the weights.

    `factory` is `package.module:name` or `path/to/file.py:name`; `inputs` are texts as input_specs reads them; `settings` are
    keyword arguments of the factory, or change what config.json says. `trusted`: code that comes with the file may run.
    """

    factory: str | None = None
    inputs: tuple[str, ...] = ()
    settings: dict[str, Any] | None = None
    trusted: bool = False
