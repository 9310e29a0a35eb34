"""torch.export archives (.pt2): what loading evaluates, imports and calls by names that the file gives, and compiled code.

    models/NAME.json, serialized_exported_program.json
        "expr_str": "Symbol('s77', positive=True)"        sympy evaluates the text: it is Python
        "target": "torch.ops.aten.add.Tensor"             looked up by getattr, called when the program runs
        "in_spec": "[1, {… \\"default_factory_module\\": …"   pytree imports the module (also of "__enum__")
    data/aotinductor/NAME/*.so, *.cpp                     loaded as a library, or compiled and then loaded

Facts: torch/_export/serde/serialize.py (_parse_sym_expr, deserialize_operator), torch/utils/_pytree.py,
torch/csrc/inductor/aoti_package/model_package_loader.cpp, sympy/core/sympify.py.
"""

from __future__ import annotations

import re
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelscope_cli.core.window import Window
    from modelscope_cli.formats.scan_zip_members import Archive
    from modelscope_cli.formats.scanning import Walk

TEXT = rb'"\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)"'
EXPRESSION = re.compile(rb'"expr_str' + TEXT, re.DOTALL)
NO_TEXT = re.compile(rb'"expr_str"\s*:\s*[^"\s]')  # sympy takes lists apart and evaluates the texts in them
TARGET = re.compile(rb'"target' + TEXT, re.DOTALL)
IMPORTED = re.compile(rb'default_factory_module[\\": ]{1,60}([\w.]+)|fqn\\+"[\\": ]{1,60}([\w.]+):')
ESCAPED = re.compile(rb"\\\\+u00[2-7][0-9A-Fa-f]")  # letters that a text inside a text writes as escapes
LONGEST_SHOWN = 80
MOST_SHOWN = 4

TOKEN = re.compile(
    r"\s*(?:([A-Za-z_]\w*)|(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|('[\w.+-]{1,64}')|(\*\*|//|[-+*/%<>=!]=?|[&|~^(),]))\s*"
)
SYMPY = (
    "Symbol Dummy Integer Float Rational Half Add Mul Pow Mod Abs Max Min floor ceiling sqrt log exp sin cos tan asin acos atan sinh cosh "
    "tanh Piecewise ExprCondPair Tuple And Or Not Xor Eq Ne Lt Le Gt Ge Equality Unequality StrictLessThan LessThan StrictGreaterThan "
    "GreaterThan Relational BooleanTrue BooleanFalse One Zero NegativeOne Infinity NegativeInfinity IntInfinity NegativeIntInfinity"
)
TORCH = (
    "FloorDiv ModularIndexing Where PythonMod CleanDiv CeilToInt FloorToInt CeilDiv LShift RShift PowByNatural FloatPow FloatTrueDiv "
    "IntTrueDiv IsNonOverlappingAndDenseIndicator TruncToFloat TruncToInt RoundToInt RoundDecimal ToFloat Identity"
)
FUNCTIONS = frozenset(f"{SYMPY} {TORCH}".split())
OF_TEXT = frozenset(("Symbol", "Dummy", "Float", "Integer"))  # that take a text, and do not evaluate it
OPAQUE = re.compile(r"(?:OpaqueUnaryFn|BitwiseFn)_\w+")  # functions that torch.utils._sympy makes by name
KNOWN_TARGETS = re.compile(
    r"torch\.ops\.(?!load_library|_|loaded)\w+(?:\.\w+)*|torch\._?sym_\w+|math\.\w+|_operator\.(?!methodcaller|attrgetter|itemgetter|call\b)\w+"
)
LOOKED_UP = re.compile(r"torch|math|_operator")
USUAL_MODULES = re.compile(r"(?:builtins|collections|enum|torch|transformers)(?:\.\w+)*")

PROGRAM = re.compile(
    r"(?:.*/)?(?:models/[^/]+\.json|serialized_exported_program\.json|data/aotinductor/.+)", re.DOTALL | re.IGNORECASE
)
COMPILED = re.compile(
    r"(?:.*/)?data/aotinductor/.+\.(?:so|dylib|dll|pyd|a|o|obj|lib|c|cc|cpp|cu|h)(?:\.\d+)*", re.DOTALL | re.IGNORECASE
)
ELF, WASM = b"\x7fELF", b"\0asm\1\0\0\0"
MACH_O = re.compile(rb"\xfe\xed\xfa[\xce\xcf]|[\xce\xcf]\xfa\xed\xfe|\xca\xfe\xba[\xbe\xbf]\0\0\0[\x01-\x1e]")
PE_HEADER = 0x3C  # where the offset of "PE\0\0" stands


