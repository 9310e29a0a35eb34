"""Texts: JSON with chat templates, code to be imported or layers in it, Jinja templates, Python sources.

What a text is its content decides, and the end of its name only adds looks. JSON is read as Python's json.loads reads bytes: UTF-8
with or without a mark, UTF-16 and UTF-32. Documents that are too long to take apart are searched for the words that matter.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from modelscope_cli.core.window import Window
from modelscope_cli.formats.compiled_python import SUFFIXES
from modelscope_cli.formats.export_specs import SAYS_SPECS
from modelscope_cli.formats.scan_asked import READ_BY_NAME, asked_in, folder_of, keep_asked, modules_of, scan_asked
from modelscope_cli.formats.scan_calling import SAYS_CALLS
from modelscope_cli.formats.scan_evaluated import in_large_json, texts_in_json
from modelscope_cli.formats.scan_templates import is_template, template

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

TOO_DEEP = object()
LARGEST_JSON = 6  # times searched_bytes, where words that matter stand in it
SEARCHED = 32  # times searched_bytes
PIECE, OVERLAP = 1 << 20, 64
LONGEST_LABEL = 200  # characters of a key that are shown
TEMPLATE_SUFFIXES = (".jinja", ".jinja2", ".j2")
WORDS = re.compile(
    rb'[Tt]emplate|"auto_map"|"custom_pipelines"|"expr_str"|"graph_module"|"class_name"|"_target_"|'
    + SAYS_SPECS.pattern
    + b"|"
    + SAYS_CALLS.pattern
)
BESIDE = (b'"target"', b'"params"')  # words that matter where both stand (scan_params)
JUDGED_BY_NAME = READ_BY_NAME | {"manifest.json"}  # these are taken apart whatever words stand in them
MODULE_LINES = ("pickle_module_info.txt", "keras_module.txt")  # scan_mlflow
EXTRA = re.compile(r"(?:^|/)extra/[^/]+$")  # what TorchScript carries for the program that loads it
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


def scan_text(walk: Walk, window: Window, where: str, head: bytes) -> bool:
    """Look at a text. Returns whether it is one."""
    leaf = os.path.basename(where or window.name).lower()
    if leaf.endswith(SUFFIXES):
        from modelscope_cli.formats.scan_source import note_compiled

        if note_compiled(walk, window, where, head):
            return True
    encoding = encoding_of(head)
    text = is_text(head, encoding)
    if not (b"\0" in head and encoding == "utf-8"):
        if leaf.endswith(".py"):
            text = _whole(walk, window, where, encoding, _source) or text
        elif leaf.endswith(TEMPLATE_SUFFIXES) or ("chat_template" in leaf and not leaf.endswith(".json")):
            text = _whole(walk, window, where, encoding, template) or text
        elif leaf.endswith((".yaml", ".yml")):
            text = _whole(walk, window, where, encoding, _yaml) or text
        elif leaf == "mlmodel" or leaf in MODULE_LINES:
            from modelscope_cli.formats.scan_mlflow import scan_mlmodel, scan_module_line

            look = scan_module_line if leaf in MODULE_LINES else scan_mlmodel
            text = _whole(walk, window, where, encoding, look) or text
    if leaf.endswith(".pbtxt") and encoding == "utf-8":
        from modelscope_cli.formats.scan_graphs import scan_graph_text

        text = scan_graph_text(walk, window, where) or text
    first = head.decode(encoding, "ignore").lstrip()[:1]
    if leaf.endswith(".json") or (text and first in ("", "{", "[", '"')):
        known = _json(walk, window, where, leaf, encoding)
        if known or leaf.endswith(".json"):
            return known or text
    if text and EXTRA.search(where):
        from modelscope_cli.formats.scan_evaluated import text_of_script

        _whole(walk, window, where, encoding, text_of_script)
    return text


def _whole(walk: Walk, window: Window, where: str, encoding: str, look: Callable[[Walk, str, str], None]) -> bool:
    """Look at a text that is a program from end to end, whatever its bytes."""
    if window.size > walk.limits.searched_bytes:
        walk.unseen(where, f"a text of {window.size:,} bytes (--limit searched_bytes=N)")
    else:
        look(walk, where, window.read(0, window.size).decode(encoding, "replace"))
    return True


def _source(walk: Walk, where: str, text: str) -> None:
    from modelscope_cli.formats.scan_source import note_source

    note_source(walk, where, text)


def _yaml(walk: Walk, where: str, text: str) -> None:
    from modelscope_cli.formats.evaluated_yaml import texts_in_yaml
    from modelscope_cli.formats.scan_yaml import scan_yaml

    scan_yaml(walk, where, text)
    texts_in_yaml(walk, where, text)


def encoding_of(head: bytes) -> str:
    """How a text that begins so is written: by its mark, else by where noughts stand (as json.detect_encoding does)."""
    for mark, name in MARKS:
        if head.startswith(mark):
            return name
    if len(head) > 3:
        if not head[0]:
            return "utf-16-be" if head[1] else "utf-32-be"
        if not head[1]:
            return "utf-16-le" if head[2] or head[3] else "utf-32-le"
    return "utf-8"


def is_text(head: bytes, encoding: str = "utf-8") -> bool:
    """Whether it reads as text without a NUL, but for a character cut at the end."""
    if encoding in ("utf-8", "utf-8-sig") and b"\0" in head:
        return False
    if encoding.startswith(("utf-16-", "utf-32-")) and head.lstrip(b"\0")[:1] not in (
        b"{",
        b"[",
        b'"',
        b" ",
        b"\n",
        b"\r",
        b"\t",
    ):
        return False
    try:
        text = codecs.getincrementaldecoder(encoding)("surrogatepass").decode(head)
    except UnicodeDecodeError:
        return False
    return "\0" not in text


def _json(walk: Walk, window: Window, where: str, leaf: str, encoding: str) -> bool:
    """Look at a document. Returns whether it is one."""
    most = walk.limits.searched_bytes
    if window.size > most:
        length = min(window.size, SEARCHED * most)
        found = leaf in JUDGED_BY_NAME or encoding not in ("utf-8", "utf-8-sig") or has_words(window, length)
        if found and window.size > LARGEST_JSON * most:
            said = f"a JSON document of {window.size:,} bytes, in which words stand that matter"
            walk.unseen(where, f"{said} (--limit searched_bytes=N)")
            return True
        if window.size > length:
            walk.unseen(where, f"what follows the first {length:,} bytes of a JSON document (--limit searched_bytes=N)")
        if not found:
            return True
    data = window.read(0, window.size)
    if window.size > most and sum(map(data.count, (b",", b"[", b"{"))) > 2 * walk.limits.objects:
        walk.unseen(where, f"a JSON document of more than {2 * walk.limits.objects:,} values (--limit objects=N)")
        return True
    # whatever it is called: torch.export.load takes all that is in models/ for JSON
    document = document_of(data)
    if document is msgspec.UNSET:
        if data.strip() and leaf.endswith(".json") and not any(stream.where == where for stream in walk.found.streams):
            walk.unseen(where, "it is no JSON: nothing that reads JSON takes it", quiet=True)
        return False
    if document is TOO_DEEP:
        walk.unseen(where, "JSON that is nested too deeply")
        return True
    scan_document(walk, where, leaf, document, hidden=b"\\u" in data or encoding != "utf-8", data=data)
    return True


def has_words(window: Window, length: int) -> bool:
    """Whether words that matter stand in so many first bytes."""
    previous = b""
    left = set(BESIDE)
    for start in range(0, length, PIECE):
        piece = previous + window.read(start, min(PIECE, length - start))
        left = {word for word in left if word not in piece}
        if not left or WORDS.search(piece) or in_large_json(piece):
            return True
        previous = piece[-OVERLAP:]
    return False


def document_of(data: bytes) -> Any:
    """What JSON says, as Python's json takes it (NaN and all); msgspec.UNSET for what is none, TOO_DEEP for what nobody can follow."""
    try:
        text = data.decode(encoding_of(data[:4]), "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        import json

        try:
            return json.loads(text)
        except ValueError:
            return msgspec.UNSET
        except RecursionError:
            return TOO_DEEP


def scan_document(walk: Walk, where: str, leaf: str, document: Any, *, hidden: bool, data: bytes) -> None:
    """Chat templates, code to be imported, and layers that carry code."""
    from modelscope_cli.formats.scan_keras import scan_layers

    walk.kinds += 1
    if hidden or b'"class_name"' in data:
        scan_layers(walk, where, document)
    if hidden or b"auto_map" in data or b"custom_pipelines" in data:
        files = modules_of(document)
        if files is not None:
            keep_asked(walk, where, asked_in("", folder_of(walk, where), document))
            named = ", ".join(sorted(files)[:6]) or "code of its own"
            walk.sign("custom-code", where, f"auto_map: loading with trust_remote_code=True runs {named}")
    texts_in_json(walk, where, leaf, document, data)
    if leaf in READ_BY_NAME:
        scan_asked(walk, where, leaf, document)
    folder, _, name = where.rpartition("/")
    if name.lower() == "manifest.json" and folder.lower().endswith(("mar-inf", "war-inf")):
        from modelscope_cli.formats.scan_package import keep_manifest

        keep_manifest(walk, folder[: -len("mar-inf")], document)
    if hidden or SAYS_CALLS.search(data) is not None or all(word in data for word in BESIDE):
        from modelscope_cli.formats.scan_names import targets_in

        targets_in(walk, where, document)
    if hidden or b'"expr_str"' in data or b'"graph_module"' in data:
        from modelscope_cli.formats.scan_program import scan_program

        scan_program(walk, where, document, data)
    if SAYS_SPECS.search(data) is not None or b"\0" in data[:4]:  # which UTF-16 and UTF-32 have
        from modelscope_cli.formats.scan_program import scan_specs

        scan_specs(walk, where, document)
    if hidden or b"template" in data:
        _templates(walk, where, leaf, document)


def _templates(walk: Walk, where: str, leaf: str, document: Any) -> None:
    """Every text under a key that speaks of a chat template, and all of a document that is one."""
    waiting: list[tuple[str, Any]] = [
        ("chat_template" if "chat_template" in leaf and not isinstance(document, dict) else "", document)
    ]
    most = 2 * walk.limits.objects
    seen = told = 0
    while waiting:
        label, node = waiting.pop()
        seen += 1
        if seen > most:
            walk.unseen(where, f"what follows the first {most:,} values of a JSON document (--limit objects=N)")
            return
        if isinstance(node, dict):
            named = f".{node['name']}" if label and isinstance(node.get("name"), str) else ""
            for key, value in node.items():
                if label and key in ("name", "type"):
                    continue
                inner = f"{label}{named or f'.{key}'}" if label else key if is_template(key, value) else ""
                waiting.append((inner[:LONGEST_LABEL], value))
        elif isinstance(node, list):
            waiting += [(label, each) for each in node]
        elif label and isinstance(node, str):
            if told >= walk.limits.scanned_pickles:
                walk.unseen(where, f"templates beyond the first {told:,} (--limit scanned_pickles=N)")
                return
            told += 1
            template(walk, f"{where}/{label}" if where else label, node)
