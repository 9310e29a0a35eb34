"""Names behind the keys of configurations that have something called, whichever program reads them: the rows of core/calling_keys.

Also modules that OpenMMLab's configurations have imported, whether or not anything of them is called:

    {"custom_imports": {"imports": ["shop_ops"], "allow_failed_imports": false}}        mmengine/config/config.py, fromfile
"""

from __future__ import annotations

import re
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from modelscope_cli.core.calling_keys import CALLING_KEYS, CallingKey
from modelscope_cli.core.standard_names import is_listed, may_be_called
from modelscope_cli.formats.scan_names import KEY as TARGET
from modelscope_cli.formats.scan_names import Lookup, add_name, add_targets

if TYPE_CHECKING:
    from modelscope_cli.formats.scan_asked import Asked
    from modelscope_cli.formats.scan_yaml import Search
    from modelscope_cli.formats.scanning import Walk

IMPORTS = "custom_imports"
MODULE = re.compile(r"[^\W\d][\w-]*+(?:\.[^\W\d][\w-]*+)*+")  # that importlib takes, where no Python could write it
BY_MMENGINE = "OpenMMLab's programs import where they read the configuration"
MOST_SHOWN = 6
MOST_AROUND = 2_000  # characters behind the key in YAML among which the modules are looked for
MOST_IMPORTS = 64  # such keys of a file
SAYS_CALLS = re.compile(  # in a document of JSON, as it is written
    rb'"(?:_target_|_component_|__kind__|pyref|__loader__|custom_imports)"|"steps"\s*+:\s*+\[|"type"\s*+:\s*+"\w++\.|'
    rb'"class_name"\s*+:\s*+"[\w.]++:'
)
IN_YAML = re.compile(rf"""(?<!\w){IMPORTS}["']?\s*+:(?!\w)""")
NO_MODULES = frozenset(("imports", "allow_failed_imports", "False", "True", "false", "true", "null", "None"))
BRACKET = re.compile(r"[\[\]{}]")
KEYS = frozenset((*(row.within or row.key for row in CALLING_KEYS), IMPORTS))
COMPUTED = (TARGET, "_component_")  # whose programs put values together first (omegaconf)
PASSES_ON = frozenset({"functools.partial", "operator.itemgetter"})  # what they call is named and judged itself, or is an index
PLAIN = frozenset((
    "bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range", "set", "slice", "str",
    "tuple", "type",
))  # fmt: skip
DATA = frozenset(("abc", "array", "collections", "dataclasses", "datetime", "decimal", "enum", "fractions", "ipaddress", "numbers",
                  "pathlib", "typing", "uuid"))  # fmt: skip
LOADERS = re.compile(
    r"(?:torch|numpy|pandas|joblib|dill|cloudpickle|transformers|tensorflow)\.(?:\w++\.)*?(?:\w*load\w*|read_pickle|run|compile)"
)


def called_in_objects(walk: Walk, where: str, objects: list[dict[str, Any]], lookup: Lookup) -> None:
    """What the objects of a document of JSON have called, but for what stands behind `_target_`."""
    telling = [node for node in objects if not KEYS.isdisjoint(node)]
    for row in CALLING_KEYS:
        if row.key == TARGET:
            continue
        named = [node for node in _within(row, telling) if isinstance(node.get(row.key), str) and _stands(row, node)]
        if row.key in COMPUTED:
            add_targets(walk, where, [node[row.key] for node in named], lookup, key=row.key, tag=row.by)
            continue
        for node in named:
            name = _name(row, node)
            if MODULE.fullmatch(name) and _counts(row, name):
                add_name(walk, where, name, row.by)
    for node in telling:
        if IMPORTS in node:
            _imports(walk, where, _modules(node[IMPORTS]))


