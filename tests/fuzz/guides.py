"""Which modules guide which target: those that its reader has for itself.

A file is read by its content, so mutations of any format arrive at all of them in the end. Guided by everything, every target would go
on for weeks, each looking for the same rare instruction of a pickle. Guided by its own, it looks for what nobody else looks for; all
the rest is run too, and seen to break. `test_guides.py` holds that every module of the readers guides a target.
"""

from __future__ import annotations

import pkgutil

import modelscope_cli

OF_PATHS = (  # what these go by is names in folders, which file is whose, and what this process takes, not bytes
    "core.memory", "core.place", "formats.archive_foreign", "formats.catalogue", "formats.files_below", "formats.folder", "formats.foreign_folder",
    "formats.locate", "formats.looking", "formats.known_beside", "formats.scan_around", "formats.target", "formats.baseline_writer",
)  # fmt: skip
ALWAYS = (
    "core.checkpoint", "core.dtype", "core.span", "core.tensor", "core.window", "formats.problems", "formats.registry",
)  # fmt: skip
ARCHIVES = ("containers.compressed", "containers.temporary", "containers.unpacked", "containers.zstd", "formats.archive", "formats.zstd")
PICKLES = ("containers.escapes", "containers.literal_bytes", "containers.method_names", "containers.odd_", "containers.pickle_", "containers.python2_names")
MACHINES = ("containers.joblib_arrays", "containers.judging_machine", "containers.tolerant_machine")
OBJECTS = ("formats.plain_values", "formats.torch_objects", "formats.torch_sharded", "formats.torch_walk")
SETS = ("core.folder", "formats.composites", "formats.parts", "formats.pieces", "formats.shard_sets")
SLICES = ("formats.samples", "formats.slices")
TEXTS = (
    "core.calling_keys", "core.standard_names", "formats.compiled_python", "formats.evaluated_",
    "formats.generated_source", "formats.jinja_", "formats.scan_asked", "formats.scan_base64", "formats.scan_calling",
    "formats.scan_evaluated", "formats.scan_mlflow", "formats.scan_names", "formats.scan_package", "formats.scan_params",
    "formats.scan_pbtxt", "formats.scan_peft", "formats.scan_source", "formats.scan_templates", "formats.scan_text", "formats.scan_yaml",
    "formats.source_words", "formats.template_notes",
)  # fmt: skip
JUDGING = tuple(f"analysis.{name}" for name in ("safety", "policy", "operators", "targets"))  # a part of every scan
CALLS = tuple(f"analysis.{name}" for name in ("in_context", "weights_only", "shown_call"))  # and of that of pickles

GUIDES: dict[str, tuple[str, ...]] = {
    "safetensors": ("formats.safetensors",),
    "torch-zip": (*OBJECTS, "formats.torch_archive", "formats.torch_zip"),
    "torch-legacy": (*PICKLES, *OBJECTS, "core.calls", "core.scan_codes", "formats.torch_legacy"),
    "torchscript": ("formats.script_walk", "formats.torch_archive", "formats.torchscript"),
    "torch-export": ("formats.export_", "formats.inner_file", "formats.torch_archive", "formats.torch_export"),
    "torch-package": ("formats.script_walk", "formats.torch_archive", "formats.torch_package"),
    "torch-tar": ("formats.torch_tar",),
    "gguf": ("formats.gguf",),
    "baseline": ("core.condensed", "core.name_patterns", "formats.baseline"),
    "sharded": (*SETS, "formats.safetensors", "formats.sharded"),
    "dcp": (*SETS, "formats.dcp"),
    "dcp-part": (*SETS, "formats.dcp_blobs", "formats.dcp_part", "formats.torch_zip"),
    "tensor-parallel": (*SETS, *SLICES, "formats.tensor_parallel", "formats.torch_archive"),
    "deepspeed": (*SETS, *SLICES, "formats.deepspeed", "formats.torch_archive", "formats.zero_plan"),
    "archive-zip": ARCHIVES,
    "archive-tar": ARCHIVES,
    "naming": ("formats.known", "formats.npy_header", "formats.wire"),
    "scan": (*MACHINES, *JUDGING, *CALLS, "core.limits", "core.scanned", "formats.hdf5", "formats.keras", "formats.scan", "formats.wire"),
    "scan-by-name": (*TEXTS, *JUDGING, "formats.keras_operations", "formats.scan_keras", "formats.scan_tensorflow"),
    "zip-directory": ("containers.zip_directory",),
    "tar-directory": ("containers.tar_",),
}
ROOMS = ("core", "containers", "formats")


def modules() -> list[str]:
    """Every module of the package, by its name within it."""
    before = "modelscope_cli."
    return [module.name.removeprefix(before) for module in pkgutil.walk_packages(modelscope_cli.__path__, before)]


def guides(target: str, module: str) -> bool:
    """Whether new code that is reached in a module makes an input of this target worth keeping."""
    if module.startswith(TEXTS) and target == "scan":  # has a target that knows their names
        return False
    return module.startswith((*ALWAYS, *GUIDES[target]))


def split(target: str) -> tuple[list[str], list[str]]:
    """Those that guide a target and those that do not, by their whole names."""
    found: tuple[list[str], list[str]] = ([], [])
    for module in modules():
        found[not guides(target, module)].append(f"modelscope_cli.{module}")
    return found
