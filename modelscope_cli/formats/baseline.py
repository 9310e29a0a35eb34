"""A description of a checkpoint, saved earlier: everything but the weights, small enough to be committed.

    {"schema": "mscope.baseline/1", "format": "safetensors", "metadata": {…},
     "groups": [PATH, …], "modules": {PATH: CLASS or null}, "recorded": {ROLE: [NAME, …]}, "imports": ["module.name()", …],
     "quantisation": {…}, "files": [{"name": …, "bytes": …, "sections": {LABEL: BYTES},
                "tensors": {"layers.{0-31}.q_proj.weight": "float16 [4096, 4096]"},
                "views": {"head.weight": "= embed.weight", …}}]}

It reads back as the checkpoint that was described, under its own format: the same names, sizes, ties, roles and bytes of
every section; only where in its file a tensor lies is not known. A baseline may come from anybody, so names are counted before
they are unfolded, and what it says about bytes has to add up. docs/baselines.md shows the format; baseline_tensors.py knows
how tensors lie, baseline_writer.py writes it.
"""

from __future__ import annotations

import math
import re
from itertools import accumulate, pairwise
from operator import itemgetter
from typing import Any

from modelscope_cli.core.checkpoint import Checkpoint, FileRecord, GlobalUse, ModuleRecord, Note, PickleTrace
from modelscope_cli.core.dtype import KNOWN_DTYPES
from modelscope_cli.core.limits import Limits
from modelscope_cli.core.name_patterns import expand, holders, keys, spell
from modelscope_cli.core.span import SECTIONS, ByteMap
from modelscope_cli.core.tensor import TensorTable
from modelscope_cli.core.window import Window
from modelscope_cli.errors import LimitError, UnsupportedFeatureError
from modelscope_cli.formats.baseline_fields import LARGEST, Fields, Names, decoded, is_natural
from modelscope_cli.formats.baseline_tensors import Filler, Part, Word, check_data, files_of

SCHEMA = "mscope.baseline/1"
ALL_OTHERS = "all others"
ROLES = ("buffer", "parameter")
WORD = re.compile(r"(\w{1,40}) \[((?:[0-9]{1,19}(?:, [0-9]{1,19})*)?)\]", re.ASCII)


def read(window: Window, limits: Limits, *, lenient: bool = False) -> Checkpoint:
    """The checkpoint that a baseline describes. Raises CorruptFileError, LimitError, or UnsupportedFeatureError (other schema)."""
    document = decoded(window, limits, SCHEMA)
    budget = Names(limits, window.name)
    listed = document.list("files")
    if len(listed) > limits.shards + 1:  # and the index
        raise LimitError("shards", limits.shards, len(listed), path=window.name)
    parts = [read_part(document.inside(entry, f"file {number}"), budget, limits) for number, entry in enumerate(listed)]
    names = [name for part in parts for name in part.names]
    known = unique(names, document, "two tensors are")
    paths, holding = read_groups(document, budget, names)

    table = TensorTable()
    spans: list[range] = []
    seen: dict[str, int] = {}
    groups: list[tuple[int, str]] = []
    for part in parts:
        rows = range(len(table), len(table) + len(part.names))
        Filler(table, part, limits, len(parts), seen).fill(holding[rows.start : rows.stop], groups)
        spans.append(rows)
    check_data(table, parts)
    empty = paths.difference(path for _, path in groups)
    groups += [(len(table), path) for path in sorted(empty)]
    table.recorded.update(read_roles(document, budget, table.names))
    checkpoint = Checkpoint(
        window.name,
        read_format(document, window.name),
        [FileRecord(part.name, part.nbytes, held) for part, held in zip(parts, files_of(table, spans), strict=True)],
        table,
        [byte_map(part) for part in parts],
        metadata=document.metadata("metadata", limits),
        modules=read_modules(document, budget),
        pickles=read_imports(document),
        notes=[Note("baseline", "info", window.name, "a description saved earlier; the described files were not opened")],
        aliases=read_aliases(document, known),
        ordered=False,
        groups=groups or None,
        config=read_quantisation(document, limits),
    )
    document.finish()
    return checkpoint


