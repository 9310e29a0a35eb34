"""Which blocks of a chat template bind a name, and where a name is surely set when it is read.

A name that a block sets stands, until then, for what it is outside of the block; and if no block around has set it, for what the program
that renders hands in:

    {% set k = a %}{% for x in y %}{{ k }}{% set k = b %}{{ k }}{% endfor %}      the first k is a, the second b
    {% if c %}{% set k = a %}{% endif %}{{ k }}                                   a, or what is handed in as k

Places are counted in flows (jinja_tree). Facts: jinja2/idtracking.py (VAR_LOAD_ALIAS, VAR_LOAD_RESOLVE, branch_update), compiler.py (a
macro is a function that sees the variables around it as they are when it is called; a block sees those of the outermost level only).
"""

from __future__ import annotations

from bisect import bisect_right

MOST_OPEN = 60  # blocks in one another, with names of their own
MOST_BRANCHES = 100  # and conditions: Python has no more levels
NO_END = 1 << 62

Key = tuple[int, str]  # a frame, and a name that is bound in it


class Open:
    """A block that has not ended: the names set in it so far, those set in each of its branches before, and what its end sets."""

    def __init__(self, kind: str, frame: int, own: bool, at_end: tuple[Key, ...] = ()):
        self.kind = kind
        self.frame = frame
        self.own = own
        self.at_end = at_end
        self.set: set[Key] = set()
        self.always: set[Key] | None = None
        self.otherwise = False


class Scopes:
    """`frames` are those that are open, `at` the number of flows so far, `bound` all names that are bound anywhere."""

    def __init__(self) -> None:
        self.frames: tuple[int, ...] = (0,)
        self.at = 0
        self.changes: set[int] = set()  # flows before which what is sure changed
        self.bound: set[Key] = set()
        self._names: set[str] = set()
        self._fixed: set[Key] = set()  # parameters and targets of loops: what is outside cannot be seen
        self._implied: set[Key] = set()  # those that every macro has
        self._written: set[str] = set()
        self._kinds = {0: ""}
        self._open = [Open("", 0, True)]
        self._branches = 0
        self._starts: dict[Key, list[int]] = {}  # where a name is surely set from, and up to where
        self._stops: dict[Key, list[int]] = {}

    @property
    def frame(self) -> int:
        return self.frames[-1]

    @property
    def innermost(self) -> str:
        return self._open[-1].kind

    def enter(self, kind: str, at_end: tuple[Key, ...] = ()) -> int:
        """Begin a block with names of its own. Raises ValueError, in words."""
        if len(self.frames) > MOST_OPEN:
            raise ValueError("has too many blocks in one another")
        frame = len(self._kinds)
        self._kinds[frame] = kind
        self._open.append(Open(kind, frame, True, at_end))
        self.frames = (*self.frames, frame)
        return frame

    def branch(self, kind: str) -> None:
        """Begin a block that may not be gone through, and whose names are those of the one around it. Raises ValueError, in words."""
        if self._branches >= MOST_BRANCHES:
            raise ValueError("has too many conditions in one another")
        self._branches += 1
        self._open.append(Open(kind, self.frame, False))

    def other(self, last: bool) -> None:
        """Go on to the next branch of a condition; `last` is what is gone through if no other is."""
        block = self._open[-1]
        self._forget(block)
        block.always = block.set if block.always is None else block.always & block.set
        block.set = set()
        block.otherwise = block.otherwise or last

    def leave(self, kind: str) -> None:
        """End a block, and those in it that did not."""
        while len(self._open) > 1:
            block = self._open.pop()
            self._forget(block)
            if block.own:
                self.frames = self.frames[:-1]
            else:
                self._branches -= 1
            for key in block.at_end:
                self._sure(key)
            if block.otherwise and block.always:
                for key in block.always & block.set:
                    self._sure(key)
            if block.kind == kind:
                return

    def _forget(self, block: Open) -> None:
        self.changes.add(self.at)
        for key in block.set:
            self._stops[key][-1] = self.at

    def _sure(self, key: Key) -> None:
        stops = self._stops.setdefault(key, [])
        if not stops or stops[-1] != NO_END:
            self.changes.add(self.at)
            stops.append(NO_END)
            self._starts.setdefault(key, []).append(self.at)
            self._open[-1].set.add(key)

    def bind(self, key: Key, *, fixed: bool = False, implied: bool = False, sure: bool = False) -> None:
        """A name is bound: as a parameter, as one that every macro has, from here on, or at the end of a block."""
        self.bound.add(key)
        self._names.add(key[1])
        if implied:
            self._implied.add(key)
            return
        self._written.add(key[1])
        if fixed:
            self._fixed.add(key)
        if sure:
            self._sure(key)

    def bindings(self, name: str, frames: tuple[int, ...], at: int) -> tuple[list[Key], bool]:
        """What a name may be, read in these frames and at this flow; and whether it may be what is handed in."""
        if name not in self._names:
            return [], True
        found: list[Key] = []
        later = alone = False
        for frame in reversed(frames):
            key = (frame, name)
            if key in self.bound:
                found.append(key)
                if not alone and (self._only(key) or (not (later and frame) and self._is_sure(key, at))):
                    return found, False
            later = later or self._kinds[frame] == "macro"
            alone = alone or self._kinds[frame] == "block"
        return found, True

    def _only(self, key: Key) -> bool:
        return key in self._fixed or (key in self._implied and key[1] not in self._written)

    def _is_sure(self, key: Key, at: int) -> bool:
        starts = self._starts.get(key, [])
        last = bisect_right(starts, at) - 1
        return last >= 0 and at < self._stops[key][last]
