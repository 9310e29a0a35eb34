"""Configurations that name Python code, each as the library that reads it does, and the files that are meant.

    config.json         "auto_map": {"AutoModel": "modeling_x.Model"}       transformers: modeling_x.py beside it
    model_index.json    "_class_name": ["my_pipeline", "Pipeline"]          diffusers: my_pipeline.py beside it
                        "unet": ["my_unet", "Net"]                          diffusers: unet/my_unet.py, if that is there
    modules.json        [{"path": "1_X", "type": "modeling_x.X"}]           sentence-transformers: modeling_x.py beside it, else what is
    router_config.json  "types": {"query": "modeling_x.X"}                  installed; of its own modules neither
    1_Dense/config.json "activation_function": "torch.nn.modules.activation.Tanh"        sentence-transformers imports and calls it
    config.json         "model_file": "arch.py"                             mlx-lm 0.31: arch.py beside it, without asking
    custom_generate/generate.py                                             transformers, whatever the configurations say
    code/inference.py, 1/model.py, handler.py beside config.json            SageMaker, Triton, Inference Endpoints, likewise
    adapter_config.json "auto_mapping": {"parent_library": "shop.nets"}     PEFT, in scan_peft

All of these want trust_remote_code=True today. Older versions do not: sentence-transformers before 6.0 imports for a folder of this
machine whatever is named, and diffusers loads the code of such a folder. mlflow, whose MLmodel is read in scan_mlflow, never asks.
Facts: transformers/dynamic_module_utils.py, generation/utils.py (load_custom_generate); diffusers/pipelines/pipeline_loading_utils.py
(get_class_obj_and_candidates, _resolve_custom_pipeline_and_cls); sentence_transformers/util/misc.py (import_module_class,
import_from_string), base/modules/router.py, base/modules/dense.py, cross_encoder/model.py, word_embeddings.py; mlx_lm/utils.py 0.31.1;
sagemaker_huggingface_inference_toolkit/handler_service.py; huggingface_inference_toolkit/utils.py
(check_and_register_custom_pipeline_from_directory); triton-inference-server/python_backend README.md.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli.core.scanned import SENTENCES
from modelscope_cli.formats.compiled_python import source_of
from modelscope_cli.formats.scan_names import LONGEST, NAME, add_name

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

LOADING = "loading with trust_remote_code=True runs"
BY_DIFFUSERS = "diffusers runs with trust_remote_code=True, and older versions from a folder without it"
BY_SENTENCES = "sentence-transformers runs with trust_remote_code=True, and versions before 6.0 without it"
INDEXES = ("model_index.json", "modular_model_index.json")
UNNAMED = "None.py"  # that diffusers before 0.38 takes for the pipeline of whoever names none (CVE-2026-44827)
MODULES, ROUTER, WORDS = "modules.json", "router_config.json", "wordembedding_config.json"
OF_MODULES = ("config.json", ROUTER, WORDS, "config_sentence_transformers.json")
ADAPTER, SERVED = "adapter_config.json", "manifest.json"
READ_BY_NAME = frozenset((*INDEXES, MODULES, *OF_MODULES, ADAPTER, SERVED))  # JSON that is judged by its name
VERSIONS = (
    "configuration_files"  # of a config.json: others, of which transformers reads that of its version in place of this one
)
MOST_VERSIONS = 64
BY_SAGEMAKER = "SageMaker runs where the model is deployed"
BY_MLX = "mlx-lm 0.31 runs without asking"
BY_TRITON = "Triton runs where its configuration asks for Python"
BY_ENDPOINTS = "Inference Endpoints of Hugging Face run"
PLACES = {"custom_generate": ("generate.py", LOADING), "code": ("inference.py", BY_SAGEMAKER), "1": ("model.py", BY_TRITON)}
HANDLERS = ("handler.py", "pipeline.py")  # beside the configuration of a model of transformers
MODEL_FILE = re.compile(r"[^\0]+\.(?:py|pyc|so|pyd)")  # of mlx-lm
OWN_MODULE = re.compile(
    r"(?:sentence_transformers|pylate)(?:\.\w++)*?\.[A-Z]\w*"
)  # a class of theirs, and no function or module
OWN_LIBRARIES = ("diffusers", "transformers", "onnxruntime", "optimum")  # that components of diffusers are of
INSTALLED = ("diffusers", "transformers")  # those of them that are always there
MOST_NAMES = 1_000  # of one configuration
LONGEST_PATH = 4_096  # characters, of a configuration; the most that systems take
CHARACTERS = 200  # of paths that count as one more
MOST_PARTS = 12  # of a name with dots
MOST_ABOVE = 3  # folders above that of a module, where the code of its model can be


class Asked(NamedTuple):
    """Python files that a configuration names, with `/` between folders, all from where `folder` begins; `by` says who runs them.

    What lies in `folder` too can be imported by them. Unless `sure`, that only goes for the folders of files that are there.
    With `tree` it goes for folders below as well.
    """

    folder: str
    files: frozenset[str]
    by: str
    sure: bool = True
    tree: bool = False


class Asking:
    """What is asked for, ready to be looked up by the path of a Python file."""

    def __init__(self, asked: Iterable[Asked], exists: Callable[[str], bool]):
        self.named: dict[str, Asked] = {}
        self.reached: dict[str, Asked] = {}
        self.trees: dict[str, Asked] = {}
        for one in asked:
            for file in one.files:
                self.named.setdefault(file, one)
            folders = {one.folder} if one.sure else {posixpath.dirname(file) for file in one.files if exists(file)}
            for folder in folders:
                (self.trees if one.tree else self.reached).setdefault(folder, one)

    def of(self, path: str) -> tuple[Asked, bool] | None:
        """Who asks for a file, and whether by its name; None where nobody does."""
        if path in self.named:
            return self.named[path], True
        folder = posixpath.dirname(path)
        found = self.reached.get(folder)
        while found is None and self.trees:
            found = self.trees.get(folder)
            if not folder:
                break
            folder = posixpath.dirname(folder)
        return (found, False) if found is not None else None


def scan_asked(walk: Walk, where: str, leaf: str, document: Any) -> None:
    """What a configuration that libraries read by its name has them import."""
    if leaf == SERVED:
        from modelscope_cli.formats.scan_package import scan_manifest

        scan_manifest(walk, where, document)
        return
    if leaf == ADAPTER:
        from modelscope_cli.formats.scan_peft import scan_adapter

        scan_adapter(walk, where, document)
        return
    folder = folder_of(walk, where)
    if leaf in INDEXES:
        asked, foreign, count = _of_diffusers(folder, document)
        keep_asked(walk, where, asked)
        if not where:  # in an archive the files themselves are told
            exists = exists_below(os.path.dirname(walk.found.path))
            foreign += [file for one in asked for file in sorted(one.files) if exists(file) and file not in foreign]
        if foreign:
            walk.sign("custom-code", where, f"it names {_few(foreign)}, which {BY_DIFFUSERS}")
    else:
        names = dotted_names(leaf, document)
        count = len(names)
        for name in names[:MOST_NAMES]:
            add_name(walk, where, name, SENTENCES)
        keep_asked(walk, where, _of_configuration(leaf, folder, document) if walk.asking else [])
        if file := _model_file(leaf, document):
            walk.sign("custom-code", where, f"it names {_few([file])}, which {BY_MLX}")
        if leaf == "config.json" and any("/" in each for each in versions_in(document)):  # which name code beside this one
            keep_asked(walk, where, [Asked(folder, frozenset(), LOADING)])
    if count > MOST_NAMES:
        walk.sign("too-many-names", where, f"it names {count:,} classes, of which the first {MOST_NAMES:,} were judged")


def folder_of(walk: Walk, where: str) -> str:
    """The folder whose files a configuration can name. One with a path that no system takes stands before each of them: it is left out."""
    if len(where) <= LONGEST_PATH:
        return where.rpartition("/")[0]
    if where not in walk.unsought:
        walk.unsought.add(where)
        said = "its path is longer than any that a system takes: what it names beside it was not looked for"
        walk.sign("too-many-names", where, said)
    return ""


def keep_asked(walk: Walk, where: str, asked: Iterable[Asked]) -> None:
    """Keep what a configuration asks for, as long as there is room."""
    for one in asked:
        room = len(one.files) + sum(map(len, one.files)) // CHARACTERS
        if room > walk.asking:
            walk.sign(
                "too-many-names", where, "the configurations of this file name too many Python files; not all were looked for"
            )
            walk.asking = 0
            return
        walk.asking -= room
        walk.asked.append(one)


def asked_in(leaf: str, folder: str, document: Any) -> list[Asked]:
    """What one configuration asks for."""
    files = modules_of(document)
    found = [Asked(folder, frozenset(_below(folder, file) for file in files), LOADING)] if files is not None else []
    if leaf in INDEXES:
        return found + _of_diffusers(folder, document)[0]
    if leaf == ADAPTER:
        from modelscope_cli.formats.scan_peft import asked_by_peft

        return found + asked_by_peft(folder, document)
    from modelscope_cli.formats.scan_calling import imported_in

    found += imported_in(folder, document)
    return found + (_of_configuration(leaf, folder, document) if leaf in READ_BY_NAME else [])


def modules_of(document: Any) -> set[str] | None:
    """The Python files that a configuration of transformers names to be imported; None where it asks for none."""
    asked = False
    files: set[str] = set()
    waiting = [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            for key in ("auto_map", "custom_pipelines"):
                mapped = node.get(key)
                if (isinstance(mapped, dict) and mapped) or texts_in(mapped):  # a list is the old form, of tokenizers
                    asked = True
                    files |= {file for file in map(file_of, texts_in(mapped)) if file}
            waiting += node.values()
    return files if asked else None


def versions_in(document: Any) -> list[str]:
    """The other files in a folder that a config.json says to be read in its place: config.4.0.0.json, for one."""
    listed = document.get(VERSIONS) if isinstance(document, dict) else None
    named = listed[:MOST_VERSIONS] if isinstance(listed, list) else []
    paths = [each.replace("\\", "/") for each in named if isinstance(each, str)]
    return [path for path in paths if path and not posixpath.isabs(path) and ".." not in path.split("/")]


def texts_in(value: Any) -> list[str]:
    """Every text in lists and dictionaries of texts."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            found.append(node)
        elif isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
    return found


