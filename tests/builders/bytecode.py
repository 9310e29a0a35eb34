"""Python as it is compiled into .pyc files, by the running version; nothing of it is run."""

from __future__ import annotations

import marshal
from importlib.util import MAGIC_NUMBER


def pyc_bytes(source: bytes, flags: int = 0) -> bytes:
    """A source as bytecode. Flags of 1 say that it is not to be compared with a source."""
    return MAGIC_NUMBER + flags.to_bytes(4, "little") + bytes(8) + marshal.dumps(compile(source, "x.py", "exec"))
