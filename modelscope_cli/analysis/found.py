"""A finding about a file, and lists of them that end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from modelscope_cli.analysis.shown_call import lettered
from modelscope_cli.report.document import Phrase

MOST_FOUND = 100  # findings about names of one sort in one file
MOST_NAMED = 4  # names in a finding
MOST_LEFT = 200  # characters of the names that a finding about what is not listed has


class Found(NamedTuple):
    """Something to tell about a file. `where` is the member, "" for the file itself."""

    level: str
    code: str
    where: str
    offset: int | None
    message: Phrase
    subject: str = ""  # the name that is imported
    opcode: str = ""
    brief: Phrase = Phrase()  # the message in fewer words, for a table
    evidence: str = ""  # the first call in full, as far as four thousand characters go


def capped(found: Iterable[Found], what: str) -> Iterator[Found]:
    """The first of many findings, and for each level and code one about all that follow. `what` they are about, in the plural."""
    each = iter(found)
    yield from islice(each, MOST_FOUND)
    left: dict[tuple[str, str], list[str]] = {}
    for one in each:
        left.setdefault((one.level, one.code), []).append(one.subject)
    for (level, code), names in left.items():
        said = f"{len(names):,} more {what} like these, which are not listed: "
        listed = lettered(", ".join(dict.fromkeys(names[:MOST_FOUND])))
        listed = listed if len(listed) <= MOST_LEFT else f"{listed[:MOST_LEFT]}…"
        yield Found(level, code, "", None, Phrase((f"{said}{listed}",)))
