"""The key `target` beside `params`, as programs of latent diffusion write configurations: they import what it names and call it.

    model:
      target: ldm.models.diffusion.ddpm.LatentDiffusion     get_obj_from_str(config["target"])(**config.get("params", dict()))
      params:
        first_stage_config: {target: ldm.models.autoencoder.AutoencoderKL, params: {embed_dim: 4}}

`params` may be left out, but many other configurations have a key `target`: so it counts in a file where it stands beside `params` once.
In YAML that is told by where lines begin; what is written in braces, by explicit keys, or takes in other mappings (`<<`) counts wherever
`params` stands.
Facts: ldm/util.py, sgm/util.py and taming's main.py (instantiate_from_config); the programs read YAML by omegaconf, which knows both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelscope_cli.core.scanned import BESIDE_PARAMS
from modelscope_cli.formats.scan_names import NAME, add_targets
from modelscope_cli.formats.scan_yaml import Search

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

KEY, PARAMS = "target", "params"
LINE = re.compile(r"""^( *+)((?:- ++)*+)(?:["']?(params|target)["']?[ \t]*+:(?=\s|\Z)|(?=[^\s#]))""", re.MULTILINE)
PLAIN_VALUE = re.compile(r"""[ \t]++["']?[\w.]++["']?[ \t]*+(?:#[^\n]*+)?(?=\n|\Z)(?![\s]*+[,}\]])""")
ODD = re.compile(r"""^[ -]*+\?\s|<<["']?\s*+:""", re.MULTILINE)
WORD = re.compile(r"(?<!\w)params(?!\w)")


class Beside(Search):
    """A search for the key that passes over it in a text where `params` stands beside none."""

    def __init__(self, text: str):
        super().__init__(text, KEY)
        beside = {} if ODD.search(text) else _beside(text)
        self.passed = {} if any(beside.values()) else beside

    def of_key(self, end: int) -> Iterator[str | None]:
        """What stands behind a key that ends there: names with dots, and what is put together of others."""
        if end not in self.passed:
            yield from (value for value in super().of_key(end) if value is not None and _may_be_called(value))


def _may_be_called(value: str) -> bool:
    return "${" in value or ("." in value and NAME.fullmatch(value) is not None)


def _beside(text: str) -> dict[int, bool]:
    """By where the key ends: whether `params` stands beside it, for keys that begin a line and have a plain value on it."""
    found: dict[int, bool] = {}
    mappings: list[tuple[int, list[int], list[bool]]] = []  # (column, keys, whether there are params) of those that are open

    def close(column: int) -> None:
        while mappings and mappings[-1][0] > column:
            _, keys, params = mappings.pop()
            found.update((key, bool(params)) for key in keys)

    for match in LINE.finditer(text):
        first, column = len(match[1]), len(match[1]) + len(match[2])
        close(first)
        if not mappings or mappings[-1][0] != column:
            mappings.append((column, [], []))
        if match[3] == PARAMS:
            mappings[-1][2].append(True)
        elif match[3] == KEY and PLAIN_VALUE.match(text, match.end()):
            mappings[-1][1].append(text.rindex(KEY, match.start(), match.end()) + len(KEY))
    close(-1)
    return found


def params_in_yaml(walk: Walk, where: str, text: str) -> None:
    """The key in a text of YAML without comments."""

    def lookup(keys: set[str]) -> dict[str, list[str]]:
        return Search(text, KEY).lookup(keys)

    if KEY in text and WORD.search(text):
        add_targets(walk, where, list(Beside(text).values()), lookup, key=KEY, tag=BESIDE_PARAMS)


def params_in_objects(objects: list[dict[str, Any]]) -> list[str | None]:
    """What stands behind the key in the objects of a document of JSON."""
    texts = [(node[KEY], PARAMS in node) for node in objects if isinstance(node.get(KEY), str)]
    named = [(text, beside) for text, beside in texts if _may_be_called(text)]
    return [text for text, _ in named] if any(beside for _, beside in named) else []
