"""What is fuzzed: for each reader the bytes to begin with, and what is done to every mutation of them.

A target gives a result or a ModelscopeError. Anything else that is raised, a byte map that does not cover the file, and a report
that cannot be made are findings.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.registry import read_window
from tests.builders.samples import SAMPLES
from tests.property.reading import check_analyses, read_bytes

# What `mscope scan` goes by, beside the content: the first byte of an input chooses among these.
NAMES = (
    "a.yaml", "a.py", "a.jinja", "config.json", "saved_model.pbtxt", "__0_0.distcp", "model.mar", "tokenizer_config.json", "a.npy", "model.keras",
    "saved_model.pb", "model.meta", "keras_metadata.pb", "model_index.json", "modules.json", "router_config.json", "adapter_config.json",
    "manifest.json", "MLmodel", "pickle_module_info.txt", "a.pyc",
)  # fmt: skip


# So small that 16 KiB can meet each of them, and so large that most inputs meet none: what is behind a limit is looked for too.
LIMITS = DEFAULT_LIMITS._replace(
    members=100, opcodes=8_000, objects=2_000, imports=200, memo=2_000, nesting=100, nested_files=20, tensors=500, name_characters=50_000,
    dimensions=64, parts=50, shards=50, metadata_items=300, keys=200, array_bytes=4_096, unpacked_bytes=1 << 20, unpacked_slowly=1 << 18,
    archives=10, scanned_bytes=1 << 20, scanned_parts=200, scanned_pickles=20, scanned_names=50, searched_bytes=1 << 16,
    template_characters=4_096,
)  # fmt: skip
PLACES = {Path(name).suffix: place for place, name in reversed([*enumerate(NAMES)]) if Path(name).suffix}
PLACES |= {name: place for place, name in enumerate(NAMES)}
MOST_KNOWN = 2_000_000
KNOWN: set[int] = set()
REPORTED: set[int] = set()


def analyse(checkpoint: Checkpoint) -> None:
    """Make every report of a checkpoint, unless one was made of its like: most mutations change what no report shows."""
    tensors, storage = checkpoint.tensors, checkpoint.tensors.storage
    columns = (tensors.names, tensors.shapes, tensors.dtypes, tensors.storages, tensors.offsets, tensors.strides, tensors.parts, tensors.recorded)
    held = (storage.keys, storage.files, storage.starts, storage.nbytes, storage.stored)
    said = (checkpoint.format, checkpoint.metadata, checkpoint.notes, checkpoint.skipped, checkpoint.aliases, checkpoint.groups, checkpoint.config)
    pickles = [trace.likeness for trace in checkpoint.pickles]
    sections = [byte_map.totals() for byte_map in checkpoint.byte_maps]
    likeness = hash(repr((columns, held, said, checkpoint.ordered, [*checkpoint.modules.items()], pickles, sections)))
    if likeness not in KNOWN:
        if len(KNOWN) < MOST_KNOWN:
            KNOWN.add(likeness)
        check_analyses(checkpoint)


class FuzzTarget(NamedTuple):
    """`seeds` are made when they are asked for; `run` takes the bytes of a mutation, of which the first `choosing` are no content."""

    seeds: Callable[[], list[bytes]]
    run: Callable[[bytes], None]
    choosing: int = 0


def reading(*names: str) -> FuzzTarget:
    """A file of one format, read strictly and leniently, analysed and reported."""

    def run(data: bytes) -> None:
        checkpoint = read_bytes(data, names[0], LIMITS)
        if checkpoint is None:
            checkpoint = read_bytes(data, names[0], LIMITS, lenient=True)
        if checkpoint is not None:
            analyse(checkpoint)

    return FuzzTarget(lambda: [SAMPLES[name] for name in names], run)


def in_folder(name: str, folder: Callable[[], Mapping[str, bytes]], path: str = "") -> FuzzTarget:
    """One file of a set, the others as they should be; the set is read by `path` in its folder."""

    @cache
    def made() -> tuple[Path, tempfile.TemporaryDirectory[str]]:
        temporary = tempfile.TemporaryDirectory()
        for inner, content in folder().items():
            (Path(temporary.name) / inner).write_bytes(content)
        return Path(temporary.name), temporary  # kept, for the folder goes with it

    def run(data: bytes) -> None:
        from modelscope_cli import read

        root, _ = made()
        (root / name).write_bytes(data)
        try:
            checkpoint = read(str(root / path), limits=LIMITS)
        except ModelscopeError:
            return
        analyse(checkpoint)

    return FuzzTarget(lambda: [folder()[name]], run)


def dcp_set() -> Mapping[str, bytes]:
    from tests.builders.dcp_folder import dcp_files, whole

    return dcp_files({"a.weight": whole((3, 4)), "b.bias": whole((4,))})


def zero_set() -> Mapping[str, bytes]:
    from tests.builders.sets import ZERO_SHAPES, zero_files

    return zero_files(ZERO_SHAPES)


def slice_set() -> Mapping[str, bytes]:
    from tests.builders.sets import llama_slices

    return llama_slices()


def shard_set() -> Mapping[str, bytes]:
    from tests.builders.safetensors_file import safetensors_bytes

    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    held = {names[0]: {"a.weight": ("F32", (2, 3))}, names[1]: {"b.weight": ("F32", (3,))}}
    listed = {tensor: file for file, tensors in held.items() for tensor in tensors}
    index = json.dumps({"metadata": {"total_size": 36}, "weight_map": listed}).encode()
    return {**{file: safetensors_bytes(tensors) for file, tensors in held.items()}, "model.safetensors.index.json": index}


def baselines() -> list[bytes]:
    """What is written down about two of the samples."""
    from modelscope_cli.formats.baseline_writer import describe

    found = [read_bytes(SAMPLES[name], name) for name in ("state_dict.pt", "training.ckpt")]
    return [describe(checkpoint) for checkpoint in found if checkpoint is not None]


def read_baseline(data: bytes) -> None:
    """It speaks of other files, so its own length does not count."""
    try:
        checkpoint = read_window(MemoryWindow(data, "model.baseline.json"), LIMITS)
    except ModelscopeError:
        return
    analyse(checkpoint)


def directory(kind: str) -> FuzzTarget:
    """The list of an archive's members, without a reader behind it."""

    def run(data: bytes) -> None:
        from modelscope_cli.containers.tar_directory import read_tar_directory
        from modelscope_cli.containers.zip_directory import read_zip_directory

        read = read_zip_directory if kind == "zip" else read_tar_directory
        try:
            read(MemoryWindow(data, f"a.{kind}"), LIMITS)
        except ModelscopeError:
            return

    return FuzzTarget(lambda: [SAMPLES["state_dict.pt" if kind == "zip" else "old.tar"]], run)