def scan_program(walk: Walk, where: str, document: Any, data: bytes, *, hidden: bool) -> None:
    """A JSON document that torch.export.load would read. `hidden` says that it is not written as plain ASCII or UTF-8."""
    if hidden:
        import json

        data = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    for text in sorted({unescaped(match) for match in EXPRESSION.findall(data)}):
        if why := not_plain(text):
            shown = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
            walk.sign("export-code", where, f"torch.export.load evaluates {shown!r} as Python: it has {why}")
    if NO_TEXT.search(data):
        walk.sign("export-code", where, "torch.export.load evaluates an expression that is no text, but a list or the like")
    if b'"graph_module"' not in data:
        return
    targets = {unescaped(match) for match in TARGET.findall(data)}
    odd = sorted(name for name in targets if LOOKED_UP.match(name) and (not KNOWN_TARGETS.fullmatch(name) or "__" in name))
    if odd:
        shown = ", ".join(name[:LONGEST_SHOWN] for name in odd[:MOST_SHOWN])
        walk.sign("export-target", where, f"its graph calls {shown}, which is no operator")
    modules = {(first or second).decode() for first, second in IMPORTED.findall(data)}
    foreign = sorted(module for module in modules if not USUAL_MODULES.fullmatch(module))
    if foreign:
        walk.sign(
            "export-import", where, f"its inputs or outputs name {', '.join(foreign[:MOST_SHOWN])}, which loading imports"
        )
    if ESCAPED.search(data):
        walk.sign("escaped-text", where, "a text inside the program writes plain letters as \\u00.. escapes")


def unescaped(raw: bytes) -> str:
    """The text of a JSON string."""
    import json

    try:
        return str(json.loads(b'"' + raw + b'"', strict=False))
    except ValueError:
        return raw.decode("utf-8", "replace")


def not_plain(text: str) -> str | None:
    """What an expression has besides numbers, operators, symbols and functions of mathematics; None for nothing."""
    position, before, called = 0, "", ""
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            return f"{text[position : position + 10]!r}"
        name, number, quoted, sign = match.groups()
        if quoted and (before != "(" or called not in OF_TEXT):
            return f"the text {quoted}"
        if name and (iskeyword(name) and name not in ("True", "False", "None")):
            return f"the word {name}"
        if name and "__" in name:
            return f"the name {name[:LONGEST_SHOWN]}"
        if sign == "(" and called and before == called and called not in FUNCTIONS and not OPAQUE.fullmatch(called):
            return f"a call of {called[:LONGEST_SHOWN]}"
        if sign == "(" and before in (")", "'"):
            return "a call of what a call returned"
        if name:
            called = name
        elif sign != "(":
            called = ""
        before = name or ("'" if quoted else number or sign)
        position = match.end()
    return None


def scan_export(archive: Archive) -> bool:
    """Note that an archive is a program of torch.export, and its compiled code. Returns whether it is one."""
    members = archive.directory.members
    if not any(PROGRAM.fullmatch(member.name) for member in members):
        return False
    walk = archive.walk
    walk.programs.append(archive.prefix)
    compiled = [member.name for member in members if COMPILED.fullmatch(member.name)]
    walk.judged.update(f"{archive.prefix}{name}" for name in compiled)
    if compiled:
        shown = ", ".join(name.rpartition("/")[2] for name in compiled[:MOST_SHOWN]) + (
            ", …" if len(compiled) > MOST_SHOWN else ""
        )
        walk.sign("native-code", archive.where, f"compiled code (AOTInductor), which loading the package runs: {shown}")
    return True


def scan_native(walk: Walk, where: str, kind: str) -> None:
    """Compiled code inside another file."""
    if where in walk.judged:
        return
    if any(where.startswith(prefix) for prefix in walk.programs):
        walk.sign("native-code", where, f"{kind} in an archive of torch.export, which can load it")
    else:
        walk.sign("native-code-inside", where, f"{kind} packed beside the model")


def native_kind(head: bytes, window: Window) -> str | None:
    """What kind of compiled code begins so; None for none."""
    if head.startswith(ELF):
        return "compiled code (ELF)"
    if head.startswith(WASM):
        return "compiled code (WebAssembly)"
    if MACH_O.match(head):
        return "compiled code (Mach-O)"
    if head.startswith(b"MZ") and len(head) >= PE_HEADER + 4:
        at = int.from_bytes(head[PE_HEADER : PE_HEADER + 4], "little")
        if at + 4 <= window.size and window.read(at, 4) == b"PE\0\0":
            return "compiled code (PE)"
    return None
