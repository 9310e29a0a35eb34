"""Kinds of text: XML, JSON, settings, and lists of words. Told by the first 64 KiB, and what JSON has last by the last 4 KiB.

OpenVINO         <net name=… version="11"> with <layers>                                   docs.openvino.ai, IR format
TensorFlow.js    {"format": …, "modelTopology": …, "weightsManifest": […]}, or the manifest alone: [{"weights": […], "paths": […]}]
MXNet symbol     {"nodes": […], "arg_nodes": […], "heads": […]}
TOML, INI        a line [table] or [[array.of.tables]], and below it a key and =                toml.io, v1.0.0
tiktoken         lines of base64 and a rank that counts from 0
vocab.txt        a word a line, [PAD] or [UNK] or ##ing among the first (BERT); .vocab of SentencePiece: word, tab, score
"""

from __future__ import annotations

import re
from typing import NamedTuple

from modelscope_cli.core.window import Window
from modelscope_cli.formats.known_protobuf import Found

SEARCHED = 1 << 16
TAIL = 1 << 12
LONGEST_LINE = 40  # characters of a text that are shown
LONGEST_SAID = 120  # the same of an error message
LONGEST_MESSAGE = 1 << 12  # bytes of what a server answers instead of a file


class Mark(NamedTuple):
    """A kind of JSON: `first` is matched at its beginning, `key` is a key that is searched for, at whatever depth."""

    kind: str
    first: str = ""
    key: str = ""


JSON = (  # the first row that fits counts
    Mark("coreml-manifest", r"\{", "rootModelIdentifier"),
    Mark("tfjs", r"\{", "weightsManifest"),
    Mark("tfjs", r'\[\s*\{\s*"(?:weights|paths)"\s*:\s*\['),
    Mark("mxnet-symbol", r'\{\s*"nodes"\s*:\s*\[', "arg_nodes"),
    Mark("shard-index", r"\{", "weight_map"),
    Mark("notebook", r'\{\s*"(?:cells|metadata|nbformat)"', "cells"),
    Mark("keras-config", r"\{", "keras_version"),
    Mark("keras-config", r'\{\s*"(?:module|class_name)"\s*:', "class_name"),
    Mark("model-config", r"\{", "model_type"),
    Mark("model-config", r"\{", "architectures"),
    Mark("model-config", r"\{", "peft_type"),
    Mark("model-config", r"\{", "_class_name"),
    Mark("vocabulary", r'\{\s*"(?:[^"\\]|\\.){1,200}"\s*:\s*\d{1,7}\s*,\s*"(?:[^"\\]|\\.){1,200}"\s*:\s*\d{1,7}\s*[,}]'),
)
ERROR = re.compile(  # Hugging Face, FastAPI, GitHub
    r'\{\s*"(?:error|errors|detail|message(?="[^{}]*"(?:status|code|statusCode|documentation_url)"))"\s*:\s*\[?\s*"([^"\\]{1,2000})"'
)
NAMED = re.compile(r'"(?:architectures"\s*:\s*\[\s*|model_type"\s*:\s*|peft_type"\s*:\s*|_class_name"\s*:\s*)"([\w.-]{1,60})"')
OPENVINO = re.compile(
    r"(?:<\?xml[^>]*>\s*)?(?:<!--.{0,2000}?-->\s*)?<net\s[^>]*>\s*(?:<!--.{0,2000}?-->\s*)?<layers>", re.DOTALL
)
OPENVINO_NAME = re.compile(r'<net\s[^>]{0,2000}?\bname="([^"]{1,80})"')
SETTINGS = re.compile(  # a table or an array of tables in a line of its own, comments before it, and a key below it
    r"(?>#[^\n]*\n|\s+)*+(?:\[[\w.\"' -]{1,200}\]|\[\[[\w.\"' -]{1,200}\]\])[ \t]*(?:#[^\n]*)?\r?\n(?>#[^\n]*\n|\s+)*+(?:[\w-]+|\"[^\"\n]{1,200}\")"
    r"(?:[ \t]*\.[ \t]*[\w-]+)*[ \t]*="
)
XML = re.compile(r"(?:<\?xml|<[A-Za-z][\w:.-]*(?:\s[^<>]*)?/?>\s*<)")
TIKTOKEN = re.compile(r"[A-Za-z0-9+/]+={0,2} 0\r?\n[A-Za-z0-9+/]+={0,2} 1\r?\n[A-Za-z0-9+/]+={0,2} 2\r?\n")
BERT_WORDS = re.compile(r"(?:\S{1,100}\r?\n){0,2000}?(?:\[PAD\]|\[UNK\]|\[CLS\]|##\w{1,40})\r?\n(?:\S{1,100}\r?\n){3}")
SCORED_WORDS = re.compile(r"<unk>\t0\r?\n(?:[^\t\n]{1,200}\t-?[\d.e-]{1,20}\r?\n){2}")
PYTHON = re.compile(
    r"(?>\s+|#[^\n]*\n|(?P<quotes>\"\"\"|''').{0,20000}?(?P=quotes))*+(?:from [\w.]+ import \S|import [\w.]+(?: as \w+)?\s*(?:[#,]|$))",
    re.DOTALL | re.MULTILINE,
)


def look(window: Window) -> Found | None:
    """Which kind of text it is, or None. Never raises."""
    head = window.head(SEARCHED)
    if not looks_like_text(head):
        return None
    text = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if SETTINGS.match(text):
        return Found("settings")
    if text.startswith(("{", "[")) and (found := json(window, text)):
        return found
    if TIKTOKEN.match(text):
        return Found("tiktoken")
    if SCORED_WORDS.match(text) or BERT_WORDS.match(text):
        return Found("vocabulary")
    if text.startswith("<") and (found := xml(text)):
        return found
    if PYTHON.match(text):
        return Found("python")
    first = text.lstrip().split("\n", 1)[0][:LONGEST_LINE].strip()
    return Found("text", (f"it begins {first!r}",) if first else ())


def xml(text: str) -> Found | None:
    """None where a bracket begins something else: <s> and other words."""
    if OPENVINO.match(text):
        name = OPENVINO_NAME.match(text[text.index("<net") :])
        return Found("openvino", (name[1],) if name else ())
    return Found("xml") if XML.match(text) else None


def json(window: Window, text: str) -> Found | None:
    """None where a bracket begins something else: [INFO] started."""
    if not re.match(r'\{\s*["}]|\[\s*(?:["{\[\]]|-?\d|true|false|null)', text):
        return None
    last = window.read(max(0, window.size - TAIL), min(TAIL, window.size)).decode("utf-8", "replace")
    if window.size <= LONGEST_MESSAGE and (message := ERROR.match(text)):
        return Found("hub-error", (f"it says {message[1][:LONGEST_SAID]!r}",))
    keys = set(re.findall(r'"(\w{4,24})"\s*:', text)) | set(re.findall(r'"(\w{4,24})"\s*:', last))
    for mark in JSON:
        if (not mark.first or re.match(mark.first, text)) and (not mark.key or mark.key in keys):
            name = NAMED.search(text) if mark.kind == "model-config" else None
            return Found(mark.kind, (name[1],) if name else ())
    return Found("json")


def looks_like_text(head: bytes) -> bool:
    """Printable UTF-8, allowing for a character cut at the end."""
    if not head or b"\0" in head:
        return False
    text = head.decode("utf-8", "replace").rstrip("\ufffd")
    return bool(text) and "\ufffd" not in text and all(map(_printable, set(text)))


def _printable(character: str) -> bool:
    return character.isprintable() or character in "\t\n\r\f" or (character > "\xa0" and character.isspace())
