"""The programs that paint, each reachable alone, and the pictures they make, read back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from modelscope_cli.report.scene import Scene, Words

DOT = shutil.which("dot")
WHEEL = shutil.which("graphviz-pure", path=sysconfig.get_path("scripts"))
SVG = "{http://www.w3.org/2000/svg}"
BOTH = pytest.mark.parametrize(
    "program",
    [
        pytest.param(DOT, id="dot", marks=pytest.mark.skipif(DOT is None, reason="no Graphviz here")),
        pytest.param(WHEEL, id="graphviz-pure", marks=pytest.mark.skipif(WHEEL is None, reason="no graphviz-pure here")),
    ],
)
STARTS = {"svg": b"<?xml", "png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-"}
BLACK = "#000000"
NEEDS_DOT = pytest.mark.skipif(DOT is None, reason="no Graphviz here")
NEEDS_WHEEL = pytest.mark.skipif(WHEEL is None, reason="no graphviz-pure here")


def painted(program: str, text: str, format: str) -> bytes:
    """What a program makes of a DOT text; failing is an error of the test."""
    done = subprocess.run([program, f"-T{format}"], input=text.encode(), capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def written(svg: bytes | str) -> list[str]:
    """The texts of an SVG in the order of painting; Graphviz writes the second of two spaces as one that does not break."""
    root = ElementTree.fromstring(svg)
    return ["".join(element.itertext()).replace("\u00a0", " ") for element in root.iter(f"{SVG}text")]


def linked_folder(folder: Path, **programs: str) -> str:
    """A folder for PATH that holds nothing but links to programs."""
    folder.mkdir()
    for name, target in programs.items():
        (folder / name).symlink_to(target)
    return str(folder)


def fake_dot(folder: Path, script: str) -> str:
    """A folder for PATH with a `dot` that is a shell script. /bin stays on the PATH for what the script calls."""
    folder.mkdir()
    program = folder / "dot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}/nowhere"


def only(program: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Leave nothing on the PATH, or only `dot`, so that this program is the one to paint."""
    monkeypatch.setenv("PATH", linked_folder(folder / "only", **({"dot": program} if program == DOT else {})))


def page(*words: Words, width: float = 200.0, height: float = 60.0) -> Scene:
    return Scene("page", width, height, "#ffffff", list(words))
