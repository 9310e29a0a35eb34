"""Python sources: which of them loading a model would run, and TorchScript, which torch's own compiler reads.

    config.json  "auto_map": {"AutoModel": "modeling_x.Model"}    transformers imports modeling_x.py beside it (trust_remote_code)
    hubconf.py                                                    torch.hub.load runs it
    torch.package                                                 its importer runs the sources of the archive

A source is never parsed: words tell what would start programs or open connections, and code that loading runs is at least unknown.
Facts: transformers/dynamic_module_utils.py; torch/hub.py; torch/package/package_importer.py.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli.core.window import open_window
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.source_words import file_operators, foreign_operators, risky_words

if TYPE_CHECKING:
    from modelscope_cli.containers.zip_directory import Member
    from modelscope_cli.formats.scan_zip_members import Archive
    from modelscope_cli.formats.scanning import Walk

HUB = "hubconf.py"
CONFIGURATIONS = (
    "config.json",
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "image_processor_config.json",
    "video_preprocessor_config.json",
    "feature_extractor_config.json",
    "generation_config.json",
    "adapter_config.json",
)
LARGEST_CONFIGURATION = 8 << 20
MOST_NAMED = 4  # files that a line names


class Source(NamedTuple):
    """A Python file: its folder ("" for that of the scanned file), its name, and what words of it are risky."""

    where: str
    folder: str
    name: str
    risky: list[str]


def note_source(walk: Walk, where: str, text: str) -> None:
    """Keep a Python file until it is known what names it, but for those that are judged already."""
    if where in walk.judged:
        return
    folder, _, name = where.rpartition("/")
    walk.sources.append(Source(where, folder, name or os.path.basename(walk.found.path), risky_words(text)))


def modules_of(document: Any) -> set[str] | None:
    """The Python files that a configuration names to be imported; None where it asks for none."""
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
                if isinstance(mapped, dict) and mapped:
                    asked = True
                    files |= {file for file in map(file_of, texts_in(mapped)) if file}
            waiting += node.values()
    return files if asked else None


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


def judge_sources(walk: Walk) -> None:
    """Which of the Python files loading would run, once everything was looked at."""
    left: list[Source] = []
    hubs = {source.folder for source in walk.sources if source.name == HUB}
    for source in walk.sources:
        mapped = walk.mapped.get(source.folder)
        hub = source.folder in hubs
        if not source.where:
            mapped, hub = beside(walk)
        named = source.name == HUB or (mapped is not None and source.name in mapped)
        if mapped is None and not hub:
            left.append(source)
        elif named and source.risky:
            by = "torch.hub runs" if source.name == HUB else "loading with trust_remote_code=True runs"
            walk.sign("risky-source", source.where, f"Python code that {by}; it uses {', '.join(source.risky[:5])}")
        else:
            why = "a configuration beside it names code to be imported" if mapped is not None else "hubconf.py stands beside it"
            if named:
                why = (
                    "torch.hub runs it"
                    if source.name == HUB
                    else "a configuration beside it names it: trust_remote_code=True runs it"
                )
            walk.sign("loaded-source", source.where, f"Python code that loading can run: {why}")
    if left and left[0].where:
        walk.strangers += len(left)
        names = ", ".join(source.where for source in left[:MOST_NAMED]) + (", …" if len(left) > MOST_NAMED else "")
        count = "a Python file" if len(left) == 1 else f"{len(left):,} Python files"
        walk.unseen(left[0].folder, f"{count}, which nothing beside asks to be loaded: {names}", quiet=True)


def beside(walk: Walk) -> tuple[set[str] | None, bool]:
    """What configurations in the folder of the scanned file name, and whether torch.hub would load from it."""
    folder = os.path.dirname(walk.found.path)
    mapped: set[str] | None = None
    for name in CONFIGURATIONS:
        try:
            with open_window(os.path.join(folder, name)) as window:
                data = window.read(0, window.size) if window.size <= LARGEST_CONFIGURATION else b""
        except ModelscopeError:
            continue
        if b"auto_map" in data or b"custom_pipelines" in data or b"\\u00" in data or b"\0" in data:
            from modelscope_cli.formats.scan_text import document_of

            named = modules_of(document_of(data))
            if named is not None:
                mapped = (mapped or set()) | named
    return mapped, os.path.exists(os.path.join(folder, HUB))


def scan_sources(archive: Archive, members: list[Member]) -> None:
    """The .py members of an archive that is TorchScript or a torch.package."""
    walk, prefix = archive.walk, archive.prefix
    scripted = [member for member in members if "/code/" in f"/{member.name}".lower() and archive.roots]
    packaged = any(member.name.endswith(".data/extern_modules") for member in archive.directory.members)
    others = [member for member in members if member not in scripted] if packaged else []
    for member in scripted + others:
        walk.judged.add(f"{prefix}{member.name}")
        try:
            text = archive.text(member)
        except ModelscopeError as problem:
            walk.unseen(f"{prefix}{member.name}", problem.message)
            continue
        if member in scripted:
            _script(walk, f"{prefix}{member.name}", text)
        elif found := risky_words(text):
            walk.sign(
                "risky-source", f"{prefix}{member.name}", f"Python code that loading runs; it uses {', '.join(found[:5])}"
            )
    if scripted:
        count = f"{len(scripted):,} {'file' if len(scripted) == 1 else 'files'}"
        walk.sign(
            "torchscript",
            archive.where,
            f"TorchScript code in {count}: torch's own compiler reads it, and running the model runs it",
        )
    if others:
        count = f"{len(others):,} Python {'file' if len(others) == 1 else 'files'}"
        walk.sign("packaged-code", archive.where, f"{count} inside: loading the package runs them")
        walk.found.packaged |= {module_of(member.name) for member in others}


def module_of(path: str) -> str:
    """The module that a torch.package makes of a member: `archive/shop/models.py` is shop.models."""
    inner = path.partition("/")[2].removesuffix(".py").removesuffix("/__init__")
    return inner.replace("/", ".")


def _script(walk: Walk, where: str, text: str) -> None:
    found = file_operators(text)
    if found:
        walk.sign(
            "script-files",
            where,
            f"TorchScript code that calls {', '.join(found[:4])}: it reads or writes files when it is loaded or runs",
        )
    foreign = foreign_operators(text)
    if foreign:
        walk.sign(
            "script-operators",
            where,
            f"TorchScript code that calls operators of {', '.join(foreign[:4])}, a library that has not been judged",
        )
