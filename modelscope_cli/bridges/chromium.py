"""Finding an installed Chromium, Chrome, Edge or Brave, and letting it work without a window.

It starts with a profile of its own, which is thrown away, resolves no name but this machine's, and is ended, with all the
processes it started, when the work is done, its time is up, or this process is asked to end. What it opens is a file in a
folder that only its user can read: arguments of programs everybody on a machine can see.
"""

from __future__ import annotations

import html
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modelscope_cli.bridges.ending import deferred_end
from modelscope_cli.bridges.programs import find
from modelscope_cli.errors import DrawingError

VARIABLE = "CHROME_PATH"  # names the program to take
PATIENCE = 60.0  # seconds for one picture, a file of 1 GB included
NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "microsoft-edge-stable",
    "brave-browser",
    "msedge",
)
MAC = (
    "Google Chrome.app/Contents/MacOS/Google Chrome",
    "Chromium.app/Contents/MacOS/Chromium",
    "Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "Brave Browser.app/Contents/MacOS/Brave Browser",
)
WINDOWS = (
    r"Google\Chrome\Application\chrome.exe",
    r"Chromium\Application\chrome.exe",
    r"Microsoft\Edge\Application\msedge.exe",
    r"BraveSoftware\Brave-Browser\Application\brave.exe",
)
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-quic",
    "--disable-breakpad",
    "--disable-dev-shm-usage",  # containers have 64 MB there
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",  # asks no keyring
    "--use-mock-keychain",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--force-color-profile=srgb",
)
POLL = 0.01  # seconds between looks at whether it is done
SAID = 200  # characters of its words that are repeated
SAYS = "said"  # the file in its folder that gets them
FOLDER = "{folder}"


def find_browser() -> str:
    """The program: the one that CHROME_PATH names, else of the PATH, else where it is usually installed.

    Raises DrawingError, which says what was looked for.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        if os.path.isabs(chosen) and os.path.isfile(chosen) and os.access(chosen, os.X_OK):
            return chosen
        raise DrawingError(
            f"{VARIABLE} names no program: {chosen}", hint=f"give the full path of a browser, or unset {VARIABLE}"
        )
    for path in [*map(find, NAMES), *installed()]:
        if path is not None and os.path.isfile(path):
            return path
    raise DrawingError(
        f"pictures of Netron need Chromium, Chrome, Edge or Brave, and none was found: looked for {', '.join(NAMES)} on the PATH"
        + (" and in the usual folders" if installed() else ""),
        hint=f"install one, or name it in {VARIABLE}; -f browser opens any browser, and --engine diagram needs none",
    )


def installed() -> list[str]:
    """Where browsers are on systems that do not put them on the PATH."""
    if sys.platform == "darwin":
        folders = ["/Applications", os.path.expanduser("~/Applications")]
        return [os.path.join(folder, name) for folder in folders for name in MAC]
    if os.name == "nt":
        variables = ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")
        folders = [folder for folder in map(os.environ.get, variables) if folder and os.path.isabs(folder)]
        return [os.path.join(folder, name) for folder in folders for name in WINDOWS]
    return []


def visit(program: str, address: str, done: Callable[[], bool]) -> None:
    """Open a page until `done()`. Raises DrawingError when the browser ends before that, or the time is up."""
    page = f'<!doctype html><meta http-equiv="refresh" content="0;url={html.escape(address)}">'
    with running(program, page.encode()) as (process, folder):
        until = time.monotonic() + PATIENCE
        while not done():
            if process.poll() is not None and not done():
                raise DrawingError(f"{program} ended before there was a picture{last_words(folder)}")
            if time.monotonic() > until:
                raise DrawingError(f"{program} was not done after {PATIENCE:.0f} seconds", hint="-f browser has no time limit")
            time.sleep(POLL)


def print_pdf(program: str, page: bytes) -> bytes:
    """A page as PDF, on paper of the size that it asks for. Raises DrawingError."""
    with running(program, page, "--no-pdf-header-footer", f"--print-to-pdf={FOLDER}/page.pdf") as (process, folder):
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise DrawingError(f"{program} was not done after {PATIENCE:.0f} seconds", hint="-f svg needs less") from None
        try:
            with open(os.path.join(folder, "page.pdf"), "rb") as file:
                return file.read()
        except OSError:
            raise DrawingError(f"{program} printed nothing{last_words(folder)}") from None


@contextmanager
def running(program: str, page: bytes, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The browser at work on a page, and its folder, which stands in the options for FOLDER; afterwards nothing of it is left."""
    with deferred_end() as ending:
        folder = tempfile.mkdtemp(prefix="mscope-", dir=shared_folder(program))
        process = None
        try:
            try:
                process = start(program, page, folder, options)
                ending.allow()
                yield process, folder
            finally:
                ending.defer()
        finally:  # also when the end came between the two words above
            if process is not None:
                end(process)
            remove(folder)


def start(program: str, page: bytes, folder: str, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    opened, said = Path(folder, "page.html"), os.path.join(folder, SAYS)
    opened.write_bytes(page)
    command = [program, *FLAGS, *unboxed(), f"--user-data-dir={os.path.join(folder, 'profile')}"]
    command += [option.replace(FOLDER, folder) for option in options]
    with open(said, "wb") as words:
        try:
            return subprocess.Popen(
                [*command, opened.as_uri()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=words,
                start_new_session=os.name != "nt",
            )
        except OSError as problem:
            raise DrawingError(f"{program} cannot be started: {(problem.strerror or str(problem)).lower()}") from None


def remove(folder: str) -> None:
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            break
        time.sleep(0.05)  # processes that are ending still write


def shared_folder(program: str) -> str | None:
    """Where a browser that sees little of the machine can write: Ubuntu's comes as a snap, with a /tmp of its own."""
    home = os.path.expanduser("~/snap/chromium/common")
    snap = program.startswith("/snap/") or os.path.realpath(program).endswith("/snap")
    return home if snap and os.path.isdir(home) else None


def unboxed() -> list[str]:
    """Chromium refuses to put its own processes into a sandbox for root, who is whom containers run as. What it opens here is
    our page, from this machine, under a policy that lets no other script run."""
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


def end(process: subprocess.Popen[bytes]) -> None:
    """End a browser and every process that it started."""
    if os.name == "nt":
        tool = os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "taskkill.exe")
        with suppress(OSError):
            subprocess.run([tool, "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    with suppress(OSError):
        process.kill()
    process.wait()


def last_words(folder: str) -> str:
    """What the browser said last that tells something, to be added to a sentence."""
    try:
        with open(os.path.join(folder, SAYS), "rb") as file:
            lines = file.read(1 << 20).decode(errors="replace").splitlines()
    except OSError:
        return ""
    lines = [line.strip() for line in lines if line.strip()]
    telling = [line for line in lines if "FATAL" in line] or lines
    return f": {telling[-1][:SAID]}" if telling else ""
