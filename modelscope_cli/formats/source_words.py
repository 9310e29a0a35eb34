"""Words of Python and of TorchScript by which a source starts programs, opens connections, runs other code or touches files.

A source is never parsed. It is read twice: as it stands, and without its comments, its texts and the ends of its lines that go on;
texts with expressions in them (f"…") are kept. Who writes code to hide in gets past any list of words, so a source that loading
runs is at least unknown; these words say which to read first. Facts: Python's language reference, 2.3 (identifiers are taken in
their NFKC form) and 2.4; torch/csrc/jit/frontend/lexer.h.
"""

from __future__ import annotations

import re

# `model.eval()`, `re.compile(` and `torch.compile(` are no such calls.
RISKY = re.compile(
    r"\bos\s*\.\s*(?:system|popen|exec\w*|spawn\w*|remove|unlink|fork|startfile|posix_spawn\w*)\b|\bsubprocess\b"
    r"|(?<![\w.])(?:eval|exec|compile|__import__)\s*\(|\bbuiltins\s*\.\s*(?:eval|exec|compile|__import__)\b"
    r"|\bsocket\s*\.|\burllib\b|\brequests\s*\.|\bctypes\b|\bpickle\s*\.\s*loads?\b|\bmarshal\b|\bbase64\s*\.\s*b64decode"
    r"|\bshutil\s*\.\s*rmtree|\b__builtins__\b|\brunpy\b|\bpty\s*\.|\b__subclasses__\b"
)
# Without comments and texts: the same by other names.
RENAMED = re.compile(
    r"(?<!\bplatform)\.\s*(?:system|popen|posix_spawnp?|spawn[lv]p?e?|exec[lv]p?e?)\s*\("
    r"|[=(\[,]\s*(?:eval|exec|compile|__import__)\s*(?=[,)\];\n]|$)|\bimport\s+builtins\b|\bgetattr\s*\(\s*(?:os|builtins|posix|nt)\b"
)
# What is risky of a module, if only that is imported, or if it gets another name.
OF_MODULES = {
    "os": "system|popen|exec\\w+|spawn\\w+|posix_spawnp?|remove|unlink|fork|startfile",
    "posix": "\\w+", "nt": "\\w+", "builtins": "\\w+", "socket": "\\w+", "pty": "\\w+",
    "pickle": "loads?|Unpickler", "shutil": "rmtree", "base64": "b\\w*decode", "requests": "\\w+", "importlib": "import_module",
}  # fmt: skip
FROM = re.compile(rf"\bfrom\s+({'|'.join(OF_MODULES)})\s+import\s*(\([^)]{{0,2000}}\)|[^\n;]{{0,2000}})")
ALIAS = re.compile(rf"\b({'|'.join(OF_MODULES)})\s+as\s+(\w+)")
MOST_ALIASES = 16
CODING = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
PLAIN_CODINGS = ("utf-8", "utf8", "utf-8-sig", "ascii", "us-ascii", "latin-1", "latin1", "iso-8859-1")

# Operators of TorchScript that touch files, whatever the weights say.
FILE_OPERATORS = re.compile(
    r"\b(?:torch|aten)\b[\s)]*(?:\.|::)\s*(?:_?save|from_file|load)\b|\bsox_io_\w+|\b(?:read|write)_file\b"
)
OWN_OPERATORS = (
    "prim", "aten", "quantized", "_quantized", "torchvision", "torchaudio", "_caffe2", "prepacked", "mkldnn_prepacked",
    "profiler", "inductor", "_c10d_functional",
)  # fmt: skip
OPERATORS = re.compile(r"\bops[\s)]*\.\s*(\w+)[\s)]*\.\s*\w+")
NEW_NAME = re.compile(r"=[\s(]*(?:torch|ops(?:[\s)]*\.\s*\w+)?)[ \t)]*(?:[;\n,]|$)")

_PIECE = re.compile(
    r"#[^\n]*|\\\r?\n|([A-Za-z]{0,3})(?:'''([^\\]*?(?:\\.[^\\]*?)*?)'''|\"\"\"([^\\]*?(?:\\.[^\\]*?)*?)\"\"\""
    r"|'([^'\\\n]*(?:\\.[^'\\\n]*)*)'|\"([^\"\\\n]*(?:\\.[^\"\\\n]*)*)\")",
    re.DOTALL,
)


def bare(text: str) -> str:
    """A source without comments, texts, and breaks of lines that go on; what f"…" holds stays."""

    def left(match: re.Match[str]) -> str:
        prefix = match[1]
        if prefix is None:
            return " "
        if "f" in prefix.lower() or "t" in prefix.lower():
            return " " + next(part for part in match.groups()[1:] if part is not None) + " "
        return '""'

    if not text.isascii():
        from unicodedata import normalize

        text = normalize("NFKC", text)
    return _PIECE.sub(left, text)


def risky_words(text: str) -> list[str]:
    """What in a Python source starts programs, opens connections, or runs other code."""
    code = bare(text)
    found = {match[0].strip(" \t\n=([,") for part in (text, code) for match in RISKY.finditer(part)}
    found |= {match[0].strip(" \t\n=([,") for match in RENAMED.finditer(code)}
    for match in FROM.finditer(code):
        names = re.findall(rf"\*|\b(?:{OF_MODULES[match[1]]})\b", match[2])
        found |= {f"from {match[1]} import {name}" for name in names}
    aliases = sorted(set(ALIAS.findall(code)))
    if len(aliases) > MOST_ALIASES:
        found.add("modules under many names")
    for module, alias in aliases[:MOST_ALIASES]:
        if re.search(rf"\b{alias}\s*\.\s*(?:{OF_MODULES[module]})\b", code):
            found.add(f"{module} as {alias}")
    for line in text.split("\n", 2)[:2]:
        coding = CODING.match(line)
        if coding and coding[1].lower().replace("_", "-") not in PLAIN_CODINGS:
            found.add(f"coding: {coding[1]}")
    return sorted(found)


def file_operators(text: str) -> list[str]:
    """What in a source of TorchScript reads or writes files."""
    return sorted({re.sub(r"[\s)]", "", match[0]) for part in (text, bare(text)) for match in FILE_OPERATORS.finditer(part)})


def foreign_operators(text: str) -> list[str]:
    """The libraries whose operators a source of TorchScript calls, and what it gives another name."""
    code = bare(text)
    found = {name for part in (text, code) for name in OPERATORS.findall(part) if name not in OWN_OPERATORS}
    return sorted(
        found | {f"{match[0].strip(' =(),;')}, under another name".replace("\n", "") for match in NEW_NAME.finditer(code)}
    )
