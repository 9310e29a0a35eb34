"""What fuzzing has kept, packed into the repository: a target goes on anywhere from where it ended, and every test run reads it all.

A corpus is `corpora/TARGET.tar.xz`, its inputs in the order of their hashes, so that the same inputs are the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.record import load, save

CORPORA = Path(__file__).parent / "corpora"
SEED_PREFIX = "seed-"  # made anew from the builders


def pack(kept: Path, longest: int) -> None:
    """Of every corpus of the folder the inputs that reach all that it reaches, and its record."""
    CORPORA.mkdir(exist_ok=True)
    for record in sorted(kept.glob("*.json")):
        name = record.stem
        with tempfile.TemporaryDirectory() as folder:
            merge(name, Path(folder), kept / name, longest)
            held = {digest(path.read_bytes()): path for path in (Path(folder) / name).iterdir()}
            with lzma.open(CORPORA / f"{name}.tar.xz", "wb", preset=9) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
                for hashed, path in sorted(held.items()):
                    if not path.name.startswith(SEED_PREFIX):
                        entry = tarfile.TarInfo(hashed)
                        entry.size = path.stat().st_size
                        archive.addfile(entry, io.BytesIO(path.read_bytes()))
        shutil.copyfile(record, CORPORA / record.name)


def merge(name: str, kept: Path, tried: Path, longest: int) -> None:
    """Let the corpus of a target take what reaches more out of a folder."""
    command = [sys.executable, "-m", "tests.fuzz.worker", name, str(kept), f"-max_len={longest}", "-merge=1", str(tried)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def unpack(name: str, kept: Path) -> None:
    """What is packed of a target, where the folder has nothing of it yet."""
    if (kept / f"{name}.json").exists() or not (CORPORA / f"{name}.json").exists():
        return
    (kept / name).mkdir(parents=True, exist_ok=True)
    for data in inputs(name):
        (kept / name / digest(data)).write_bytes(data)
    save(kept, name, load(CORPORA, name))


def inputs(name: str) -> Iterator[bytes]:
    """The packed inputs of a target, none where nothing is packed."""
    path = CORPORA / f"{name}.tar.xz"
    if not path.exists():
        return
    with lzma.open(path) as packed, tarfile.open(fileobj=packed) as archive:
        for member in archive:
            held = archive.extractfile(member)
            assert held is not None
            yield held.read()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:20]
