"""YAML that names what a program calls: behind the key `_target_`, and in tags that make objects of Python.

    _target_: os.system                           hydra (scan_names has the key and what it means)
    !!python/object/apply:os.system [id]          yaml.load calls it, unless told to be safe
    !<tag:yaml.org,2002:python/name:os.system>    the same in full, or by a handle: %TAG !e! tag:yaml.org,2002:py
    !new:speechbrain.nnet.CNN.Conv1d              HyperPyYAML (SpeechBrain) calls what follows !new:, !apply:, !applyref:, !name:, !module:
    !include:more.yaml                            and takes in another file, which is YAML whatever it is called

YAML is searched, not parsed, because those who parse it differ: what any of PyYAML, libyaml and ruamel takes for a key, a value or a tag
is one here. So a text inside a text counts, too. Comments do not, but for what stands behind a quote in them: a line that begins
with # may be part of a text in quotes that ends there. Every search is linear, whatever the file.

Facts: yaml/scanner.py (scan_line_break, scan_tag_uri, check_value, scan_flow_scalar_non_spaces), yaml/parser.py (process_directives),
yaml/constructor.py; hyperpyyaml/core.py.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote

from modelscope_cli.core.calling_keys import CALLING_KEYS
from modelscope_cli.formats.scan_calling import COMPUTED, IMPORTS, called_in_yaml
from modelscope_cli.formats.scan_names import KEY, MOST_VALUES, NAME, add_name, add_targets

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

BREAKS = str.maketrans(dict.fromkeys("\r\x85\u2028\u2029", "\n"))
# Up to what may be the end of a text in quotes: nothing but these follows one.
COMMENT = re.compile(r"""(?:^|(?<=[ \t]))#(?:[^"'\n]|["'](?![\s,\]}:"'#]|\Z))*+""", re.MULTILINE)
ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|\n[ \t]*+)")
GAP = re.compile(r"(?:\s|#[^\n]*+)*+")
LINE_GAP = re.compile(r"[^\S\n]*+(?:#[^\n]*+)?(?=\n)")
PROPERTY = {"&": re.compile(r"&[^\s,\[\]{}]*+"), "!": re.compile(r"!\S*+")}  # a tag may have any of ,[]
MOST_PROPERTIES = 4  # before a value; YAML allows an anchor and a tag
BLOCK = re.compile(r"[|>][-+0-9]*+(?=[ \t]*+(?:\n|#|\Z))")
VALUE = re.compile(r"""["']?((?:\$\{[^{}\n]{0,500}+\}|[^\s"',\[\]{}#])*+)["']?(?=[ \t]*+(?:[\n,\]}]|\Z)|[ \t]++#)""")
OTHER_KEY = re.compile(r"""[\w."'/-]++[ \t]*+:(?=\s|\Z)""")
ANCHOR = re.compile(r"""&([^\s,\[\]{}"'&]++)(?=\s)""")
ALIAS = re.compile(r"""\*([^\s,\[\]{}"'&:*]++)""")
TAG = re.compile(r"(?:!!|tag:yaml\.org,2002:)python/([\w/]+)(?::([^\s,\[\]{}>]*))?")
HYPER = re.compile(r"(?<![\w!])!(new|applyref|apply|name|module):([\w.]++)")
INCLUDE = re.compile(r"(?<![\w!])!include:([^\s,\[\]{}]*+)")
HANDLE = re.compile(r"^\ufeff?%TAG[ \t]+!(?:([\w-]*+)!)?[ \t]+(\S++)", re.MULTILINE)
LONGEST_SHOWN = 100  # characters of the name of a file
LONGEST_TAG = 400  # characters of one that is written with a handle
USUAL = ((None, "!"), ("", "tag:yaml.org,2002:"))  # handles as they are without a %TAG
# How tags that matter begin.
BASES = ("tag:yaml.org,2002:python/", "!!python/", "!new:", "!apply:", "!applyref:", "!name:", "!module:", "!include:")
USE = re.compile(r"(?=(!(?:[\w-]*+!)?))!")
MOST_HANDLES = 64
MOST_USES = 100_000
CALLING = (*(row.key for row in CALLING_KEYS if row.in_yaml), IMPORTS, "params")
TELLING = (*CALLING, "python", "\\", "%")
WRITTEN = re.compile(r"^%TAG[^\n]*+|!\S*+", re.MULTILINE)
PLAIN = frozenset(
    ("none", "bool", "str", "unicode", "bytes", "int", "long", "float", "complex", "list", "tuple", "dict")
)  # data


