"""Python that was compiled before it came along: which source a file stands for, and which names it has.

    shop.pyc                                  the module shop, where no shop.py stands beside it
    __pycache__/shop.cpython-311.pyc          instead of shop.py: if it says to be of that, or not to be compared with it
    shop.cpython-311-x86_64-linux-gnu.so      the module shop, before shop.py (shop.so, shop.pyd likewise)

    0  magic number of the version, two bytes of it "\\r\\n"    4  flags    8  time or hash of the source    16  marshalled code

Names in marshalled code are texts behind their length, of one byte or of four. Nothing is unmarshalled here.
Facts: importlib/_bootstrap_external.py (SourceFileLoader, SourcelessFileLoader, ExtensionFileLoader); Python/marshal.c.
"""

from __future__ import annotations

import posixpath
import re

from modelscope_cli.core.window import Window

CACHE = "__pycache__"
BYTECODE, LIBRARIES = (".pyc", ".pyo"), (".so", ".pyd")
SUFFIXES = BYTECODE + LIBRARIES
LINE_END = b"\r\n"  # bytes 2 and 3 of bytecode of any version
COMPILED = "compiled Python code"
SYSTEM = ("os", "posix", "nt")
ENDS = ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")
OF_SYSTEM = (
    "system",
    "popen",
    "fork",
    "startfile",
    "posix_spawnp",
    *(f"{how}{end}" for how in ("exec", "spawn") for end in ENDS),
)
# Telling by themselves: the same that source_words looks for, but for those that are methods of models and containers as well.
TELLING = (
    "subprocess", "posix", "pty", "socket", "urllib", "urllib.request", "requests", "ctypes", "marshal", "runpy", "builtins", "__import__",
    "__builtins__", "__subclasses__", "exec", "rmtree", "b64decode", "import_module", "posix_spawn", "Popen",
)  # fmt: skip
NAMES = re.compile(
    b"|".join(
        re.escape(bytes((len(name),))) + rb"(?:\0\0\0)?" + re.escape(name.encode())
        for name in sorted({*SYSTEM, *OF_SYSTEM, *TELLING})
    )
)


def is_compiled(path: str) -> bool:
    """Whether Python would take a file of that name for a compiled module."""
    return path.lower().endswith(SUFFIXES)


def source_of(path: str) -> str:
    """The path of the source that a compiled file stands for; any other path as it is. Folders are divided by `/`."""
    if not is_compiled(path):
        return path
    folder, leaf = posixpath.split(path)
    cached = posixpath.basename(folder) == CACHE
    plain = leaf[: leaf.rindex(".")]
    if cached or leaf.lower().endswith(LIBRARIES):
        plain = plain.partition(".")[0]
    return posixpath.join(posixpath.dirname(folder) if cached else folder, f"{plain}.py")


def kind_of(path: str, head: bytes, window: Window) -> str:
    """What a file is that begins so, in words; "" where it is no compiled module."""
    lowered = path.lower()
    if lowered.endswith(BYTECODE):
        return COMPILED if head[2:4] == LINE_END else ""
    if lowered.endswith(LIBRARIES):
        from modelscope_cli.formats.scan_export import native_kind

        return native_kind(head, window) or ""
    return ""


def telling_names(data: bytes) -> list[str]:
    """The names in bytecode by which it starts programs, opens connections, or runs other code."""
    found = {match[0].lstrip(bytes(range(32))).decode() for match in NAMES.finditer(data)}
    return sorted(found & {*TELLING, *([] if found.isdisjoint(SYSTEM) else OF_SYSTEM)})
