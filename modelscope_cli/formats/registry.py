"""Which reader takes which file: one row a format, and the one function that opens a path.

Content decides; a suffix only breaks a tie. A reader's module is imported when its row matches, not before. To add a
format: write `formats/NAME.py` with `read(window, limits, *, lenient)` and add its row.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from modelscope_cli.core.checkpoint import CONFIG_FILE, QUANTISATION_FILES, SOURCE, Checkpoint, quantisation_of
from modelscope_cli.core.limits import DEFAULT_LIMITS, Limits
from modelscope_cli.core.window import Window
from modelscope_cli.errors import FormatError, LimitError
from modelscope_cli.formats.archive_paths import is_file, open_path
from modelscope_cli.formats.locate import Target, locate

HEAD = 1 << 12
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILE = re.compile(r"(?:pytorch_)?adapters?(?:_model)?\.(?:safetensors|bin|pt|pth|ckpt|npz)")  # of PEFT, AdapterHub, MLX


Step = Callable[[int, int], None]
Read = Callable[[Window, Limits], Checkpoint]
Look = Callable[[Window, Limits, Read], Checkpoint]  # reads, and looks at the same window besides: formats/looking.py


class Format(NamedTuple):
    """`magic` is matched against the first bytes; `suffixes` decide when content says nothing."""

    name: str
    magic: str
    suffixes: tuple[str, ...]
    module: str


FORMATS = (
    Format(
        name="torch-zip",
        magic=r"PK\x03\x04|PK\x05\x06",
        suffixes=(),
        module="modelscope_cli.formats.torch_zip",
    ),
    Format(
        name="dcp-part",  # torch zips one behind another, the last of which is a torch zip by itself
        magic=r"PK\x03\x04",
        suffixes=(".distcp",),
        module="modelscope_cli.formats.dcp_part",
    ),
    Format(
        # A protocol 2 to 5 pickle that is not the length of a safetensors header (640 is 80 02), or a way protocols 0 and 1 begin.
        name="torch-legacy",
        magic=r"(?!.{5}\x00{3}\{)(?:\x80[\x02-\x05]|\((?:d|l|i[\w.]+\n)|[\]}]q|c[\w.]+\n[\w.]+\n|L\d+L\n)",
        suffixes=(".pkl", ".pickle"),
        module="modelscope_cli.formats.torch_legacy",
    ),
    Format(
        name="safetensors",  # eight bytes of length, not all of them text, and the brace that opens the header
        magic=r"(?![\t\n\r -~]{8}).{8}\{",
        suffixes=(".safetensors",),
        module="modelscope_cli.formats.safetensors",
    ),
    Format(
        name="gguf",
        magic=r"GGUF(?![ -~]{4})",  # a version, not a text about it
        suffixes=(),
        module="modelscope_cli.formats.gguf",
    ),
    Format(
        # The checksum of its first header is looked at by the reader: tars of Unix V7 have no "ustar".
        name="torch-tar",
        magic=r"(?=.{100}[0-7 \x00]{24})(?:sys_info|pickle|tensors|storages)\x00|.{257}ustar",
        suffixes=(),
        module="modelscope_cli.formats.torch_tar",
    ),
    Format(
        name="baseline",  # what `describe` wrote about a checkpoint of any format
        magic=r'\s*\{\s*"schema":\s*"mscope\.baseline/',
        suffixes=(".baseline.json",),
        module="modelscope_cli.formats.baseline",
    ),
)

WEAK = (
    "torch-legacy",
    "safetensors",
)  # rows that other files can match too: where their readers give up, a better name is looked for

READ_FORMATS = (  # what Checkpoint.format may say
    "safetensors", "gguf", "torch-zip", "torch-legacy", "torchscript", "torch-export", "torch-aotinductor",
    "torch-package", "torch-tar", "pickle", "dcp", "dcp-part", "dcp-safetensors", "deepspeed",
)  # fmt: skip


def sniff(head: bytes, path: str) -> Format | None:
    """The row for these first bytes, or None. Never raises."""
    rows = [row for row in FORMATS if re.compile(row.magic.encode("latin-1"), re.DOTALL).match(head)]
    named = [row for row in rows if row.suffixes and path.lower().endswith(row.suffixes)]
    return next(iter(named + rows), None)


def by_suffix(path: str) -> Format | None:
    """The row that claims the suffix of a path."""
    return next((row for row in FORMATS if path.lower().endswith(row.suffixes) and row.suffixes), None)


def read_file(path: str, limits: Limits = DEFAULT_LIMITS, *, lenient: bool = False, look: Look | None = None) -> Checkpoint:
    """The checkpoint in one file, not looking at its neighbours."""
    with open_path(path, limits) as window:
        if look is not None:
            return look(window, limits, partial(read_window, lenient=lenient))
        return read_window(window, limits, lenient=lenient)


def read_window(window: Window, limits: Limits, *, lenient: bool = False) -> Checkpoint:
    """The checkpoint behind a window, by its content."""
    head = window.head(HEAD)
    row = sniff(head, window.name)
    if row is None:
        row = _unless_foreign(by_suffix(window.name), window)
    reader: Any = import_module(row.module)
    try:
        checkpoint: Checkpoint = reader.read(window, limits, lenient=lenient)
    except FormatError as problem:
        if row.name not in WEAK:
            raise
        from modelscope_cli.formats.known import better_name

        better = better_name(window, problem)
        if better is problem:
            raise
        raise better from None
    except LimitError as problem:
        problem.path = problem.path or window.name
        raise
    return checkpoint


def _unless_foreign(named: Format | None, window: Window) -> Format:
    """The row that a suffix names, for content that says nothing. Raises the error that names anything else."""
    from modelscope_cli.formats.known import foreign_error, recognise

    if named is not None and window.size and (named.name == "baseline" or recognise(window) is None):
        return named  # of JSON the suffix tells more: a formatter may have sorted its keys
    raise foreign_error(window)


def read_target(
    target: Target,
    limits: Limits = DEFAULT_LIMITS,
    *,
    lenient: bool = False,
    step: Step | None = None,
    unpacking: Step | None = None,
    look: Look | None = None,
) -> Checkpoint:
    """The checkpoint of a located target: a file, or a set whose parts are opened one by one.

    `step(done, whole)` is called after each part, `unpacking(done, whole)` with bytes of an archive. `look` is handed each file
    that is read by itself, and reads it.
    """
    if target.archive is not None:
        target.archive.budget.progress = unpacking

    def open_part(part: str | Window, bounds: Limits = limits) -> Checkpoint:
        if isinstance(part, Window):
            return read_window(part, bounds, lenient=lenient)
        return read_file(part, bounds, lenient=lenient, look=look)

    if target.reader is not None:
        composite: Any = import_module(target.reader)
        checkpoint: Checkpoint = composite.read_set(target, limits, open_part, step)
    elif target.shards is None:
        checkpoint = read_file(target.path, limits, lenient=lenient, look=look)
    else:
        from modelscope_cli.formats.sharded import read_set

        checkpoint = read_set(target, limits, open_part, step)
    checkpoint.notes.extend(target.notes)
    if target.archive is not None:
        from modelscope_cli.formats.archive_notes import notes_on

        checkpoint.notes.extend(notes_on(target.archive, [file.path for file in checkpoint.files]))
    checkpoint.in_folder = target.in_folder
    if not checkpoint.config:
        checkpoint.config, checkpoint.config_from = read_config(target.folder, os.path.basename(target.path))
    if not quantisation_of(checkpoint.config):
        beside = read_quantisation(target.folder)
        checkpoint.config = {**checkpoint.config, **beside} if beside else checkpoint.config
    return checkpoint


def read_config(folder: str, name: str = "") -> tuple[dict[str, Any], str]:
    """config.json beside the weights called `name`, evidence for head counts and the like, and which file it is.

    Of an adapter that is adapter_config.json, and where there is no config.json too. Anything but a JSON object counts as absent.
    """
    own = bool(ADAPTER_FILE.fullmatch(name))
    for file in (ADAPTER_CONFIG, CONFIG_FILE) if own else (CONFIG_FILE, ADAPTER_CONFIG):
        found = _read_object(os.path.join(folder, file))
        if found:
            return found, file
    return {}, CONFIG_FILE


def read_quantisation(folder: str) -> dict[str, Any]:
    """What a configuration of the quantisation alone says, as config.json would: ModelOpt's, AutoGPTQ's or AutoAWQ's."""
    for file in QUANTISATION_FILES:
        found = _read_object(os.path.join(folder, file))
        inner = found.get("quantization", found)
        if isinstance(inner, dict) and inner:
            return {"quantization_config": {**inner, SOURCE: file}}
    return {}


def _read_object(path: str) -> dict[str, Any]:
    if not is_file(path):
        return {}
    import json

    from modelscope_cli.errors import ModelscopeError

    try:
        with open_path(path) as window:
            if window.size > 1 << 20:
                return {}
            found = json.loads(window.read(0, window.size))
    except (ModelscopeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read(path: str, limits: Limits = DEFAULT_LIMITS, *, lenient: bool = False) -> Checkpoint:
    """The checkpoint at a path: a file, any shard or the index of a set, or a folder with one. Raises ModelscopeError."""
    targets = locate([path], limits=limits)
    for problem in targets.problems:
        raise problem
    return read_target(targets.found[0], limits, lenient=lenient)
