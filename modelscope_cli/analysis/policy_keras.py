"""The policy on Keras: what of it does harm wherever it is named, and what a model's own configuration may name.

A configuration has Keras look up classes and functions by module and name, and call them with what stands beside. The rows are for
pickles and other configurations, too; the rules below for Keras's own alone, which asks for nothing but the parts of models.
Facts: keras/src/saving/serialization_lib.py (NON_MODELING_APIS, BUILTIN_MODULES) and the names that Keras 3.15 exports.
"""

from __future__ import annotations

import builtins

from modelscope_cli.analysis.policy_levels import Row
from modelscope_cli.analysis.policy_tensorflow import TENSORFLOW_ROWS
from modelscope_cli.core.scan_codes import DANGEROUS, SUSPICIOUS

ROOTS = ("keras", "tf_keras", "tensorflow.keras", "tensorflow.python.keras")
_FILES = "reads or writes files of the configuration's choice"

_ANYWHERE = (
    ("*load_model model_from_* *deserialize* Lambda load_weights*", DANGEROUS, "loads models, whose layers can hold code"),
    ("enable_unsafe_deserialization", DANGEROUS, "switches off what keeps Keras from running code in models (CVE-2025-9906)"),
    ("get_file", DANGEROUS, "downloads a file, and unpacks it where it is told to (CVE-2025-8747)"),
    ("TorchModuleWrapper", DANGEROUS, "unpickles a module of torch (CVE-2025-49655)"),
    ("func_load", DANGEROUS, "runs code given as bytes"),
    ("save_model save_weights save_img load_img *_dataset_from_directory", DANGEROUS, _FILES),
    ("plot_model model_to_dot", DANGEROUS, "starts programs and writes files"),
    ("TFSMLayer", SUSPICIOUS, "loads a SavedModel by its path, whose graph is a program"),
    ("register_keras_serializable", SUSPICIOUS, "changes what Keras takes for a class of the program"),
)
KERAS_ROWS: tuple[Row, ...] = (
    *((f"{root}.*", names, level, reason) for root in ROOTS for names, level, reason in _ANYWHERE),
    *((f"{root}.datasets.*", "load_data get_word_index", DANGEROUS, "downloads files") for root in ROOTS),
    *((f"{root}.export.*", "*", DANGEROUS, "writes programs to files") for root in ROOTS),
    *((f"{root}.config", "*", SUSPICIOUS, "changes Keras's own settings, which no model asks for") for root in ROOTS),
    *((f"{root}.src.utils.{leaf}", "*", DANGEROUS, _FILES) for root in ROOTS[:2] for leaf in ("file_utils", "io_utils")),
    *TENSORFLOW_ROWS,
)

# Parts of Keras whose classes are what models are made of, and those whose functions are.
CLASSES = frozenset({
    "layers", "activations", "initializers", "regularizers", "constraints", "optimizers", "losses", "metrics", "models", "ops",
    "dtype_policies", "quantizers", "mixed_precision", "random", "engine",
})  # fmt: skip
FUNCTIONS = frozenset({"activations", "losses", "metrics", "initializers", "regularizers", "constraints"})
CALLING = frozenset({"JaxLayer", "FlaxLayer"})  # layers that call functions of other programs
LOOKING_UP = frozenset({"get", "serialize"})


def is_part_of_a_model(module: str, name: str) -> bool:
    """Whether Keras's own module holds the name as a part of models; what a row calls worse comes before."""
    root = next((root for root in ROOTS if module == root or module.startswith(f"{root}.")), None)
    if root is None or not name.isidentifier():
        return False
    parts = [
        part
        for part in module[len(root) :].split(".")
        if part and part not in ("src", "api", "_tf_keras", "keras", "v2", "_v2")
    ]
    if name[0].isupper():
        return name not in CALLING and (not parts or parts[0] in CLASSES)
    return bool(parts) and parts[0] in FUNCTIONS and not name.startswith("_") and name not in LOOKING_UP


def is_builtin(name: str) -> bool:
    """Whether Python itself has a function or type of the name. Others that Keras looks for there are its own, or the program's."""
    return hasattr(builtins, name)