def file_of(reference: str) -> str:
    """modeling_x.py of modeling_x.Model, also behind the name of a repository (owner/name--modeling_x.Model)."""
    module = reference.rpartition("--")[2].rpartition(".")[0]
    return module.replace(".", "/") + ".py" if module else ""


def asked_by_place(paths: Iterable[str]) -> list[Asked]:
    """The files among these that are run because of where they stand: a model's own `generate`, what a server looks for."""
    found: list[Asked] = []
    for path in paths:
        folder, name = posixpath.split(path)
        entry, by = place_of(posixpath.basename(folder))
        if name == entry:
            found.append(Asked(folder, frozenset((path,)), by, sure=False))
    return found


def place_of(folder: str) -> tuple[str, str]:
    """The file that is run because it stands in a folder of this name, whatever the configurations say, and who runs it."""
    return PLACES.get("1" if folder.isdecimal() else folder, ("", ""))  # Triton: a number is a version


def dotted_names(leaf: str, document: Any) -> list[str]:
    """The names with dots that sentence-transformers imports, but for classes of its own."""
    return [name for name in _dotted(leaf, document) if not OWN_MODULE.fullmatch(name)]


def _dotted(leaf: str, document: Any) -> list[str]:
    return list(dict.fromkeys(name for name in _names(leaf, document) if isinstance(name, str) and "." in name))


