"""Finding programs. Only folders of the PATH that are named in full count, and never the working folder.

Windows looks into the working folder first, and so does shutil.which there: a model's folder could bring its own dot.exe.
"""

from __future__ import annotations

import os
import sysconfig

SUFFIXES = (".exe",) if os.name == "nt" else ("",)
WHEEL = "graphviz-pure"


def find(name: str, folders: list[str] | None = None) -> str | None:
    """The full path of a program in the folders, by default those of the PATH."""
    for folder in os.environ.get("PATH", "").split(os.pathsep) if folders is None else folders:
        for suffix in SUFFIXES if os.path.isabs(folder) else ():
            path = os.path.join(folder, name + suffix)
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
    return None


def find_wheel() -> str | None:
    """The program of the wheel graphviz-pure: beside this Python, on the PATH, or where its installer says it is."""
    return find(WHEEL, [sysconfig.get_path("scripts")]) or find(WHEEL) or find(WHEEL, installed_folders())


def installed_folders() -> list[str]:
    """Where `pip install --user` and `--target` put the wheel's program."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        installed = distribution(WHEEL)
    except PackageNotFoundError:
        return []
    listed = [str(installed.locate_file(file)) for file in installed.files or [] if file.stem == WHEEL]
    return [os.path.abspath(path) for path in [*map(os.path.dirname, listed), str(installed.locate_file("bin"))]]