def scan_yaml(walk: Walk, where: str, text: str) -> None:
    """Look at a text in YAML."""
    telling = any(word in text for word in TELLING)
    if not telling and not HYPER.search(text) and not INCLUDE.search(text):
        return
    texts = readings(text)
    for key in COMPUTED if len(texts) > 1 else ():
        if texts[1].count(key) > texts[0].count(key):
            said = f"YAML in it writes letters of the key {key} as escapes, which hides it from a search"
            walk.sign("escaped-text", where, said)
    for each in texts:
        if any(word in each for word in CALLING):
            _keys(walk, where, each)
        _tags(walk, where, WRITTEN.sub(_written, each) if "%" in each else each)


def _keys(walk: Walk, where: str, text: str) -> None:
    """What stands behind keys in a text without comments."""
    search = Search(text)
    if KEY in text:
        add_targets(walk, where, list(search.values()), search.lookup)
    called_in_yaml(walk, where, text, search)
    if "params" in text:
        from modelscope_cli.formats.scan_params import params_in_yaml

        params_in_yaml(walk, where, text, search)


def readings(text: str) -> list[str]:
    """A text without its comments, and the same with its escapes undone, where that is another one."""
    text = text.replace("\r\n", "\n").translate(BREAKS)
    text = COMMENT.sub("#", text) if "#" in text else text
    plain = ESCAPE.sub(_unescaped, text) if "\\" in text else text
    return [text] if plain == text else [text, plain]


def _unescaped(match: re.Match[str]) -> str:
    number = int(next((digits for digits in match.groups() if digits), "0"), 16)
    return chr(number) if 0 < number < 0x110000 and not 0xD800 <= number < 0xE000 else ""


def _written(match: re.Match[str]) -> str:
    return unquote(match[0]) if match[0][0] == "!" else "%TAG" + unquote(match[0][4:])


class Search:
    """What stands behind a key in a text without comments. `nested` stands for a list or a mapping."""

    def __init__(self, text: str, key: str = KEY, nested: str | None = None):
        self.text = text
        self.key = key
        self.nested = nested
        self.runs = dict.fromkeys(PROPERTY, (0, 0))  # the last anchor and tag that was gone over: many keys may stand in one
        self.lines = (0, 0)  # the last gap, in whose comments keys may stand
        self.anchors: dict[str, tuple[list[int], list[str | None]]] = {}  # name → where it is set, what it stands for
        if "*" in text:
            for match in ANCHOR.finditer(text):
                places, values = self.anchors.setdefault(match[1], ([], []))
                for value in self.behind(match.end()):
                    places.append(match.start())
                    values.append(value)

    def values(self, key: str | None = None) -> Iterator[str | None]:
        """Each value, also of another key; None for one that cannot be told."""
        text, key = self.text, key or self.key
        at = text.find(key)
        while at >= 0:
            end = at + len(key)
            if not (at and (text[at - 1].isalnum() or text[at - 1] == "_")):
                yield from self.of_key(end)
            at = text.find(key, end)
        keys = {name for name, (_, values) in self.anchors.items() if key in values}
        if keys:
            for match in ALIAS.finditer(text):
                if match[1] in keys:
                    yield from self.of_key(match.end())

    def of_key(self, end: int) -> Iterator[str | None]:
        """What stands behind a key that ends there, if it is one."""
        text = self.text
        quoted = text[end : end + 1] in ('"', "'")
        _, colon = self.gap(end + quoted)
        if text[colon : colon + 1] != ":":
            return
        behind = text[colon + 1 : colon + 2]
        if quoted or not behind or behind.isspace() or behind in "\"'[{":
            yield from self.behind(colon + 1)

    def behind(self, at: int) -> Iterator[str | None]:
        """The value that begins there, and what may be one in the rest of a comment before it."""
        text = self.text
        begin, lines = at, False
        for _ in range(MOST_PROPERTIES + 1):
            between, at = self.gap(at)
            if "#" in between:
                yield from [name for name in NAME.findall(between) if "." in name]
            lines = lines or "\n" in between
            if text[at : at + 1] in ("&", "!"):
                at = self.past(at)
            elif text[at : at + 1] in ("|", ">") and (block := BLOCK.match(text, at)):
                at = block.end()
            else:
                break
        if lines and OTHER_KEY.match(text, at):
            return  # nothing stands behind it, or a mapping
        found = VALUE.match(text, at)
        if text[at : at + 1] in ("{", "["):
            yield self.nested
            return
        value = found[1] if found is not None else None
        if value and value.startswith("*"):
            places, values = self.anchors.get(value[1:], ([], []))
            place = bisect_right(places, begin)
            if place:
                yield values[place - 1]
                return
        yield value

    def gap(self, at: int) -> tuple[str, int]:
        """Blanks, lines and comments that begin there, as far as they were not gone over with the last ones, and where they end."""
        line = LINE_GAP.match(self.text, at)
        if line is not None and self.lines[0] <= line.end() < self.lines[1]:
            return f"{line[0]}\n", self.lines[1]
        match = GAP.match(self.text, at)
        between = match[0] if match else ""
        if "\n" in between:
            self.lines = (at, at + len(between))
        return between, at + len(between)

    def past(self, at: int) -> int:
        """Where an anchor or a tag ends."""
        kind = self.text[at]
        begin, end = self.runs[kind]
        if not begin <= at < end:
            match = PROPERTY[kind].match(self.text, at)
            end = match.end() if match else at + 1
            self.runs[kind] = (at, end)
        return end

    def lookup(self, keys: set[str]) -> dict[str, list[str]]:
        """The values of some keys, wherever they stand."""
        found: dict[str, list[str]] = {key: [] for key in keys}
        for match in NAME.finditer(self.text):
            told = found.get(match[0])
            if told is not None and len(told) < MOST_VALUES:
                told += [value for value in self.of_key(match.end()) if value]
        return found


