"""A TorchScript archive without the numbers in its tensors: all that a drawing needs, in kB instead of GB.

    NAME/data.pkl, NAME/code/…, NAME/constants.pkl    copied: the graph, with the shapes of tensors
    NAME/data/0, NAME/constants/0, …                  where they are large nothing, said to be so many compressed bytes

Netron compares the sizes of storages with the shapes, and unpacks a large one only when somebody looks at its values.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from typing import Any

from modelscope_cli.core.window import Window
from modelscope_cli.errors import ModelscopeError

STORAGE = re.compile(r"(^|/)(data|constants|tensors)/\d+$")
SMALL = 0x40000  # bytes of a tensor that stays: these Netron unpacks at once
KNOWN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # ways to compress
MOST = 256 << 20  # bytes that are copied
MOST_MEMBERS = 200_000


class WindowFile(io.RawIOBase):
    """A window as the file that zipfile wants."""

    def __init__(self, window: Window):
        self.window = window
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = max(0, offset + (0, self.position, self.window.size)[whence])
        return self.position

    def readinto(self, buffer: Any) -> int:
        data = self.window.read(self.position, min(len(buffer), max(0, self.window.size - self.position)))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)


def hollow(window: Window) -> bytes | None:
    """The archive; None where it is not a sound one, or large even so."""
    made = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BufferedReader(WindowFile(window))) as archive, zipfile.ZipFile(made, "w") as copy:
            members = archive.infolist()
            empty = {member.filename for member in members if member.file_size > SMALL and STORAGE.search(member.filename)}
            copied = sum(member.file_size for member in members if member.filename not in empty)
            if copied > MOST or len(members) > MOST_MEMBERS or any(member.compress_type not in KNOWN for member in members):
                return None
            if len({member.filename for member in members}) != len(members):
                return None
            for member in members:
                if member.filename not in empty:
                    copy.writestr(zipfile.ZipInfo(member.filename), archive.read(member))
                    continue
                copy.writestr(zipfile.ZipInfo(member.filename), b"", zipfile.ZIP_DEFLATED)
                copy.filelist[-1].file_size = member.file_size  # written into the directory at the end
    except (ModelscopeError, zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError, NotImplementedError):
        return None
    return made.getvalue()
