"""Programs in text form: chat templates, custom code that a config.json asks for, Python sources, TorchScript.

None of it is run or parsed as code here. Patterns tell what would reach out of a template's sandbox or touch files; the texts
themselves are handed on to be shown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.window import Window
from modelscope_cli.errors import ModelscopeError

if TYPE_CHECKING:
    from modelscope_cli.containers.zip_directory import Member
    from modelscope_cli.formats.scan_zip import Archive
    from modelscope_cli.formats.scanning import Walk

LARGEST = 8 << 20
MOST_TEXTS = 64
KEPT = 1 << 16  # characters of a template

# Attributes and names by which a template leaves its sandbox (server-side template injection; CVE-2024-34359 in llama-cpp-python).
GADGETS = re.compile(
    r"__(?:class|mro|base|bases|subclasses|globals|builtins|import|init|getattribute|dict|code|reduce|loader|spec)__"
    r"|\|\s*attr\s*\(|\bpopen\b|\bsubprocess\b|\bos\s*\.\s*(?:system|exec|spawn)|\b(?:eval|exec)\s*\(|\bimportlib\b"
    r"|\b(?:cycler|joiner|namespace|lipsum|self|config|request|url_for|get_flashed_messages)\s*\.\s*_{1,2}\w+|\\x5f\\x5f|['\"]_{2}['\"]\s*[~+]"
)
# Operators of TorchScript that touch files, whatever the weights say.
FILE_OPERATORS = re.compile(r"\b(?:ops\.aten|torch|aten)\s*(?:\.|::)\s*(?:save|from_file|load|_save)\s*\(")
OWN_OPERATORS = (
    "prim", "aten", "quantized", "_quantized", "torchvision", "torchaudio", "_caffe2", "prepacked", "mkldnn_prepacked",
    "profiler", "inductor", "_c10d_functional",
)  # fmt: skip
OPERATORS = re.compile(r"\bops\.(\w+)\.\w+\(")
RISKY_SOURCE = re.compile(
    r"\bos\s*\.\s*(?:system|popen|exec\w*|spawn\w*|remove|unlink|fork)\b|\bsubprocess\b|\b(?:eval|exec|compile|__import__)\s*\(|\bsocket\b|\burllib\b"
    r"|\brequests\s*\.|\bctypes\b|\bpickle\s*\.\s*loads?\b|\bmarshal\b|\bbase64\s*\.\s*b64decode|\bshutil\s*\.\s*rmtree"
)


def scan_text(walk: Walk, window: Window, where: str, name: str) -> None:
    """A text by the end of its name."""
    if window.size > LARGEST:
        walk.unseen(where, f"a text of {window.size:,} bytes", quiet=True)
        return
    text = window.read(0, window.size).decode("utf-8", "replace")
    if name.endswith((".jinja", ".jinja2", ".j2")):
        template(walk, where, text)
    elif name.endswith(".json"):
        _scan_json(walk, where, text)
    elif name.endswith(".py"):
        source(walk, where, text)
    else:
        from modelscope_cli.formats.scan_pickles import scan_pickles

        scan_pickles(walk, window, where, 1, window.head(64))


def _scan_json(walk: Walk, where: str, text: str) -> None:
    """Chat templates, `auto_map`, and layers that carry code."""
    from modelscope_cli.formats.scan_keras import scan_layers

    try:
        document = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        document = None
        walk.unseen(where, "it is no JSON, or nested too deeply")
    scan_layers(walk, where, document)
    if not isinstance(document, dict):
        return
    mapped = document.get("auto_map")
    if isinstance(mapped, dict) and mapped:
        named = sorted(
            {str(value).rpartition(".")[0] for values in mapped.values() for value in _flat(values) if "." in str(value)}
        )
        files = ", ".join(f"{name}.py" for name in named[:6]) or "code of its own"
        walk.sign("custom-code", where, f"auto_map: loading with trust_remote_code=True runs {files}")
    if document.get("trust_remote_code") is True:
        walk.sign("custom-code", where, "it asks for trust_remote_code")
    found = document.get("chat_template")
    for label, value in _templates(found):
        template(walk, f"{where}:chat_template{label}" if where else f"chat_template{label}", value)


def _flat(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _templates(value: Any) -> list[tuple[str, str]]:
    """(label, template) of a chat template, or of several in a list."""
    if isinstance(value, str):
        return [("", value)]
    if isinstance(value, list):
        return [
            (f".{each.get('name')}", each["template"])
            for each in value[:MOST_TEXTS]
            if isinstance(each, dict) and isinstance(each.get("template"), str)
        ]
    return []


def templates_of(checkpoint: Checkpoint, walk: Walk) -> None:
    """The chat templates of a GGUF file."""
    if checkpoint.format != "gguf":
        return
    waiting: list[tuple[str, Any]] = list(checkpoint.metadata.items())
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{key}.{inner}", each) for inner, each in value.items()]
        elif isinstance(value, str) and "chat_template" in key:
            template(walk, key, value)


def template(walk: Walk, where: str, text: str) -> None:
    """A Jinja template: rendered by whoever talks to the model, in a sandbox at best."""
    found = sorted({match[0].strip() for match in GADGETS.finditer(text)})
    if found:
        shown = ", ".join(found[:4])
        walk.sign("template-gadget", where, f"the chat template reaches for {shown}: a way out of a template engine")
    if len(walk.found.texts) < MOST_TEXTS:
        walk.found.texts.append((where, text[:KEPT]))
    if len(text) > KEPT:
        walk.unseen(where, f"the template has {len(text):,} characters, {KEPT:,} are shown", quiet=True)


def source(walk: Walk, where: str, text: str, *, loaded: bool = False) -> None:
    """Python source."""
    found = sorted({match[0] for match in RISKY_SOURCE.finditer(text)})
    if loaded and found:
        walk.sign("risky-source", where, f"Python code that loading runs; it uses {', '.join(found[:5])}")


def scan_sources(archive: Archive, members: list[Member]) -> None:
    """The .py members of an archive: TorchScript, torch.package, or just files."""
    walk, prefix = archive.walk, archive.prefix
    scripted = [member for member in members if "/code/" in f"/{member.name}" and archive.roots]
    packaged = any(member.name.endswith(".data/extern_modules") for member in archive.directory.members)
    others = [member for member in members if member not in scripted]
    for member in scripted + (others if packaged else []):
        try:
            text = archive.text(member)
        except ModelscopeError as problem:
            walk.unseen(f"{prefix}{member.name}", problem.message)
            continue
        if member in scripted:
            _script(walk, f"{prefix}{member.name}", text)
        else:
            source(walk, f"{prefix}{member.name}", text, loaded=True)
    if scripted:
        count = f"{len(scripted):,} {'file' if len(scripted) == 1 else 'files'}"
        walk.sign(
            "torchscript",
            archive.where,
            f"TorchScript code in {count}: torch's own compiler reads it, and running the model runs it",
        )
    if others and packaged:
        count = f"{len(others):,} Python {'file' if len(others) == 1 else 'files'}"
        walk.sign("packaged-code", archive.where, f"{count} inside: loading the package runs them")


def _script(walk: Walk, where: str, text: str) -> None:
    found = sorted({match[0].rstrip("( ") for match in FILE_OPERATORS.finditer(text)})
    if found:
        walk.sign(
            "script-files", where, f"TorchScript code that calls {', '.join(found[:4])}: it reads or writes files when it runs"
        )
    foreign = sorted({name for name in OPERATORS.findall(text) if name not in OWN_OPERATORS})
    if foreign:
        walk.sign(
            "script-operators",
            where,
            f"TorchScript code that calls operators of {', '.join(foreign[:4])}, a library that has not been judged",
        )
