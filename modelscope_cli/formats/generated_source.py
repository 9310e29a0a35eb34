"""What torch.export puts into Python source, or evaluates, and the form in which it writes each itself.

    def forward(self, x, mask):                      names of inputs and outputs, of nodes, of keyword arguments: words
        l_weight = getattr(self, "en->de").weight    paths of parameters and modules: anything that cannot end the text
    torch._assert(args[0].size()[0] % 2 == 0,        guards_code: sizes of inputs, numbers, operators, functions of mathematics,
        "Guard failed: x.size()[0] % 2 == 0")        once as source and once as a text in it
    args[1] == 'sum'                                 inputs that are texts, between quotes as they are
    Mul(Integer(2), Symbol('s0', integer=True))      expr_str: sizes, which sympy evaluates

torch escapes nothing. What differs from these forms is an attack, or a program that torch itself cannot load: a quote in a name
ends a text, but without a bracket behind it nothing is called. Facts: torch/fx/graph.py (_gen_python_code, _format_target,
gen_var_bindings), torch/export/_unlift.py (_convert_guards_code_to_fn, _get_input_guards_for_graph), sympy/core/sympify.py.
"""

from __future__ import annotations

import re
from keyword import iskeyword

LONGEST_SHOWN = 80

TOKEN = re.compile(
    r" *(?:([A-Za-z_]\w*)|(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|('[\w.+-]{1,64}')|(\*\*|//|[-+*/%<>=!]=?|[&|~^(),])) *"
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

GUARD_TOKEN = re.compile(
    r" *(?:([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)|(\.[A-Za-z_]\w*)|(\d+\.?\d*(?:[eE][+-]?\d+)?)"
    r"""|('[^'\r\n]*'|"[^"\r\n]*")|(\*\*|//|<<|>>|[<>=!]=|[-+*/%<>&|~^()\[\],])) *"""
)
WORDS = frozenset(("and", "or", "not", "if", "else", "in", "is"))
VALUES = frozenset(("L", "inf", "nan", "True", "False", "None"))
PRINTED = re.compile(
    r"math\.\w+|torch\.(?:_?sym_\w+)|max|min|abs|round|int|float|bool|len|cast_symbool_to_symint_guardless|(?:OpaqueUnaryFn|BitwiseFn)_\w+"
)
CONSTANTS = re.compile(r"math\.(?:inf|nan|pi|e|tau)")
METHODS = frozenset((".size", ".stride", ".storage_offset", ".dim", ".numel"))

ARGUMENT = re.compile(r"[\w .-]+")  # of the keywords of **kwargs: what is no word is refused by Python's own compiler
BETWEEN_DOUBLE = re.compile(r"""[^"\\]*|[\w\s'"./\[\]-]*""")
PLAIN, QUOTES, SIGNS, CODE = "plain", "quotes", "signs", "code"  # what a text between quotes has in it
TEXTS = (
    (PLAIN, re.compile(r"[\w\s./-]*")),
    (QUOTES, re.compile(r"""[\w\s'"./-]*""")),
    (SIGNS, re.compile(r"""[^'"\\]*""")),
)


def is_name(text: str) -> bool:
    """Whether a node, an input or an output can be called so."""
    return text.isidentifier() and not iskeyword(text)


def is_argument(text: str) -> bool:
    """Whether a parameter of forward can be called so."""
    return ARGUMENT.fullmatch(text) is not None and not iskeyword(text)


def is_element(text: str) -> bool:
    """Whether a text stays between double quotes."""
    return BETWEEN_DOUBLE.fullmatch(text) is not None


def is_path(text: str) -> bool:
    """Whether a path of attributes stays between double quotes, and does not lead to Python's own attributes."""
    own = "__" in text and any(part.startswith("__") and part.endswith("__") for part in text.split("."))
    return is_element(text) and not own


def kind_of(text: str) -> str:
    """What of a text could be code between quotes of either kind: PLAIN none of it; QUOTES and SIGNS only together, CODE by itself."""
    return next((kind for kind, form in TEXTS if form.fullmatch(text)), CODE)


def texts_of(guard: str) -> list[str]:
    """The texts between quotes in a guard that not_guard takes."""
    return [match[4][1:-1] for match in GUARD_TOKEN.finditer(guard) if match[4]]


def shown(text: str) -> str:
    """A text that is told, cut where it is long."""
    return repr(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…")


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


def not_guard(text: str) -> str | None:
    """What a guard has besides sizes of inputs, numbers, operators and functions that torch prints; None for nothing."""
    position, before, kind = 0, "", ""  # the token before, and whether it was a name, an attribute or a text
    while position < len(text):
        match = GUARD_TOKEN.match(text, position)
        if match is None:
            return f"{text[position : position + 10]!r}"
        name, attribute, number, quoted, sign = match.groups()
        token = name or attribute or number or quoted or sign
        if "__" in (name or attribute or ""):
            return f"the name {token[:LONGEST_SHOWN]}"
        if kind == "name" and before not in WORDS:
            calls = sign == "("
            if before not in VALUES and not CONSTANTS.fullmatch(before) and not (calls and prints(before)):
                return f"{'a call of' if calls else 'the name'} {before[:LONGEST_SHOWN]}"
            if calls and not prints(before):
                return f"a call of {before[:LONGEST_SHOWN]}"
        elif sign == "(" and (before in (")", "]") or (kind == "attribute" and before not in METHODS)):
            return f"a call of {before[:LONGEST_SHOWN]}" if kind else "a call of what a call returned"
        if quoted and kind_of(quoted[1:-1]) == CODE:
            return "a text that leaves its quotes"
        if (quoted and before != "[") or (kind == "text" and sign != "]"):
            return f"the text {quoted or before}"[:LONGEST_SHOWN]
        if attribute and before not in (")", "]") and kind != "attribute":
            return f"the attribute {attribute[:LONGEST_SHOWN]}"
        before = token
        kind = "name" if name else "attribute" if attribute else "text" if quoted else ""
        position = match.end()
    if kind == "name" and before not in VALUES and not CONSTANTS.fullmatch(before):
        return f"the name {before[:LONGEST_SHOWN]}"
    return None


def prints(name: str) -> bool:
    """Whether torch's printers write calls of this function."""
    return name in FUNCTIONS or PRINTED.fullmatch(name) is not None