def read_quantisation(document: Fields, limits: Limits) -> dict[str, Any]:
    """What the configuration beside the described file said of the quantisation; nothing else of it is kept."""
    found = document.metadata("quantisation", limits)
    return {"quantization_config": found} if found else {}


def read_format(document: Fields, path: str) -> str:
    """The format of what is described: one that we read, because rules go by it."""
    from modelscope_cli.formats.registry import READ_FORMATS

    found = document.text("format")
    if found not in READ_FORMATS:
        raise UnsupportedFeatureError(
            f"describes a file of the format {found[:80]!r}; this version reads {', '.join(READ_FORMATS)}", path=path
        )
    return found


def describe(checkpoint: Checkpoint) -> bytes:
    """The baseline of a checkpoint, as JSON. Raises ModelscopeError for one that is not whole."""
    from modelscope_cli.formats.baseline_writer import describe as written

    return written(checkpoint)


def read_part(entry: Fields, budget: Names, limits: Limits) -> Part:
    """A file, with the names of its tensors unfolded and sorted."""
    name, nbytes, sections = entry.text("name"), entry.natural("bytes"), entry.mapping("sections")
    for label, size in sections.items():
        if label not in SECTIONS or not is_natural(size):
            raise entry.wrong(f"{label[:80]!r} is no section with a size")
    if sum(sections.values()) != nbytes:
        raise entry.wrong(f"its sections add up to {sum(sections.values()):,} bytes, it has {nbytes:,}")
    tensors, views, unused = entry.mapping("tensors", {}), entry.mapping("views", {}), entry.list("unused_storages", [])
    entry.finish()
    texts = {text if type(text) is str else "" for text in tensors.values()}
    words = {text: read_word(text, entry, limits) for text in texts}
    patterns = budget.parsed(tensors, entry, "tensors")
    budget.count("tensors", len(views), sum(map(len, views)))
    rows = [(key, words[text]) for pattern, text in zip(patterns, tensors.values(), strict=True) for key in keys(pattern)]
    rows.sort(key=itemgetter(0))
    names = [spell(key) for key, _ in rows] + list(views)
    return Part(entry, name, nbytes, sections, names, [word for _, word in rows] + list(views.values()), unused)


def read_word(text: str, where: Fields, limits: Limits) -> Word:
    """dtype and shape of a tensor that is nothing special."""
    match = WORD.fullmatch(text)
    dtype = KNOWN_DTYPES.get(match[1]) if match else None
    if match is None or dtype is None:
        raise where.wrong(f"{text[:80]!r} is not a known dtype and a shape, such as 'float32 [2, 3]'")
    shape = tuple(map(int, match[2].split(", "))) if match[2] else ()
    if len(shape) > limits.dimensions:
        raise LimitError("dimensions", limits.dimensions, len(shape), path=where.path)
    nbytes = dtype.nbytes(math.prod(shape)) or 0
    if nbytes >= LARGEST or max(shape, default=0) >= LARGEST:
        raise where.wrong(f"{text[:80]!r} is larger than any file")
    return Word(shape, dtype, nbytes)


def unique(names: list[str], where: Fields, what: str) -> set[str]:
    """The names as a set. Raises CorruptFileError where one stands twice."""
    known = set(names)
    if len(known) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise where.wrong(f"{what} called {twice[:200]!r}")
    return known


def unfolded(patterns: list[object], where: Fields, budget: Names, what: str) -> list[str]:
    """All names that patterns stand for."""
    return [name for pattern in budget.parsed(patterns, where, what) for name in expand(pattern)]


