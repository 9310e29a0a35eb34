"""Everything that can go wrong, as one tree.

    ModelscopeError(message, path, offset, hint)
    ├─ SourceError              the path itself: missing, no permission, a folder without a model, a FIFO
    │  └─ MissingShardError     a shard that an index names is not there
    ├─ FormatError              the bytes are not what they should be
    │  ├─ UnknownFormatError    no reader recognises them; says what they look like
    │  ├─ CorruptFileError      recognised, but damaged or contradicting itself
    │  └─ UnsupportedFeatureError   understood, not implemented; says what would be needed
    ├─ LimitError               a limit of core/limits.py was met; names resource, limit and actual value
    ├─ DrawingError             a picture that would be empty, too large to read, or that no program here can paint
    ├─ SettingsError            a rule, a key or a value of a configuration that is not understood (wrong usage, not wrong input)
    ├─ MissingExtraError        an optional package is needed; names the pip extra
    └─ InternalError            a mistake of this program, which the input only brought to light

Each carries what a person needs: where (`path`, `offset`), what, and what to do next (`hint`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # and not out of typing: every command begins by importing this
    from typing import Self


class ModelscopeError(Exception):
    """A problem with the input, told in one sentence. `offset` is a byte position in `path`."""

    def __init__(self, message: str, *, path: str | None = None, offset: int | None = None, hint: str | None = None):
        super().__init__(message)
        self.message = message
        self.path = path
        self.offset = offset
        self.hint = hint

    def without_frames(self) -> Self:
        """The error alone: its traceback, and what was raised before it, would hold on to all that was being read."""
        self.__context__ = self.__cause__ = None
        return self.with_traceback(None)

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        at = f" (byte {self.offset:,})" if self.offset is not None else ""
        return f"{where}{self.message}{at}"


class SourceError(ModelscopeError):
    """The path cannot be opened as a model file."""


class MissingShardError(SourceError):
    """A shard named by an index or by a `-00001-of-00008` name is not there."""


class FormatError(ModelscopeError):
    """The bytes are not what they should be."""


class UnknownFormatError(FormatError):
    """No reader recognises the content."""


class CorruptFileError(FormatError):
    """The file contradicts itself or ends early."""


class UnsupportedFeatureError(FormatError):
    """The file is understood but this version does not read it."""


COUNTED = {"nesting": "levels of nesting", "memo": "objects to remember"}  # what limits count whose names are no plural


class LimitError(ModelscopeError):
    """A limit was met. `resource` is the name to raise it by: `--limit resource=value`."""

    def __init__(self, resource: str, limit: int, actual: int | str, *, path: str | None = None, offset: int | None = None):
        found = (
            f"{actual:,} found, the limit is {limit:,}"
            if isinstance(actual, int)
            else f"{actual} found, the limit is {limit:,}"
        )
        if actual == f"more than {limit:,}":
            found = f"more than the limit of {limit:,}"
        super().__init__(
            f"{resource.replace('_', ' ')}: {found}",
            path=path,
            offset=offset,
            hint=f"if you trust the file, raise it with --limit {resource}=VALUE",
        )
        self.resource = resource
        self.limit = limit
        self.actual = actual
        self.what = ""  # what in the file it was met in

    def of(self, path: str | None, what: str = "") -> LimitError:
        """The same, with the file it was met in, and what in it."""
        again = LimitError(self.resource, self.limit, self.actual, path=self.path or path, offset=self.offset)
        again.message = f"{what}: {self.message}" if what else self.message
        again.what = what or self.what
        return again

    @property
    def told(self) -> str:
        """It as a part of a sentence, with how to raise the limit: more than the limit of 4,000,000 opcodes (--limit opcodes=N)."""
        words = COUNTED.get(self.resource, self.resource.replace("_", " "))
        if isinstance(self.actual, int):
            said = f"{self.actual:,} {words}, beyond the limit of {self.limit:,}"
        elif self.actual == f"more than {self.limit:,}":
            said = f"more than the limit of {self.limit:,} {words}"
        else:
            said = f"{words}: {self.actual}, and the limit is {self.limit:,}"
        return f"{f'{self.what}: ' if self.what else ''}{said} (--limit {self.resource}=N)"


class DrawingError(ModelscopeError):
    """A picture cannot be made of this."""


class SettingsError(ModelscopeError):
    """A rule or its configuration is wrong; `path` is the file it is written in."""


class MissingExtraError(ModelscopeError):
    """An optional package is not installed."""

    def __init__(self, extra: str, purpose: str):
        super().__init__(f"{purpose} needs the optional extra [{extra}]", hint=f"pip install 'modelscope-cli[{extra}]'")
        self.extra = extra


class InternalError(ModelscopeError):
    """An exception that nobody foresaw, as `what` and where in our source."""

    def __init__(self, what: str, *, path: str | None = None):
        hint = "please report it, with the file if you can; MSCOPE_TRACEBACK=1 shows how it came to it"
        super().__init__(f"mscope made a mistake: {what}", path=path, hint=hint)
