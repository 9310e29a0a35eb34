"""Files that no reader takes: named by content, with what to do about them.

    first bytes ── KINDS ──▶ a kind ── more_about ──▶ a narrower one, facts
        └── known_protobuf, known_binary, known_text ── known_beside: what lies beside the file

What is compared stands in these files, one idea each; the words about a kind stand in its row, in known_models or
known_others. A kind is named only
where its content speaks for it, never by its suffix alone. Zip and tar archives come here from their readers (known_archive),
folders by foreign_folder.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from modelscope_cli.core.place import typed
from modelscope_cli.core.window import Window
from modelscope_cli.errors import FormatError, ModelscopeError, UnknownFormatError, UnsupportedFeatureError
from modelscope_cli.formats import known_beside, known_binary, known_protobuf, known_text
from modelscope_cli.formats.known_kinds import FILE, MODELS, Kind
from modelscope_cli.formats.known_models import FOREIGN_MODELS
from modelscope_cli.formats.known_others import BESIDE_MODELS, NO_MODELS
from modelscope_cli.formats.known_protobuf import Found

HEAD = 1 << 12  # bytes that patterns are matched against
JOBLIB = b"joblib.numpy_pickle"
JOBLIB_SEARCHED = 1 << 20  # bytes: it stands before the first array
_NOT_YET = "this version reads PyTorch, safetensors and GGUF files"

KINDS = (*FOREIGN_MODELS, *BESIDE_MODELS, *NO_MODELS)
BY_NAME = {kind.name: kind for kind in KINDS}
_COMPILED: list[tuple[re.Pattern[bytes], Kind]] = []


class Recognised(NamedTuple):
    """What a file is: `what` goes on after "this is"."""

    kind: Kind
    what: str

    @property
    def hint(self) -> str:
        return self.kind.todo or "give the path of a weights file"


def recognise(window: Window, *, neighbours: bool = True) -> Recognised | None:
    """What foreign content is, or None. `neighbours`: files that tell nothing are told by what lies beside them."""
    try:
        head = window.head(HEAD)
        found = by_magic(window, head) or known_protobuf.look(window, head) or known_binary.look(window, head)
        found = found or known_text.look(window) or (known_beside.look(window, head) if neighbours else None)
    except ModelscopeError:  # the file became shorter meanwhile
        return None
    return recognised(found) if found else None


def by_magic(window: Window, head: bytes) -> Found | None:
    """The kind that the first bytes tell, and facts about it."""
    if not _COMPILED:
        _COMPILED.extend((re.compile(kind.magic.encode("latin-1"), re.DOTALL), kind) for kind in KINDS if kind.magic)
    kind = next((kind for pattern, kind in _COMPILED if pattern.match(head)), None)
    return known_binary.more_about(kind.name, window, head) if kind else None


def recognised(found: Found) -> Recognised:
    """A kind and facts in words."""
    kind = BY_NAME[found.kind]
    return Recognised(kind, kind.title + (f" ({', '.join(found.facts)})" if found.facts else ""))


def error_for(found: Recognised, path: str) -> UnknownFormatError | UnsupportedFeatureError:
    """The error that names a file."""
    hint = found.hint.replace(FILE, typed(path))
    if found.kind.group == MODELS:
        return UnsupportedFeatureError(f"this is {found.what}, not read yet", path=path, hint=hint)
    return UnknownFormatError(f"this is {found.what}", path=path, hint=hint)


def foreign_error(window: Window) -> UnknownFormatError | UnsupportedFeatureError:
    """The error for content that no reader takes."""
    if window.size == 0:
        return UnknownFormatError(
            "an empty file", path=window.name, hint="the download or the save did not finish: get it again"
        )
    found = recognise(window)
    if found is not None:
        return error_for(found, window.name)
    head = window.head(HEAD)
    if not any(head):
        return UnknownFormatError(
            f"the first {len(head):,} bytes are all zero",
            path=window.name,
            hint="the download did not finish, or the disk was full",
        )
    shown = " ".join(f"{byte:02x}" for byte in head[:16])
    return UnknownFormatError(f"not a model file of a known kind; it begins {shown}", path=window.name, hint=_NOT_YET)


def better_name(window: Window, problem: FormatError) -> ModelscopeError:
    """What to say of a file that looked like one that is read, and was none: its true kind where that is known, else the problem."""
    if isinstance(problem, UnsupportedFeatureError):
        return problem
    head = window.head(HEAD)
    if head[:1] == b"\x80" and JOBLIB in window.head(JOBLIB_SEARCHED):
        return error_for(recognised(Found("joblib")), window.name)
    found = recognise(window)
    return error_for(found, window.name) if found and found.kind.group == MODELS else problem