def read_groups(document: Fields, budget: Names, names: list[str]) -> tuple[set[str], list[str]]:
    """The paths of the dictionaries, and for every tensor the one that holds it; both empty where all lie side by side."""
    listed, exceptions = document.list("groups", []), document.mapping("grouped", {})
    if not listed and not exceptions:
        return set(), []
    paths = unique(unfolded(listed, document, budget, "groups"), document, "two groups are")
    holding = holders(names, paths)
    index_of = {name: index for index, name in enumerate(names)} if exceptions else {}
    for path, patterns in exceptions.items():
        if (path and path not in paths) or type(patterns) is not list:
            raise document.wrong(f"'grouped' has {path[:200]!r}, which is no group with a list of tensors")
        for name in unfolded(patterns, document, budget, "grouped"):
            if name not in index_of:
                raise document.wrong(f"'grouped' names {name[:200]!r}, which is no tensor")
            holding[index_of[name]] = path
    return paths, holding


def read_roles(document: Fields, budget: Names, names: list[str]) -> dict[int, str]:
    """The roles that the described file recorded itself."""
    listed = document.mapping("recorded", {})
    roles: dict[int, str] = {}
    index_of = {name: index for index, name in enumerate(names)} if listed else {}
    for role, patterns in listed.items():
        if role not in ROLES:
            raise document.wrong(f"no role is called {role[:80]!r}")
        if patterns == ALL_OTHERS:
            continue
        if type(patterns) is not list:
            raise document.wrong(f"the tensors with the role {role!r} are not a list")
        for name in unfolded(patterns, document, budget, "recorded"):
            if index_of.get(name, -1) < 0 or index_of[name] in roles:
                raise document.wrong(f"'recorded' names {name[:200]!r}, which is no tensor or has a role already")
            roles[index_of[name]] = role
    for role in [role for role, patterns in listed.items() if patterns == ALL_OTHERS]:
        roles |= {index: role for index in range(len(names)) if index not in roles}
    return roles


def read_modules(document: Fields, budget: Names) -> dict[str, ModuleRecord]:
    """Modules that the described file recorded, with their classes."""
    listed = document.mapping("modules", {})
    if any(name is not None and type(name) is not str for name in listed.values()):
        raise document.wrong("'modules' has a class that is no name")
    patterns = budget.parsed(listed, document, "modules")
    rows = [(key, name) for pattern, name in zip(patterns, listed.values(), strict=True) for key in keys(pattern)]
    rows.sort(key=itemgetter(0))
    unique([spell(key) for key, _ in rows], document, "two modules are")
    return {spell(key): ModuleRecord(name, {}) for key, name in rows}


def read_imports(document: Fields) -> list[PickleTrace]:
    """What the pickles would import: "module.name", with () where it would be called; [module, name, called] for odd names."""
    uses: list[GlobalUse] = []
    for value in document.list("imports", []):
        if type(value) is str and "." in value:
            module, _, name = value.removesuffix("()").rpartition(".")
            called = value.endswith("()")
        elif type(value) is list and list(map(type, value)) == [str, str, bool]:
            module, name, called = value
        else:
            raise document.wrong("'imports' holds something that is no name")
        uses.append(GlobalUse(module, name, 0, int(called)))
    return [PickleTrace(document.path, 0, 0, tuple(uses), None)] if uses else []


def read_aliases(document: Fields, known: set[str]) -> dict[str, str]:
    """Names that the writer of the described file dropped, each with the one it kept."""
    aliases = document.mapping("aliases", {})
    for name, kept in aliases.items():
        if type(kept) is not str or kept not in known or name in known:
            raise document.wrong(f"'aliases' has {name[:200]!r} for something that is no other tensor")
    return aliases


def byte_map(part: Part) -> ByteMap:
    """The sections one after another: how much of each there is, not where."""
    sizes = {label: size for label, size in part.sections.items() if size}
    ends = pairwise(accumulate(sizes.values(), initial=0))
    return ByteMap([(start, stop, label) for (start, stop), label in zip(ends, sizes, strict=True)], part.nbytes)