def _model_file(leaf: str, document: Any) -> str:
    """The Python file that a config.json names to mlx-lm; "" where it names none."""
    named = document.get("model_file") if leaf == "config.json" and isinstance(document, dict) else None
    return named if isinstance(named, str) and MODEL_FILE.fullmatch(named) else ""


def _of_configuration(leaf: str, folder: str, document: Any) -> list[Asked]:
    """What a configuration asks for by names that libraries import: also a library of theirs that stands beside it, where none is installed."""
    names, file = _dotted(leaf, document), _model_file(leaf, document)
    found = [asked_of_names(folder, names, BY_SENTENCES)] if names else []
    found += [Asked(folder, frozenset((source_of(_below(folder, file)),)), BY_MLX)] if file else []
    if leaf == "config.json" and isinstance(document, dict) and ("model_type" in document or "architectures" in document):
        found.append(Asked(folder, frozenset(_below(folder, name) for name in HANDLERS), BY_ENDPOINTS, sure=False))
    return found


def _names(leaf: str, document: Any) -> Iterator[Any]:
    if leaf == MODULES and isinstance(document, list):
        yield from (each.get("type") for each in document if isinstance(each, dict))
    if not isinstance(document, dict):
        return
    if leaf in (ROUTER, "config.json") and isinstance(types := document.get("types"), dict):
        yield from types.values()
    if leaf == WORDS:
        yield document.get("tokenizer_class")
    inner = document.get("sentence_transformers")
    for node in (document, inner if isinstance(inner, dict) else {}):
        yield from (node.get(key) for key in ("activation_function", "activation_fn", "sbert_ce_default_activation_function"))