def _within(row: CallingKey, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not row.within:
        return objects
    lists = (node[row.within] for node in objects if isinstance(node.get(row.within), list))
    return [each for inner in lists for each in inner if isinstance(each, dict)]


def _stands(row: CallingKey, node: dict[str, Any]) -> bool:
    """Whether what has to stand beside the key does."""
    beside = not row.beside or (row.beside in node and (not row.stating or node[row.beside] == row.stating))
    return beside and (not row.module or isinstance(node.get(row.module), str))


def _name(row: CallingKey, node: dict[str, Any]) -> str:
    """The name with its module; "" for a text that is no such name."""
    text: str = node[row.key]
    if row.module:
        return f"{node[row.module]}.{text}"
    if not row.divided:
        return text if "." in text else f"builtins.{text}"
    return text.replace(row.divided, ".", 1) if row.divided in text else ""


def _counts(row: CallingKey, name: str) -> bool:
    """Whether a name is worth a judgement: data types of Python call nothing."""
    first, _, rest = name.partition(".")
    if (row.module or row.beside) and (name in PASSES_ON or (first == "builtins" and rest in PLAIN)):
        return False
    return row.every or _may_harm(first, rest, name)


def _may_harm(first: str, rest: str, name: str) -> bool:
    if is_listed(name):
        return first not in DATA and not (first == "builtins" and rest in PLAIN) and may_be_called(name)
    return LOADERS.fullmatch(name) is not None


def called_in_yaml(walk: Walk, where: str, text: str, search: Search) -> None:
    """The same in YAML without comments, but for `_target_`."""
    for row in CALLING_KEYS:
        if row.in_yaml and row.key != TARGET and row.key in text:
            values = search.values(row.key)
            if row.key in COMPUTED:
                add_targets(walk, where, list(values), search.lookup, key=row.key, tag=row.by)
                continue
            for name in values:
                if name is not None and row.divided in name and MODULE.fullmatch(name) and _counts(row, name):
                    add_name(walk, where, name, row.by)
    for match in islice(IN_YAML.finditer(text), MOST_IMPORTS) if IMPORTS in text else ():
        _imports(walk, where, [name for name in MODULE.findall(_under(text, match)) if name not in NO_MODULES])


def _under(text: str, key: re.Match[str]) -> str:
    """What stands under a key in YAML: the rest of its line, up to the bracket that closes it, or lines that are further in."""
    begins = text.rfind("\n", 0, key.start()) + 1
    column = key.start() - begins
    behind = text[key.end() : key.end() + MOST_AROUND]
    if behind.lstrip()[:1] in ("{", "["):
        depth = 0
        for sign in BRACKET.finditer(behind):
            depth += 1 if sign[0] in "{[" else -1
            if not depth:
                return behind[: sign.start()]
        return behind
    first, *lines = behind.split("\n")
    inside = takewhile(
        lambda line: not line.strip() or len(line) - len(line.lstrip()) > column or line[column:][:2] == "- ", lines
    )
    return "\n".join([first, *inside])


def _imports(walk: Walk, where: str, modules: list[str]) -> None:
    """Modules that are imported by themselves: their files are code that loading runs."""
    if modules:
        from modelscope_cli.formats.scan_asked import asked_of_names, folder_of, keep_asked

        keep_asked(walk, where, [asked_of_names(folder_of(walk, where), modules, BY_MMENGINE)])
        named = ", ".join(modules[:MOST_SHOWN]) + (", …" if len(modules) > MOST_SHOWN else "")
        walk.sign("custom-code", where, f"it names {named} in {IMPORTS}, which {BY_MMENGINE}")


def _modules(value: Any) -> list[str]:
    from modelscope_cli.formats.scan_asked import texts_in

    named = texts_in(value.get("imports")) if isinstance(value, dict) else []
    return [name for name in named if MODULE.fullmatch(name)]


def imported_in(folder: str, document: Any) -> list[Asked]:
    """The files that a configuration has imported, whatever it is called: what stands at its top."""
    from modelscope_cli.formats.scan_asked import asked_of_names

    modules = _modules(document.get(IMPORTS)) if isinstance(document, dict) else []
    return [asked_of_names(folder, modules, BY_MMENGINE)] if modules else []
