"""`python -m tests.fuzz harvest`: small files that the tests read become inputs to begin with.

A plugin of pytest that keeps what is looked at through a window, once by its hash and by the name among those a scan goes by. A folder
of seeds that already reaches the odd corners leaves the fuzzer to look for those that no test thought of.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.corpora import merge, unpack

KEPT = "MSCOPE_FUZZ_HARVEST"  # the folder, for the plugin in the process of pytest
LONGEST = "MSCOPE_FUZZ_LONGEST"
MOST_TRIED = 60_000
BY_NAME = "scan-by-name"  # whose inputs begin with the place of their name
READING_TESTS = ("tests/test_*.py", "tests/property/test_*.py", "tests/hostile/test_*_bombs.py", "tests/hostile/test_h*.py")
TORCH_ZIP, PACKED, TAR = rb"PK\x03\x04|PK\x05\x06", rb"PK|\x1f\x8b|BZh|\xfd7z|\x28\xb5\x2f\xfd", rb".{257}ustar|sys_info\x00"


def holding(begin: bytes, *words: bytes) -> Callable[[bytes], bool]:
    """Files that begin so, and hold one of the words."""
    return lambda data: re.match(begin, data, re.DOTALL) is not None and (not words or any(word in data for word in words))


BELONGS: dict[str, Callable[[bytes], bool]] = {
    "safetensors": holding(rb".{8}\{"),
    "torch-zip": holding(TORCH_ZIP),
    "torch-legacy": holding(rb"\x80[\x02-\x05]|\(|[\]}]q|c|L\d"),
    "torchscript": holding(TORCH_ZIP, b"constants.pkl", b"/code/"),
    "torch-export": holding(TORCH_ZIP, b"archive_format", b"serialized_exported_program"),
    "torch-package": holding(TORCH_ZIP, b"extern_modules", b".data/"),
    "torch-tar": holding(TAR),
    "gguf": holding(rb"GGUF"),
    "baseline": holding(rb"\s*\{", b"mscope.baseline"),
    "sharded": holding(rb"\s*\{", b"weight_map"),
    "dcp": holding(rb"\x80", b"torch.distributed.checkpoint"),
    "dcp-part": holding(TORCH_ZIP),
    "tensor-parallel": holding(TORCH_ZIP),
    "deepspeed": holding(TORCH_ZIP),
    "archive-zip": holding(rb"PK"),
    "archive-tar": holding(PACKED),
    "naming": lambda _: True,
    "scan": lambda _: True,
    BY_NAME: lambda _: True,
    "zip-directory": holding(rb"PK"),
    "tar-directory": holding(TAR),
}


def harvest(kept: Path, longest: int) -> None:
    """Runs the tests that read, unless it was done before, and hands what they read to the targets it belongs to.

    Of inputs without number, such as properties make, a target tries so many, chosen by chance; its corpus takes those that reach more.
    """
    found = kept / "harvest"
    if not found.is_dir():
        found.mkdir(parents=True)
        tests = [str(path) for pattern in READING_TESTS for path in sorted(Path().glob(pattern))]
        environment = {**os.environ, KEPT: str(found.resolve()), LONGEST: str(longest)}
        subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "tests.fuzz.harvest", *tests], env=environment, check=False)
    paths = sorted(found.iterdir())
    Random(0).shuffle(paths)
    for name, belongs in BELONGS.items():
        unpack(name, kept)
        with tempfile.TemporaryDirectory() as tried:
            count = 0
            for path in paths:
                first = bytes.fromhex(path.suffix[1:]) if name == BY_NAME else b""
                if count < MOST_TRIED and (first or name != BY_NAME) and belongs(data := path.read_bytes()):
                    (Path(tried) / path.name).write_bytes((first + data)[:longest])
                    count += 1
            merge(name, kept, Path(tried), longest)


def pytest_configure() -> None:
    from modelscope_cli.core.window import MemoryWindow, Window
    from tests.fuzz.targets import place_of

    folder, longest = Path(os.environ[KEPT]), int(os.environ[LONGEST])
    opened, in_memory = Window.__init__, MemoryWindow.__init__

    def keep(data: bytes, name: str) -> None:
        place = place_of(name)
        if place is None and re.match(PACKED, data):  # names stand in an archive, whatever it is called
            place = place_of("model.mar")
        path = folder / (hashlib.sha256(data).hexdigest()[:20] + ("" if place is None else f".{place:02x}"))
        if not path.exists():
            path.write_bytes(data)

    def open_and_keep(window: Window, descriptor: int, name: str, size: int, *rest: Any, **options: Any) -> None:
        opened(window, descriptor, name, size, *rest, **options)
        if 0 < size <= longest and descriptor >= 0 and window.identity is not None:
            keep(os.pread(descriptor, size, 0), name)

    def hold_and_keep(window: MemoryWindow, data: bytes, name: str, *rest: Any, **options: Any) -> None:
        in_memory(window, data, name, *rest, **options)
        if 0 < len(data) <= longest:
            keep(bytes(data), name)

    Window.__init__, MemoryWindow.__init__ = open_and_keep, hold_and_keep  # type: ignore[method-assign,assignment]