def asked_of_names(folder: str, names: list[str], by: str) -> Asked:
    """The files that names can mean: in the folder of the configuration, or in one above it, which is that of the model."""
    folders = [folder]
    while folders[-1] and len(folders) <= MOST_ABOVE:
        folders.append(posixpath.dirname(folders[-1]))
    files: set[str] = set()
    for name in names[:MOST_NAMES]:
        files |= {file for above in folders for file in files_of(above, name)}
    return Asked(folder, frozenset(files), by, sure=False)


def files_of(folder: str, name: str) -> set[str]:
    """The files in a folder that importing a name with dots can run: of every package on the way, and of the last ones a module."""
    parts = name[:LONGEST].split(".")
    if not all(map(NAME.fullmatch, parts)):
        return set()
    ends = {*range(1, min(len(parts), MOST_PARTS) + 1), len(parts) - 1, len(parts)} - {0}
    return {_below(folder, "/".join(parts[:end]) + last) for end in ends for last in (".py", "/__init__.py")}


def _of_diffusers(folder: str, document: Any) -> tuple[list[Asked], list[str], int]:
    """What an index of a pipeline asks for, what of it is code whether or not there is such a file, and how many libraries it names."""
    if not isinstance(document, dict):
        return [], [], 0
    asked: list[Asked] = []
    foreign: list[str] = []
    own = document.get("_class_name")
    if isinstance(own, list) and own and isinstance(own[0], str):
        file = _below(folder, f"{own[0]}.py")
        asked.append(Asked(folder, frozenset((file,)), BY_DIFFUSERS))
        foreign.append(file)
    parts = ((name, value) for name, value in document.items() if name != "_class_name")
    named = [(name, library) for name, value in parts for library in _libraries(value)]
    files = {_below(folder, UNNAMED)}
    for name, library in named[:MOST_NAMES]:
        files.add(_below(folder, name, f"{library}.py"))
        if library not in INSTALLED:
            files |= files_of(folder, library)
        foreign += [library] if "." in library and library.partition(".")[0] not in OWN_LIBRARIES else []
    asked.append(Asked(folder, frozenset(files), BY_DIFFUSERS, sure=False))
    return asked, foreign, len(named)


def _libraries(value: Any) -> Iterator[str]:
    """What stands before the name of a class: ["library", "Class", {"type_hint": ["library", "Class"]}]."""
    if not isinstance(value, list):
        return
    if value and isinstance(value[0], str):
        yield value[0]
    for each in value:
        hint = each.get("type_hint") if isinstance(each, dict) else None
        if isinstance(hint, list) and hint and isinstance(hint[0], str):
            yield hint[0]


def _below(*parts: str) -> str:
    """A path put together, without the steps that lead back."""
    return posixpath.normpath(posixpath.join("", *(part for part in parts if part)))


def exists_below(root: str) -> Callable[[str], bool]:
    """Whether a path leads to a file in a folder of this machine. One that leads out of it does not."""

    def exists(path: str) -> bool:
        return not path.startswith(("..", "/")) and os.path.isfile(os.path.join(root, path))

    return exists


def _few(names: list[str]) -> str:
    return ", ".join(name[:120] for name in names[:4]) + (", …" if len(names) > 4 else "")