def place_of(name: str) -> int | None:
    """Where among NAMES a path has its place: by the name of the file, or else by its suffix."""
    path = Path(name)
    return PLACES.get(path.name, PLACES.get(path.suffix))


def scanning() -> FuzzTarget:
    """A verdict on any bytes; samples and attacks to begin with."""

    def seeds() -> list[bytes]:
        from tests.builders.attacks import ATTACKS, GRAPHS

        return [*SAMPLES.values(), *[row[0] for row in ATTACKS.values()], *[row[1] for row in GRAPHS.values()]]

    def run(data: bytes) -> None:
        from tests.scanned import check_scan

        check_scan(data, limits=LIMITS, reported=REPORTED)

    return FuzzTarget(seeds, run)


def scanning_by_name() -> FuzzTarget:
    """The same of kinds that a scan knows by their names, most of them texts."""

    def seeds() -> list[bytes]:
        from tests.builders.attack_files import FILES
        from tests.builders.attacks import GRAPHS, SOURCES
        from tests.builders.graph_file import as_text
        from tests.builders.templates import COMPUTED, HONEST, PLAIN

        files = [(path, data) for attack in FILES.values() for path, data in attack.files.items()]
        files += [("a.py", source.encode()) for source in SOURCES]
        files += [("a.jinja", template.encode()) for template in (*PLAIN, *COMPUTED, *HONEST)]
        files += [(name, data) for name, data, *_ in GRAPHS.values()]
        files += [("tokenizer_config.json", json.dumps({"chat_template": PLAIN[0]}).encode())]
        files += [("saved_model.pbtxt", as_text('op: "WriteFile" name: "w"'))]
        return [bytes((place,)) + data for path, data in files if (place := place_of(path)) is not None]

    def run(data: bytes) -> None:
        from tests.scanned import check_scan

        if data:
            check_scan(data[1:], NAMES[data[0] % len(NAMES)], LIMITS, REPORTED)

    return FuzzTarget(seeds, run, choosing=1)


def naming() -> FuzzTarget:
    """What is not read is named or not, and never anything else."""

    def seeds() -> list[bytes]:
        from tests.builders.foreign import FOREIGN

        return [row[1] for row in FOREIGN]

    def run(data: bytes) -> None:
        from modelscope_cli.formats.known import recognise

        try:
            recognise(MemoryWindow(data, "model.bin"))
        except ModelscopeError:
            return

    return FuzzTarget(seeds, run)


def packed_set(kind: str) -> Mapping[str, bytes]:
    """One archive, of a safetensors file and a state_dict."""
    import gzip

    from tests.builders.tar_file import TarEntry, tar_bytes
    from tests.builders.zip_archive import Entry, zip_bytes

    inside = {name: SAMPLES[name] for name in ("plain.safetensors", "state_dict.pt")}
    if kind == "zip":
        return {"a.zip": zip_bytes([Entry(f"m/{name}", data, deflate=True) for name, data in inside.items()])}
    return {"a.tar.gz": gzip.compress(tar_bytes([TarEntry(f"m/{name}", data) for name, data in inside.items()]))}


TARGETS: dict[str, FuzzTarget] = {
    "safetensors": reading("plain.safetensors"),
    "torch-zip": reading("state_dict.pt", "training.ckpt", "module.pth", "sparse.bin", "untyped.pt", "cut.pt"),
    "torch-legacy": reading("legacy.pth", "legacy_views.pth", "bare.pkl"),
    "torchscript": reading("scripted.ptl"),
    "torch-export": reading("program.pt2", "program_old.pt2"),
    "torch-package": reading("package.pt"),
    "torch-tar": reading("old.tar"),
    "gguf": reading("model.gguf", "old.gguf", "big.gguf"),
    "baseline": FuzzTarget(baselines, read_baseline),
    "sharded": in_folder("model.safetensors.index.json", shard_set),
    "dcp": in_folder(".metadata", dcp_set),
    "dcp-part": in_folder("__0_0.distcp", dcp_set),
    "tensor-parallel": in_folder("consolidated.00.pth", slice_set),
    "deepspeed": in_folder("zero_pp_rank_0_mp_rank_00_optim_states.pt", zero_set),
    "archive-zip": in_folder("a.zip", lambda: packed_set("zip"), "a.zip"),
    "archive-tar": in_folder("a.tar.gz", lambda: packed_set("tar"), "a.tar.gz"),
    "naming": naming(),
    "scan": scanning(),
    "scan-by-name": scanning_by_name(),
    "zip-directory": directory("zip"),
    "tar-directory": directory("tar"),
}
