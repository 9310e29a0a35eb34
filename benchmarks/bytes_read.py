"""How many bytes of the model `mscope inspect` asks the system for. Prints them, and how many is few.

    python bytes_read.py PATH

The command runs in this process with os.pread counted; a model file opened any other way than os.open, which could be read
past the count, ends the measurement. Few is what a reader cannot do without, taken here from the files themselves with
struct and zipfile: headers, index, zip directory, local headers and pickle, plus 64 KiB a file.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

ALLOWANCE = 64 << 10
LOCAL_HEADER = 30  # and the name


def files_of(path: Path) -> list[Path]:
    """The file, or the shards and the index of a set."""
    if path.is_file():
        return [path]
    return sorted([*path.glob("*.safetensors"), *path.glob("*.index.json")])


def needed(path: Path) -> int:
    """Bytes of one file that have to be read to know every tensor in it."""
    if path.suffix == ".json":
        return path.stat().st_size
    if path.suffix == ".safetensors":
        with open(path, "rb") as file:
            return 8 + int(struct.unpack("<Q", file.read(8))[0])
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        local = sum(LOCAL_HEADER + len(member.filename.encode()) for member in members)
        pickle = sum(member.compress_size for member in members if member.filename.endswith("/data.pkl"))
        return local + pickle + path.stat().st_size - archive.start_dir


def count_reads(path: Path) -> int:
    """Run the command with its output thrown away. Raises SystemExit when reads could have gone past the count."""
    total = 0
    pread = os.pread

    def counting(descriptor: int, length: int, offset: int) -> bytes:
        nonlocal total
        data = pread(descriptor, length, offset)
        total += len(data)
        return data

    inside = {os.path.realpath(file) for file in files_of(path)}
    past: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open":
            return
        name, mode, _ = arguments
        # os.open has no mode; what is opened by its number has been seen before
        if mode is not None and isinstance(name, str) and os.path.realpath(name) in inside:
            past.append(os.path.basename(name))

    os.pread = counting
    sys.addaudithook(watch)
    from modelscope_cli.cli.app import app

    sys.argv = ["mscope", "inspect", str(path)]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            app(prog_name="mscope")
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
    if past:
        raise SystemExit(f"opened without os.open, so not counted: {', '.join(past[:5])}")
    return total


if __name__ == "__main__":
    model = Path(sys.argv[1])
    read = count_reads(model)
    files = files_of(model)
    print(read, sum(map(needed, files)) + ALLOWANCE * len(files))
