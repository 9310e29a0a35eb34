"""Run `mscope`: in this process, which is quick, or in one of its own, where streams and exit codes are the real ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any, NamedTuple

from typer.testing import CliRunner

from modelscope_cli.cli.app import app

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
FRAMES = re.compile(r"[│╭╮╰╯─|+]")
UNSET = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "PYTHONIOENCODING")


class Done(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def mscope(*arguments: object, columns: int = 120, **environment: str) -> Done:
    """Run the command here; an exception that nobody expected comes through."""
    settings: dict[str, str | None] = {**dict.fromkeys(UNSET), "COLUMNS": str(columns), **environment}
    result = CliRunner().invoke(
        app, [str(part) for part in arguments], env=settings, catch_exceptions=False, prog_name="mscope"
    )
    return Done(result.exit_code, result.stdout_bytes.decode(), result.stderr_bytes.decode())


def process(*arguments: object, columns: int | None = 120, encoding: str = "utf-8", **options: Any) -> Any:
    """Run the command in a process of its own; the result is subprocess's, with text in it."""
    settings = {name: value for name, value in os.environ.items() if name not in (*UNSET, "COLUMNS")}
    settings |= {"PYTHONIOENCODING": encoding} | ({"COLUMNS": str(columns)} if columns else {}) | options.pop("env", {})
    command = [sys.executable, "-m", "modelscope_cli", *map(str, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(command, env=settings, encoding=encoding, timeout=60, check=False, **streams)


def words(text: str) -> str:
    """A message without colours, frames and line breaks."""
    return " ".join(FRAMES.sub(" ", CODES.sub("", text)).split())
