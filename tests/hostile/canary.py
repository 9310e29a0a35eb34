"""Runs `mscope` in a process that is watched by an audit hook (PEP 578). Not a test itself.

    canary.py record LIST ARGUMENTS…   writes down which modules the command imports: for files that are honest
    canary.py hold LIST ARGUMENTS…     ends with code 99, and says why, at the first act that no honest file needs
    canary.py try LIST CODE            the same for a line of Python: to see that the hook does hold it

Held are: imports of anything that is neither ours, nor of the base install, nor in LIST; sockets, name look-ups, programs, forks,
ctypes, unpickling; anything opened to be written, made, moved or removed outside the folder for temporary files; and source text
that is compiled or run but for what an import, or typer's look at annotations, needs.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from importlib.util import find_spec

OURS = frozenset({
    "modelscope_cli", "typer", "click", "rich", "msgspec", "shellingham", "markdown_it", "mdurl", "pygments", "typing_extensions",
    "annotated_doc", "colorama", "reportlab", "squarify", "graphviz_pure",
})  # fmt: skip
ACTS = (
    "socket.", "subprocess.", "ctypes.", "pty.", "urllib.", "http.", "ftplib.", "smtplib.", "poplib.", "imaplib.", "telnetlib.",
    "sqlite3.", "webbrowser.", "winreg.", "msvcrt.", "shutil.", "os.exec", "os.system", "os.posix_spawn", "os.spawn", "os.fork",
    "os.startfile", "os.kill", "os.putenv", "os.unsetenv", "os.chdir", "pickle.find_class", "code.__new__", "builtins.breakpoint",
    "setopencodehook", "sys.set", "gc.", "fcntl.", "signal.pthread_kill", "syslog.", "tempfile.mkdtemp", "glob.never",
)  # fmt: skip
CHANGES = (
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate", "os.utime",
    "os.setxattr", "os.removexattr", "tempfile.mkstemp",
)  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
STANDARD = os.path.dirname(os.__file__)
PACKAGES = os.path.dirname(find_spec("typer").submodule_search_locations[0])
HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ASIDE = os.path.realpath(tempfile.gettempdir())
SOURCES = (STANDARD, PACKAGES, HERE)


def stop(said: str) -> None:
    frame, way = sys._getframe(2), []
    while frame is not None and len(way) < 12:
        way.append(f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}")
        frame = frame.f_back
    os.write(2, f"HELD: {said} in {' < '.join(way)}\n".encode("utf-8", "backslashreplace"))
    os._exit(99)


def aside(path: object) -> bool:
    """Whether a path is in the folder for temporary files."""
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    return isinstance(path, str) and os.path.abspath(path).startswith(ASIDE)


def is_source(name: str) -> bool:
    return name.startswith(SOURCES) or name.startswith("<frozen ")


def asking() -> tuple[str, bool]:
    """(the nearest file that is not of the standard library, whether an import is going on)."""
    frame, nearest, importing = sys._getframe(2), "", False
    while frame is not None:
        name = frame.f_code.co_filename
        importing = importing or name.startswith("<frozen importlib")
        if not nearest and not name.startswith("<frozen ") and (name.startswith(PACKAGES) or not name.startswith(STANDARD + os.sep)):
            nearest = name
        frame = frame.f_back
    return nearest, importing


def needed(nearest: str, importing: bool) -> bool:
    """Whether text is compiled or run by an import (named tuples), or by those who read the annotations of our commands."""
    rules = os.path.join(HERE, "modelscope_cli", "cli", "rules.py")
    return importing or nearest.startswith(os.path.join(PACKAGES, "typer")) or nearest == rules


class Watch:
    """The hook. `allowed` None: it only writes down."""

    def __init__(self, allowed: set[str] | None):
        self.allowed = allowed
        self.imported: set[str] = set()
        self.kept = ""  # the list itself

    def imports(self, name: str, nearest: str) -> None:
        """A module, or the file of one, that `nearest` asks for: packages of the base install take what they need."""
        if nearest.startswith(PACKAGES):
            return
        self.imported.add(name)
        if self.allowed is not None and name not in self.allowed:
            stop(f"imported {name}")

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "import":
            name = str(arguments[0])
            if name.partition(".")[0] not in OURS:
                self.imports(name, asking()[0])
        elif event == "open":
            path, mode, flags = arguments
            writing = bool(set(mode) & set("wax+")) if isinstance(mode, str) else bool(int(str(flags)) & WRITING)
            if writing and path != self.kept and not aside(path):
                stop(f"opened {path!r} as {mode!r} {flags!r}")
        elif event.startswith(CHANGES):
            if not aside(arguments[0]):
                stop(f"did {event} {arguments!r}")
        elif event.startswith(ACTS):
            stop(f"did {event} {arguments!r:.200}")
        elif event == "compile":
            if not is_source(str(arguments[1])) and not needed(*asking()):
                stop(f"compiled {arguments[0]!r:.200}")
        elif event == "exec":
            code = arguments[0]
            name = getattr(code, "co_filename", "")
            nearest, importing = asking()
            if not is_source(name) and not needed(nearest, importing):
                stop(f"ran code of {name}")
            if name.startswith(STANDARD + os.sep) and not name.startswith(PACKAGES) and code.co_name == "<module>":
                self.imports(name[len(STANDARD) + 1 :], nearest)  # importlib.import_module is not told as an import


def run(code: str, watch: Watch) -> None:
    """Run a line as a file of ours would, when the command is at work."""
    sys.addaudithook(watch)
    exec(compile(code, os.path.join(HERE, "probe"), "exec"), {})


def main() -> None:
    mode, listed, *rest = sys.argv[1:]
    if mode == "record":
        watch, leave = Watch(None), os._exit

        def write_down(code: int) -> None:
            with open(listed, "w", encoding="utf-8") as file:
                json.dump(sorted(watch.imported), file)
            leave(code)

        watch.kept = listed
        os._exit = write_down  # type: ignore[assignment]
    else:
        with open(listed, encoding="utf-8") as file:
            watch = Watch(set(json.load(file)))
    if mode == "try":
        run(rest[0], watch)
        return
    sys.addaudithook(watch)
    from modelscope_cli.cli.app import main as command

    sys.argv = ["mscope", *rest]
    command()


if __name__ == "__main__":
    main()