def _tags(walk: Walk, where: str, text: str) -> None:
    """Tags that make objects of Python."""
    for match in TAG.finditer(text):
        _tag(walk, where, match)
    for match in HYPER.finditer(text):
        add_name(walk, where, match[2], f"!{match[1]}")
    for match in INCLUDE.finditer(text):
        _include(walk, where, match[1])
    if "%TAG" in text:
        _handles(walk, where, text)


def _handles(walk: Walk, where: str, text: str) -> None:
    """The same by handles: what a prefix and the letters behind its handle make together."""
    prefixes: dict[str, set[str]] = {}
    for match in HANDLE.finditer(text):
        if (match[1], match[2]) not in USUAL and any(base.startswith(match[2]) or match[2].startswith(base) for base in BASES):
            prefixes.setdefault("!" if match[1] is None else f"!{match[1]}!", set()).add(match[2])
    if sum(map(len, prefixes.values())) > MOST_HANDLES:
        said = f"YAML with more than {MOST_HANDLES} %TAG lines that stand for objects of Python; not all of them were judged"
        walk.sign("too-many-names", where, said)
    known = {handle: sorted(each)[:MOST_HANDLES] for handle, each in sorted(prefixes.items())[:MOST_HANDLES]}
    behind = {handle: _behind(each) for handle, each in known.items()}
    uses = 0
    for use in USE.finditer(text) if behind else ():
        for handle in {"!", use[1]} & behind.keys():
            at = use.start() + len(handle)
            rest = behind[handle].match(text, at)
            for prefix in known[handle] if rest is not None else ():
                uses += 1
                _begun(walk, where, prefix + text[at : at + LONGEST_TAG])
        if uses > MOST_USES:
            walk.sign(
                "too-many-names",
                where,
                f"YAML with more than {MOST_USES:,} objects of Python by handles: the others were not judged",
            )
            return


def _begun(walk: Walk, where: str, text: str) -> None:
    """A tag that a text begins with."""
    if (tag := TAG.match(text)) is not None:
        _tag(walk, where, tag)
    elif (tag := HYPER.match(text)) is not None:
        add_name(walk, where, tag[2], f"!{tag[1]}")
    elif (tag := INCLUDE.match(text)) is not None:
        _include(walk, where, tag[1])


def _include(walk: Walk, where: str, file: str) -> None:
    """Another file that is taken in, as YAML: one of this folder that is called so is looked at by itself."""
    parts = file.replace("\\", "/").split("/")
    if not file.endswith((".yaml", ".yml")) or ".." in parts or not parts[0]:
        shown = file if len(file) <= LONGEST_SHOWN else f"{file[:LONGEST_SHOWN]}…"
        walk.sign("computed-target", where, f"it takes in {shown} as YAML (!include:), in which tags were not searched for")


def _behind(prefixes: list[str]) -> re.Pattern[str]:
    """What has to stand behind a handle with one of these prefixes so that a tag of Python can come of it."""
    needed = {base[len(prefix) :] for prefix in prefixes for base in BASES if base.startswith(prefix)}
    whole = any(prefix.startswith(base) for prefix in prefixes for base in BASES)
    return re.compile("" if whole else "|".join(map(re.escape, sorted(needed))))


def _tag(walk: Walk, where: str, match: re.Match[str]) -> None:
    if match[1] not in PLAIN:
        add_name(walk, where, match[2] or "", f"!!python/{match[1][:40]}")
