"""Names that a configuration has a program look up and call: kept once each, as many as a limit allows, and judged later.

    _target_: torch.optim.Adam             hydra.utils.instantiate imports and calls it, with the keys beside it as arguments; .nemo
                                           archives, Lightning and many training programs keep such files, in YAML or JSON
    _target_: ${family}.${optimizer.name}  omegaconf puts it together first: from values of the same file, as far as those are there
    target: ldm.modules.Net                the same of programs of latent diffusion, where `params` stand beside it (scan_params)
    _component_: torchtune.models.Net      and of other programs by keys of their own (scan_calling)

Facts: hydra/_internal/instantiate/_instantiate2.py (_resolve_target, _locate); omegaconf/grammar_parser.py, resolvers/oc.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modelscope_cli.core.scanned import BESIDE_PARAMS, Target

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

KEY = "_target_"
LONGEST = 1_000  # characters of a name; modules in modules come nowhere near
NOTHING = frozenset(("", "???", "null", "~", "None"))  # that call nothing
NAME = re.compile(r"[^\W\d]\w*+(?:\.[^\W\d]\w*+)*+")
REFERENCE = re.compile(r"\$\{([^{}\n]{0,500}+)\}")
MOST_VALUES = 16  # of one key that a reference may mean
MOST_TOGETHER = 64  # names that one value with references in it may come to
MOST_STEPS = 4  # references to references
MOST_REFERENCES = 8  # of one value
MOST_REFERRED = 200  # values with references in them, of a file
MOST_KEYS = 400  # that they refer to

Lookup = Callable[[set[str]], dict[str, list[str]]]


def add_name(walk: Walk, where: str, name: str, tag: str = "") -> None:
    """Keep a name. Beyond the limit, what is new is not kept, and that is a finding: harmless names must not hide others."""
    if len(name) > LONGEST:
        said = f"a name of {len(name):,} characters in a configuration, of which the first {LONGEST:,} were judged"
        walk.sign("too-many-names", where, said)
        name = name[:LONGEST]
    target = Target(where, name, tag)
    if target in walk.targets:
        return
    most = walk.limits.scanned_names
    known = (name, tag) in walk.names
    if len(walk.found.targets if known else walk.names) < most:  # so they are twice as many at most
        walk.names.add((name, tag))
        walk.targets.add(target)
        walk.found.targets.append(target)
    elif not known and not walk.names_left_out:
        walk.names_left_out = True
        said = f"its configurations name more than {most:,} functions and classes; those that follow were not judged"
        walk.sign("too-many-names", where, f"{said} (--limit scanned_names=N)")


def add_targets(walk: Walk, where: str, values: list[str | None], lookup: Lookup, *, key: str = KEY, tag: str = "") -> None:
    """Keep what stands behind the keys of a file. None is what cannot be told; `lookup` has the values of some keys of the file."""
    computed = 0
    referring: list[str] = []
    for value in values:
        if value in NOTHING:
            continue
        if value is not None and NAME.fullmatch(value):
            add_name(walk, where, value, tag)
            continue
        computed += 1
        if value is not None and "${" in value and len(referring) < MOST_REFERRED:
            referring.append(value)
    for name in _resolved(referring, lookup) if referring else ():
        add_name(walk, where, name, tag)
    if computed:
        times = f", {computed:,} times" if computed > 1 else ""
        walk.sign("computed-target", where, f"what its key {key} names is put together from other values, or no name{times}")


def _resolved(values: list[str], lookup: Lookup) -> list[str]:
    """The names that values with references can come to, as far as the file says what those mean."""
    found: dict[str, list[str]] = {}
    keys = {key for value in values for key in _keys(value)}
    for _ in range(MOST_STEPS):
        new = lookup(keys - found.keys())
        found |= new
        keys = {key for told in new.values() for value in told for key in _keys(value)}
        if keys <= found.keys() or len(found) > MOST_KEYS:
            break
    come_to = {value: [value] for value in {*values, *itertools.chain(*found.values())}}
    for _ in range(MOST_STEPS):
        come_to = {value: _put_together(value, found, come_to) for value in come_to}
    return [name for value in values for name in come_to[value] if NAME.fullmatch(name)]


def _keys(value: str) -> list[str]:
    """The last keys of the paths that a value refers to."""
    inner = [NAME.findall(match[1]) for match in itertools.islice(REFERENCE.finditer(value), MOST_REFERENCES)]
    return [names[-1].rpartition(".")[2] for names in inner if names]


def _put_together(value: str, found: dict[str, list[str]], come_to: dict[str, list[str]]) -> list[str]:
    """What a value comes to if its references do so one step; of a resolver its arguments count (oc.env has a default among them)."""
    parts: list[list[str]] = []
    at = 0
    for match in itertools.islice(REFERENCE.finditer(value), MOST_REFERENCES):
        given = NAME.findall(match[1].partition(":")[2])[:MOST_VALUES]
        told = (each for key in _keys(match[0]) for stored in found.get(key, ()) for each in come_to[stored])
        parts += [[value[at : match.start()]], [*given, *itertools.islice(told, MOST_TOGETHER)]]
        at = match.end()
    if not parts:
        return [value]
    together = itertools.product(*parts, [value[at:]])
    return ["".join(each) for each in itertools.islice(together, MOST_TOGETHER) if sum(map(len, each)) <= LONGEST]


def targets_in(walk: Walk, where: str, document: Any) -> None:
    """The keys in a document of JSON."""
    from modelscope_cli.formats.scan_calling import called_in_objects
    from modelscope_cli.formats.scan_params import KEY as TARGET
    from modelscope_cli.formats.scan_params import params_in_objects

    objects = objects_in(walk, where, document)
    values: list[str | None] = []
    for node in objects:
        if KEY in node:
            value = node[KEY]
            values.append("" if value is None else value if isinstance(value, str) else None)

    def lookup(keys: set[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for node in objects:
            for key in keys & node.keys():
                told = found.setdefault(key, [])
                if isinstance(node[key], str) and len(told) < MOST_VALUES:
                    told.append(node[key])
        return found

    add_targets(walk, where, values, lookup)
    called_in_objects(walk, where, objects, lookup)
    add_targets(walk, where, params_in_objects(objects), lookup, key=TARGET, tag=BESIDE_PARAMS)


def objects_in(walk: Walk, where: str, document: Any) -> list[dict[str, Any]]:
    """The objects of a JSON document, those in others, too."""
    waiting = [document]
    found: list[dict[str, Any]] = []
    most = 2 * walk.limits.objects
    for _ in range(most):
        if not waiting:
            return found
        node = waiting.pop()
        if isinstance(node, dict):
            found.append(node)
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    if waiting:
        walk.unseen(where, f"what follows the first {most:,} values of a JSON document (--limit objects=N)")
    return found
