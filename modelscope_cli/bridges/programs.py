"""Finding and running the programs that paint. Only folders of the PATH that are named in full count, and never the working folder.

Windows looks into the working folder first, and so does shutil.which there: a model's folder could bring its own dot.exe.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig

from modelscope_cli.errors import DrawingError

SUFFIXES = (".exe",) if os.name == "nt" else ("",)
WHEEL = "graphviz-pure"
PATIENCE = 15.0  # seconds for one picture; nothing is laid out, so it is tenths
BEGINS = {
    "svg": (b"<?xml", b"<svg"),
    "png": (b"\x89PNG\r\n\x1a\n",),
    "pdf": (b"%PDF-",),
    "dot": (b"digraph",),
    "plain": (b"graph",),
}
ENDS = {"svg": b"</svg>", "png": b"IEND\xaeB`\x82", "pdf": b"%%EOF", "dot": b"}", "plain": b"stop"}
NO_FONT = b"unable to resolve"  # what dot -v says of a font name it finds nothing for


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


def run(program: str, text: str, format: str, *options: str, fonts: bool = False, patience: float | None = None) -> bytes:
    """What the program makes of a DOT text; with `fonts` it must have some. Raises DrawingError, OSError or TimeoutExpired."""
    command = [program, f"-T{format}", *options, *(["-v"] if fonts else [])]
    limit = PATIENCE if patience is None else patience
    done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=limit, check=False)
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip()
        raise DrawingError(said.splitlines()[0][:200] if said else f"ended with {done.returncode} and painted nothing")
    if not done.stdout.startswith(BEGINS[format]) or ENDS[format] not in done.stdout[-64:]:
        raise DrawingError(f"what it wrote is no {format.upper()}")
    if fonts and NO_FONT in done.stderr:
        raise DrawingError("it finds no fonts")
    return done.stdout
