"""Configurations of Keras between other bytes, as HDF5 holds them: found by what they begin with, and taken apart as JSON.

    … {"class_name": "Sequential", "config": {"name": "s", "layers": [{"class_name": …}]}} … {"optimizer_config": {"class_name": …}} …

Every object has a class_name. Where one stands, the objects that begin before it are tried from the first to the last until one holds
it. What is then in none is said to be not looked at, whatever kept it from being JSON: no loader reads it, or it is too long, or
something before it was put there to be tried in its place. Names in it are searched for all the same.
"""

from __future__ import annotations

import json
import re
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from modelscope_cli.core.scanned import KERAS
from modelscope_cli.core.window import Window
from modelscope_cli.formats.keras_operations import LAYERS
from modelscope_cli.formats.scan_names import add_name

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

PIECE, OVERLAP = 1 << 20, 1 << 11  # bytes that are searched at a time, and those of the piece before
KEY = b'"class_name"'
# An object of JSON; that of blanks without end no writer makes.
BEGIN = re.compile(rb'\{(?:\s{0,400}+"[^"\\\x00-\x1f]{0,80}+"(?:\s{0,400}+:|\s{400})|\s{400})')
LAMBDA = re.compile(rb'"class_name"\s*:\s*"(?:Lambda|__lambda__)"')
MODULE = re.compile(rb'"module"\s*:\s*"([A-Za-z_][A-Za-z0-9_.]{0,200})"')
NAMED = re.compile(rb'"(?:class_name|config|registered_name|spec_name)"\s*:\s*"([A-Za-z_][A-Za-z0-9_.]{0,200})"')
NEAR = 600  # bytes before and behind a module in which its name is looked for
CALLING = re.compile(b'"(?:' + "|".join(sorted(LAYERS)).encode() + b')"')
FUNCTION = re.compile(rb'"(?:function|cls_symbol)"\s*:\s*"([A-Za-z_][A-Za-z0-9_.]{0,200})"')
# Letters of ASCII written as escapes: json.dumps never does, and who searches for words misses them.
ESCAPED = re.compile(rb'"[ -!#-\[\]-~]{0,64}\\u00[2-7][0-9A-Fa-f][^"]{0,64}"')
MOST_TRIED = 200  # objects that turn out to be no JSON
MOST_BEGINS = 100_000  # that are kept while no class_name follows
MOST_MODULES = 100_000  # that stand in no object
MOST_FUNCTIONS = 1_000
FIRST_READ = 1 << 12  # bytes of an object, and eight times as many where they do not do
A_TRY = 256  # bytes that a try counts as, whatever it reads
NEAR_END = 16  # characters before the end of what was read: an error there is one of the cut


class Judge(Protocol):
    """What a configuration is given to."""

    def look(self, document: Any) -> None:
        """Judge a document."""

    def has_lambda(self) -> None:
        """Take note of a Lambda layer."""

    def calls(self, function: str) -> None:
        """Take note of a function of TensorFlow that a layer calls."""


class Texts:
    """The configurations of one file."""

    def __init__(self, walk: Walk, window: Window, where: str, judge: Judge):
        self.walk = walk
        self.window = window
        self.where = where
        self.judge = judge
        self.begins: deque[int] = deque()  # objects that were not tried, in order
        self.noted = self.looked = -1  # the last begin and the last key that were seen
        self.end = 0  # of the last object that was taken apart
        self.tries = MOST_TRIED
        self.budget = 4 * walk.limits.searched_bytes
        self.modules = MOST_MODULES
        self.missed = self.calling = self.escaped = False
        self.functions: set[str] = set()

    def look(self, piece: bytes, base: int) -> None:
        """Look at a piece of the file that begins at `base` and overlaps the one before."""
        for match in BEGIN.finditer(piece):
            at = base + match.start()
            if at > self.noted and len(self.begins) < MOST_BEGINS:
                self.begins.append(at)
                self.noted = at
        keyed = KEY in piece
        if keyed:
            self._keys(piece, base)
            self._calls(piece, base)
            if LAMBDA.search(piece):
                self.judge.has_lambda()
        self.escaped = self.escaped or (b"\\u00" in piece and ESCAPED.search(piece) is not None)
        if keyed or b'"module"' in piece:
            self._modules(piece, base)

    def tell(self) -> None:
        """Say what could not be taken apart."""
        if self.calling:
            for function in sorted(self.functions):
                self.judge.calls(function)
        if self.missed:
            said = "what reads like a configuration of Keras and could not be taken apart as JSON"
            self.walk.unseen(self.where, f"{said} (--limit searched_bytes=N)")
        if self.escaped:
            said = "JSON in it writes plain letters as \\u00.. escapes, which hides words from a search"
            self.walk.sign("escaped-text", self.where, said)

    def _keys(self, piece: bytes, base: int) -> None:
        at = max(0, self.end - base, self.looked + 1 - base)
        while (at := piece.find(KEY, at)) >= 0:
            self.looked = base + at
            if not self._hold(base + at):
                self.missed = True
            at = max(at + len(KEY), self.end - base)

    def _hold(self, key: int) -> bool:
        """Whether an object that holds the byte at `key` can be taken apart."""
        while key >= self.end and self.begins and self.begins[0] < key and self.tries > 0 and self.budget > 0:
            at = self.begins.popleft()
            if at >= self.end:
                self._take(at)
        return key < self.end

    def _take(self, at: int) -> None:
        """Take an object apart that begins there, if it is JSON to its end."""
        most = min(self.window.size - at, self.walk.limits.searched_bytes, self.budget)
        size = FIRST_READ
        while True:
            size = min(size, most)
            text = self.window.read(at, size).decode("latin-1")  # a character a byte, so that places are those of the file
            try:
                document, end = json.JSONDecoder(strict=False).raw_decode(text)
                break
            except json.JSONDecodeError as problem:
                self.budget -= problem.pos + A_TRY
                if size == most or not (problem.msg.startswith("Unterminated") or problem.pos > size - NEAR_END):
                    self.tries -= 1
                    return
                size *= 8
            except RecursionError:
                self.budget -= size
                self.tries -= 1
                return
        self.budget -= end + A_TRY
        self.end = at + end
        if "class_name" in text[:end]:
            self.judge.look(document)

    def _modules(self, piece: bytes, base: int) -> None:
        for match in MODULE.finditer(piece):
            if base + match.start() >= self.end:
                self.modules -= 1
                if self.modules < 0:
                    self.missed = True
                    return
                near = piece[max(0, match.start() - NEAR) : match.end() + NEAR]
                for name in {named[1].decode() for named in NAMED.finditer(near)}:
                    add_name(self.walk, self.where, f"{match[1].decode()}.{name}", KERAS)

    def _calls(self, piece: bytes, base: int) -> None:
        rest = piece[max(0, self.end - base) :]
        self.calling = self.calling or CALLING.search(rest) is not None
        for match in FUNCTION.finditer(rest):
            if len(self.functions) < MOST_FUNCTIONS:
                self.functions.add(match[1].decode())
