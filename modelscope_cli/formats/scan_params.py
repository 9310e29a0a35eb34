"""The key `target` beside `params`, as programs of latent diffusion write configurations: they import what it names and call it.

    model:
      target: ldm.models.diffusion.ddpm.LatentDiffusion     get_obj_from_str(config["target"])(**config.get("params", dict()))
      params:
        first_stage_config: {target: ldm.models.autoencoder.AutoencoderKL, params: {embed_dim: 4}}

`params` may be left out, but many other configurations have a key `target`: so it counts in a file where it stands beside `params` once.
In YAML that is told by where lines begin, in texts of plain lines only: where one has a tag, an anchor, an explicit key, `<<`, a block, or a
quote or a bracket that its line does not close, each `target` counts. It is a name with dots, and where it begins with a module of Python
a function or a class of that: `test.accuracy` is a metric.
Facts: ldm/util.py, sgm/util.py and taming's main.py (instantiate_from_config); the programs read YAML by omegaconf, which knows both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelscope_cli.core.scanned import BESIDE_PARAMS
from modelscope_cli.core.standard_names import may_be_called
from modelscope_cli.formats.scan_names import NAME, add_targets
from modelscope_cli.formats.scan_yaml import Search

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

KEY, PARAMS = "target", "params"
LINE = re.compile(r"""^( *+)((?:- ++)*+)(?:["']?(params|target)["']?[ \t]*+:(?=\s|\Z)|(?=[^\s#]))""", re.MULTILINE)
PLAIN_VALUE = re.compile(r"""[ \t]++["']?[\w.]++["']?[ \t]*+(?:#[^\n]*+)?(?=\n|\Z)(?![\s]*+[,}\]])""")
QUOTED = r"""(?:"[^"\\\n]*+"|'[^'\n]*+')"""
FLAT = rf"""(?:[^\[\]{{}}"'&*!#\n]|(?<=[\[{{, ]){QUOTED})*+"""  # in brackets, without others in them
FLOW = rf"(?:\[(?:{FLAT}(?:\[{FLAT}\]|\{{{FLAT}\}})?+)*+\]|\{{(?:{FLAT}(?:\[{FLAT}\]|\{{{FLAT}\}})?+)*+\}})"
SCALAR = r"""(?:-(?=[^\s-])|\$\{|[^\s"'\[\]{}&*!|>%@`,?:#-])(?:[^:#\n]|:(?=[^\s:])|(?<=\S)#)*+"""
NAMED = rf"""(?:\w[\w./-]*+(?:[ ][\w./-]++)*+|{QUOTED})[ \t]*+:(?=\s|\Z)"""  # a key
PROPERTIES = r"(?:[&!][^\s,\[\]{}]*+(?:[ \t]++|\Z)){0,2}+"  # of a value
STANDING = rf"(?:{QUOTED}|{FLOW}|{SCALAR})"
PLAIN_LINE = re.compile(
    rf"(?:---|[ ]*+(?:-(?:[ ]++|\Z))*+(?:{NAMED}(?:[ \t]++{PROPERTIES}(?:{STANDING}|\*[\w.-]++)?)?|{STANDING})?)[ \t]*+(?:#.*)?"
)
WORD = re.compile(r"(?<!\w)params(?!\w)")


class Beside(Search):
    """A search for the key that passes over it in a text where `params` stands beside none."""

    def __init__(self, search: Search):
        self.__dict__.update(search.__dict__)
        self.key = KEY
        text = search.text
        beside = _beside(text) if all(map(PLAIN_LINE.fullmatch, text.split("\n"))) else {}
        self.passed = {} if any(beside.values()) else beside

    def of_key(self, end: int) -> Iterator[str | None]:
        """What stands behind a key that ends there: names with dots, and what is put together of others."""
        if end not in self.passed:
            yield from (value for value in super().of_key(end) if value is not None and _may_be_called(value))


def _may_be_called(value: str) -> bool:
    return "${" in value or ("." in value and NAME.fullmatch(value) is not None and may_be_called(value))


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


def params_in_yaml(walk: Walk, where: str, text: str, search: Search) -> None:
    """The key in a text of YAML without comments, which was searched for others."""
    if KEY in text and WORD.search(text):
        add_targets(walk, where, list(Beside(search).values()), search.lookup, key=KEY, tag=BESIDE_PARAMS)


def params_in_objects(objects: list[dict[str, Any]]) -> list[str | None]:
    """What stands behind the key in the objects of a document of JSON."""
    texts = [(node[KEY], PARAMS in node) for node in objects if isinstance(node.get(KEY), str)]
    named = [(text, beside) for text, beside in texts if _may_be_called(text)]
    return [text for text, _ in named] if any(beside for _, beside in named) else []
