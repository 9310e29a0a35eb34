"""Where a picture goes: into a file, to stdout or, as a log, into a folder of its own; and what it is called."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

import typer

from modelscope_cli.cli.picture_options import STDOUT

if TYPE_CHECKING:
    from modelscope_cli.report.painting import LogFolder, Painting

LOG_FOLDER = "runs"  # where TensorBoard's users keep theirs
EVENTS = "tfevents"  # TensorBoard reads every file with this in its name


def put(painting: Painting | LogFolder, output: str | None, path: str, format: str, inputs: list[str], *, opened: bool) -> None:
    """Write the picture; where no file was named, beside the user, and say where. `inputs`: files not to be written over."""
    from modelscope_cli.cli.options import refuse_inputs, write_file
    from modelscope_cli.cli.problems import print_line
    from modelscope_cli.render.plain import begun
    from modelscope_cli.report.painting import LogFolder

    if isinstance(painting, LogFolder):
        put_folder(painting, output or LOG_FOLDER, run_name(path), inputs)
        return
    if output == STDOUT:
        sys.stdout.buffer.write(painting.data)
        sys.stdout.buffer.flush()
        return
    file = output or f"{name_of(path)}.{format}"
    refuse_inputs(file, inputs)
    write_file(file, painting.data)
    if output is None:
        print_line(begun(file))
    if opened:
        open_file(file)


def put_folder(logs: LogFolder, parent: str, name: str, inputs: list[str]) -> None:
    """Write the files of a log folder, say where it is and how to look at it.

    It is a folder of its own in `parent`, as TensorBoard wants it: several models there are runs to compare.
    """
    import shlex

    from modelscope_cli.cli.options import refuse_inputs, write_file
    from modelscope_cli.cli.problems import UNREADABLE, print_line, say
    from modelscope_cli.render.plain import begun, visible

    folder = os.path.join(parent, name)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as problem:
        say(f"mscope: {visible(folder)}: no folder can be made there: {(problem.strerror or str(problem)).lower()}")
        raise typer.Exit(UNREADABLE) from None
    reason = in_the_way(folder, logs)
    if reason:
        say(f"mscope: {visible(folder)}: {reason} - name another parent folder with -o, or remove it first")
        raise typer.Exit(UNREADABLE)
    for each, data in logs.files.items():
        file = os.path.join(folder, each)
        refuse_inputs(file, inputs)
        write_file(file, data)
    print_line(begun(folder))
    say(f"mscope: look at it with: {visible(logs.view.format(folder=shlex.quote(parent)))}")


def in_the_way(folder: str, logs: LogFolder) -> str:
    """Why a folder cannot have the log: TensorBoard would show all events in it as one run. The same log may come again.

    What is no event is no harm, and stays.
    """
    try:
        for name in sorted(os.listdir(folder)):
            if name in logs.files:
                file = os.path.join(folder, name)
                if not os.path.isfile(file) or not same(file, logs.files[name]):
                    return "holds the log of another model, or an older one of this model"
            elif EVENTS in name:
                return "holds events of another program, and TensorBoard would mix them with these"
    except OSError as problem:
        return f"cannot be looked into: {(problem.strerror or str(problem)).lower()}"
    return ""


def same(file: str, data: bytes) -> bool:
    if os.path.getsize(file) != len(data):
        return False
    with open(file, "rb") as stream:
        return stream.read() == data


def open_file(file: str) -> None:
    """Show a file in the program that the system has for it; say so where there is none."""
    from modelscope_cli.cli.problems import say

    start = getattr(os, "startfile", None)  # Windows
    try:
        if start is not None:
            start(os.path.abspath(file))
        elif typer.launch(os.path.abspath(file)):
            raise OSError("no program for it was found")
    except OSError as problem:
        say(f"mscope: {file} is written, but could not be opened: {(problem.strerror or str(problem)).lower()}")


def name_of(path: str) -> str:
    """A name after the input: weights of weights.pth, model of model-00001-of-00008.safetensors, the name of a folder."""
    from modelscope_cli.render.plain import visible

    base = os.path.basename(os.path.normpath(os.path.abspath(path)))
    stem = base if os.path.isdir(path) else re.sub(r"\.(safetensors|bin)\.index$", "", os.path.splitext(base)[0])
    stem = re.sub(r"-\d+-of-\d+$", "", stem)
    return visible(stem).replace("\\", "_") or "model"


def run_name(path: str) -> str:
    """A name for a run: that of the input, but where all models are called so, that of its folder."""
    from modelscope_cli.analysis.diagram_page import COMMON_NAME
    from modelscope_cli.render.plain import visible

    name, above = name_of(path), os.path.basename(os.path.dirname(os.path.abspath(path)))
    common = None if os.path.isdir(path) else COMMON_NAME.fullmatch(name)
    if common is None or not above:
        return name
    folder = visible(above).replace("\\", "_")
    return f"{folder}-{name}" if common[4] else folder  # checkpoint-1000 and checkpoint-2000 lie in one folder
