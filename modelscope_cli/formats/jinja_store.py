"""What is known of a chat template's values: what its names and fields stand for, what comes out of them, and what is to be told.

A value is a set of kinds (jinja_kinds), as bits. What is put into lists, namespaces and joiners is kept together, whichever one it is.
"""

from __future__ import annotations

from modelscope_cli.formats.jinja_kinds import (
    ANY,
    CALLED,
    COUNT,
    DATA,
    ENGINE,
    FIELDS_TOO,
    KEEPING,
    LOOP,
    LOOSE,
    MADE,
    METHODS,
    MOST_WORDS,
    OF_LOOP,
    OPAQUE,
    OWN,
    SEQUENCE,
    SPACE,
    SPECIAL,
    TEXT,
    TEXTS,
)
from modelscope_cli.formats.jinja_scopes import Key
from modelscope_cli.formats.jinja_tree import Place

BY_A_NAME = "takes an attribute by a name that it puts together"
OF_A_TEXT = "takes an attribute of a text that it does not call"
INTO_JINJA = "reaches into Jinja's own objects"
ELSEWHERE = DATA | OWN | SEQUENCE | OPAQUE | ENGINE | CALLED | LOOP | SPACE  # kinds that have attributes of their own


class Store:
    """`strange` says what cannot be told, `reaching` what no chat template does, `words` are gadgets; all as long as it is `telling`."""

    def __init__(self, names: set[Key]):
        self.strange = ""
        self.reaching = ""
        self.words: list[str] = []
        self.telling = False
        self.changed = True
        self.changes = 0  # so far
        self.empty = False  # a text is put together of something of which nothing is known
        self.settled = False  # and nothing will be: it may be any
        self.names: dict[Key, int] = dict.fromkeys(names, 0)
        self.fields: dict[str, int] = {}  # attributes of what the template makes
        self.spaces: set[str] = set()  # those of namespaces
        self.put = [0, 0]  # into lists of the template, and into what it was handed
        self.looped = 0  # what loops go over
        self.handed_out = 0  # what cyclers and joiners give
        self._of_spaces = 0  # what stands in namespaces

    def add(self, key: Key, value: int) -> None:
        self.names[key] = self.more(self.names.get(key, 0), value)

    def more(self, before: int, value: int) -> int:
        if before | value != before:
            self.changed = True
            self.changes += 1
        return before | value

    def field(self, name: str, value: int, *, space: bool = False) -> None:
        if space:
            self.spaces.add(name)
            self._of_spaces = self.more(self._of_spaces, value)
        before = self.fields.get(name, -1)
        if before < 0 or before | value != before:
            self.fields[name] = max(before, 0) | value
            self.changed = True

    def bind(self, place: Place, value: int) -> None:
        if place.attribute:
            self.field(place.attribute, value, space=True)
        else:
            self.add((place.frame, place.name), value)

    def doubt(self, why: str) -> None:
        if self.telling:
            self.strange = self.strange or why

    def reach(self, why: str) -> None:
        if self.telling:
            self.reaching = self.reaching or why

    def word(self, name: str) -> None:
        if self.telling and len(self.words) < MOST_WORDS and name not in self.words:
            self.words.append(name)

    def inside(self, value: int) -> int:
        """What is taken out of it: by a loop, a number, or a name that cannot be seen."""
        taken = value & ~(SEQUENCE | LOOSE)
        if value & OPAQUE and not value & (SEQUENCE | CALLED):
            taken = taken & ~OPAQUE | DATA
        if value & SPACE:
            taken |= self._of_spaces
        if value & SEQUENCE:
            taken |= self.put[0] | (SEQUENCE if taken or self.put[0] else 0)
        if value & DATA:
            taken |= self.put[1]
        if value & CALLED:
            taken |= self.handed_out
        if value & LOOP:  # pairs of what it goes over and itself
            taken |= self.looped | SEQUENCE
        return taken | LOOSE if taken & (TEXTS | DATA) else taken

    def attribute(self, value: int, name: str) -> int:
        """What a plainly written name takes of it."""
        self.plain(value, name)
        made = (
            MADE | LOOSE if name in METHODS and name not in FIELDS_TOO else 0
        )  # a method as a text has letters that are known
        if name == "grouper":  # of the filter groupby
            made = value & TEXTS
        if value & LOOP:
            return COUNT | (self.looped if name in ("previtem", "nextitem") else 0) | (DATA | LOOSE if value & DATA else 0)
        if value & OWN:
            taken = self.fields.get(name, 0) | self.fields.get(ANY, 0)
            return taken | made | (DATA | LOOSE | self.put[1] if value & DATA else 0)
        if value & CALLED:
            return self.inside(value) | (MADE | LOOSE if name == "name" else 0)  # that of a macro is chosen by the template
        if value & (DATA | OPAQUE):
            return DATA | LOOSE | self.put[1] | made
        if value & (TEXT | MADE) and not value & ELSEWHERE:
            self.doubt(OF_A_TEXT)
        return self.inside(value) | made

    def plain(self, value: int, name: str) -> None:
        """Tell of a name that is no part of a message."""
        if SPECIAL.fullmatch(name):
            self.word(name)
        elif (
            value & ENGINE
            or (value & LOOP and name not in OF_LOOP)
            or (value & CALLED and name not in ("next", "reset", "current", "name"))
        ):
            self.reach(INTO_JINJA)
        elif name.startswith("_") and not value & (DATA | OWN):
            self.reach(f"takes the attribute {name}")

    def changed_text(self, name: str, value: int, given: int) -> int:
        """What comes of a text by a method or a filter: what others said stays that, as long as it is only cut, and no word gets in."""
        if not value:
            self.empty = True
            return MADE | LOOSE if self.settled else 0
        plain = name in KEEPING and value & DATA and not (value | given) & (TEXTS | ENGINE | CALLED | OWN | SEQUENCE)
        return DATA | LOOSE if plain else MADE | LOOSE | (value & DATA)
