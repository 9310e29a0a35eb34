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
    r"(?<!\w)(?=[bcemoprsu_])"  # nothing else is tried where none of the words begins
    r"(?:\bos\s*\.\s*(?:system|popen|exec\w*|spawn\w*|remove|unlink|fork|startfile|posix_spawn\w*)\b|\bsubprocess\b"
    r"|(?<![\w.])(?:eval|exec|compile|__import__)\s*\(|\bbuiltins\s*\.\s*(?:eval|exec|compile|__import__)\b"
    r"|\bsocket\s*\.|\burllib\b|\brequests\s*\.|\bctypes\b|\bpickle\s*\.\s*loads?\b|\bmarshal\b|\bbase64\s*\.\s*b64decode"
    r"|\bshutil\s*\.\s*rmtree|\b__builtins__\b|\brunpy\b|\bpty\s*\.|\b__subclasses__\b)"
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
    "profiler", "inductor", "_c10d_functional", "sparse", "metal", "metal_prepacked", "vulkan_prepacked",
)  # fmt: skip
# Libraries whose classes hold packed weights and no more; torch's others open libraries of the system (_nnapi) or connections (c10d).
OWN_CLASSES = ("quantized", "rnn", "sparse", "xnnpack", "mkldnn", "metal", "vulkan")
CLASSES = re.compile(r"\btorch[\s)]*\.[\s]*classes[\s)]*\.\s*(\w+)")
OPERATORS = re.compile(r"\bops[\s)]*\.\s*(\w+)[\s)]*\.\s*\w+")
NAMES_OF_FILES = re.compile(r"_?save|from_file|load|(?:read|write)_file|sox_io_\w+")
ANY_OF_FILES = re.compile(r"\.\s*(?:_?save|from_file|load)\s*\(")
NEW_NAME = re.compile(r"=[\s(]*(?:torch|ops(?:[\s)]*\.\s*\w+)?)[ \t)]*(?:[;\n,]|$)")
# torch's compiler writes `getattr(layers, "0")` for attributes that are no identifiers, and `layers.weight` for all others.
NO_IDENTIFIER = re.compile(r"(?![A-Za-z_]\w*\Z)(?:[^\\\n]|\\[23][0-7]{2})+", re.ASCII)
GETATTR = re.compile(r"\bgetattr\b\s*")
PLAIN_GETATTR = re.compile(r"\bgetattr\([\w.\s]*,\s*\"\"\s*\)")
BRACKETED = re.compile(r"(?<!getattr)\(([\w.,\s\"?]*)\)")
OCTAL = re.compile(r"\\([0-7]{1,3})")
MOST_BRACKETS = 32  # in one another

# A comment, the end of a line that goes on, or a text. No choice is ever taken back, and what never closes goes on to the end of
# its line, or of the source, as it does for Python: so each character is looked at once.
PIECE = re.compile(
    r"""#[^\n]*+|\\\r?\n|((?:(?<!\w)[BFRTUbfrtu]{1,2}+)?+)(?:'''((?:[^\\']|\\.|'(?!''))*+)(?:'''|\\?\Z)|\"\"\"((?:[^\\"]|\\.|"(?!""))*+)(?:\"\"\"|\\?\Z)"""
    r"""|'((?:[^\\'\n]|\\.)*+)(?:'|(?=\n)|\\?\Z)|"((?:[^\\"\n]|\\.)*+)(?:"|(?=\n)|\\?\Z))""",
    re.DOTALL,
)


def bare(text: str) -> str:
    """A source without comments, texts, and breaks of lines that go on; what f"…" holds stays."""

    def left(match: re.Match[str]) -> str:
        prefix = match[1]
        if prefix is None:
            return " "
        if "f" in prefix.lower() or "t" in prefix.lower():
            return " " + _inside(match) + " "
        return '""'

    return PIECE.sub(left, as_ascii(text).replace("\r\n", "\n").replace("\r", "\n"))


def _inside(match: re.Match[str]) -> str:
    """What stands between the quotes."""
    return next(part for part in match.groups()[1:] if part is not None)


def as_ascii(text: str) -> str:
    """The text with those letters written plainly that Python takes for letters of ASCII."""
    if text.isascii():
        return text
    from unicodedata import normalize

    plain = {ord(letter): normalize("NFKC", letter) for letter in set(text) if not letter.isascii()}
    return text.translate({letter: written for letter, written in plain.items() if written.isascii()})


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
    code = bare(text)
    found = {re.sub(r"[\s)]", "", match[0]) for part in (text, code) for match in FILE_OPERATORS.finditer(part)}
    if NEW_NAME.search(code):  # torch.from_file, where `torch` goes by another name
        found |= {re.sub(r"[\s(]", "", match[0]) for match in ANY_OF_FILES.finditer(code)}
    if odd_getattr(text):
        found |= {f"getattr of {name}" for name in texts_in(text) if NAMES_OF_FILES.fullmatch(name)}
    return sorted(found)


def texts_in(text: str) -> set[str]:
    """The texts of a source of TorchScript as its compiler reads them: those side by side are one."""
    found: set[str] = set()
    whole, end = "", -1
    for match in PIECE.finditer(text):
        if match[1] is not None:
            inside = OCTAL.sub(lambda octal: chr(int(octal[1], 8)), _inside(match))
            whole = whole + inside if end >= 0 and not text[end : match.start()].strip() else inside
            found.add(whole)
            end = match.end()
        elif end >= 0 and not text[end : match.start()].strip():
            end = match.end()
    return found


def odd_getattr(text: str) -> bool:
    """Whether a source of TorchScript takes an attribute by a text as torch's own compiler never writes it."""
    if GETATTR.search(text) is None and text.isascii():
        return False

    def left(match: re.Match[str]) -> str:
        if match[1] is None:
            return " "
        return '""' if not match[1] and NO_IDENTIFIER.fullmatch(_inside(match)) else "?"

    code = GETATTR.sub("getattr", PIECE.sub(left, as_ascii(text)))
    for _ in range(MOST_BRACKETS):
        if GETATTR.search(code) is None:
            return False
        code, plain = PLAIN_GETATTR.subn("x", code)
        code, bracketed = BRACKETED.subn(lambda match: " getattr " if "getattr" in match[1] else " x ", code)
        if not plain and not bracketed:
            break
    return GETATTR.search(code) is not None


def foreign_classes(text: str) -> list[str]:
    """The libraries whose classes a source of TorchScript, or its bytecode, makes objects of."""
    return sorted({f"torch.classes.{name}" for name in CLASSES.findall(text) if name not in OWN_CLASSES})


def foreign_operators(text: str) -> list[str]:
    """The libraries whose operators a source of TorchScript calls, and what it gives another name."""
    code = bare(text)
    found = {name for part in (text, code) for name in OPERATORS.findall(part) if name not in OWN_OPERATORS}
    return sorted(
        found | {f"{match[0].strip(' =(),;')}, under another name".replace("\n", "") for match in NEW_NAME.finditer(code)}
    )
