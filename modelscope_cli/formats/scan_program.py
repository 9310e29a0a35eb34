"""Programs of torch.export: what of the document torch evaluates, puts into source, imports and looks up.

    "expr_str", "guards_code", names, paths                become Python (generated_source)
    "target", "as_operator": "torch.ops.aten.add.Tensor"   looked up by getattr, called when the program runs
    "in_spec", "out_spec": "[1, {\\"type\\": …"             import modules, and take items of what is in them (export_specs)

The document is walked as JSON says it, so no escape or blank hides anything.
Facts: torch/_export/serde/schema.py, serialize.py (GraphModuleDeserializer).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modelscope_cli.containers.pickle_nodes import Call, Mapping, SetOf
from modelscope_cli.formats.export_specs import is_forged, is_usual, keywords_of, named_in
from modelscope_cli.formats.generated_source import (
    CODE,
    LONGEST_SHOWN,
    QUOTES,
    SIGNS,
    is_argument,
    is_element,
    is_name,
    is_path,
    kind_of,
    not_guard,
    not_plain,
    shown,
    texts_of,
)
from modelscope_cli.formats.source_words import NAMES_OF_FILES, OWN_OPERATORS

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

MOST_SHOWN, MOST_TOLD = 4, 1_000
KNOWN_TARGETS = re.compile(
    r"torch\.ops\.(?:(?!load|import_module|_)\w+|_c10d_functional(?:_autograd)?|_dtensor|_quantized)\.\w+(?:\.\w+)?"
    r"|torch\._?sym_\w+|math\.\w+"
    r"|_operator\.(?!methodcaller|attrgetter|itemgetter|call\b)\w+|torch\._functorch\.predispatch\.(?:_\w+|lazy_load_decompositions)"
)
BITWISE = re.compile(r"torch\.ops\.aten\.__i?(?:and|or|xor|lshift|rshift)__\.\w+")  # of masks, in most language models
LOOKED_UP = re.compile(r"torch|math|_operator")
OWN_LIBRARIES = frozenset(OWN_OPERATORS) | {  # torch's own that graphs call and TorchScript does not
    "higher_order", "prims", "rngprims", "inductor_prims", "quantized_decomposed", "quantization", "mkldnn", "mkl", "onednn", "onnx",
    "onnx_symbolic", "export", "torch_attn", "flex_lib", "streams", "fsdp", "c10d_functional", "_c10d_functional_autograd", "_dtensor",
}  # fmt: skip
KEYWORDS = frozenset(("from", "in", "lambda"))  # what operators call arguments; where it is one, Python refuses the source
NAMES = frozenset(("tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values", "custom_obj_values"))
FREE = frozenset(("metadata", "as_string_to_argument", "opset_version", "range_constraints", "treespec_namedtuple_fields"))
WRITES = "torch.export.load writes {} into Python source and runs that"


def scan_program(walk: Walk, where: str, document: Any, data: bytes) -> None:
    """A JSON document that torch.export.load would read. `data` are its bytes."""
    whole = isinstance(document, dict) and isinstance(document.get("graph_module"), dict)
    if whole or b'"expr_str"' in data:
        Program(walk, where, whole=whole).read(document)


def scan_specs(walk: Walk, where: str, document: Any) -> None:
    """The descriptions in a JSON document, wherever they stand in it."""
    named, left = named_in(document, 2 * walk.limits.objects)
    if left:
        walk.unseen(where, left)
    forged = sorted({str(one) for one in named if is_forged(one)})
    foreign = sorted({str(one) for one in named if not is_usual(one) and not is_forged(one)})
    for code, names, said in (
        ("export-code", forged, "loading its description of inputs or outputs looks up {}, which is no class, and uses it"),
        ("export-import", foreign, "its inputs or outputs name {}, which loading imports"),
    ):
        if names:
            walk.sign(code, where, said.format(", ".join(names[:MOST_SHOWN])))


class Program:
    """One document; `whole` says that it has a graph, so that more than its expressions is judged."""

    def __init__(self, walk: Walk, where: str, *, whole: bool):
        self.walk = walk
        self.where = where
        self.told: set[str] = set()
        self.plain: set[str] = set()  # expressions and guards that were judged
        self.left = walk.limits.searched_bytes // 4  # characters of those that are judged
        self.targets: set[str] = set()
        self.judges = JUDGES if whole else {"expr_str": Program.expression}

    def read(self, document: Any) -> None:
        """Walk it. Of maps the keys are names, or anybody's words."""
        waiting: list[tuple[str, Any]] = [("", document)]
        most = 2 * self.walk.limits.objects
        judges, seen = self.judges, 0
        while waiting:
            under, node = waiting.pop()
            seen += 1
            if seen > most:
                self.walk.unseen(self.where, f"what follows the first {most:,} values of a program (--limit objects=N)")
                break
            if type(node) is list:
                waiting += [(under, each) for each in node if type(each) in (dict, list)]
                continue
            if type(node) is not dict:
                continue
            if under in NAMES or under in FREE:
                if under in NAMES:
                    for key in node:
                        self.name(key)
                elif isinstance(stack := node.get("nn_module_stack"), str):
                    self.stack(stack)
                waiting += [("", each) for each in node.values() if type(each) in (dict, list)]
                continue
            for key, value in node.items():
                if type(value) in (dict, list):
                    waiting.append((key, value))
                judge = judges.get(key)
                if judge is not None and value is not None:
                    judge(self, value)
            if under == "inputs" and judges is JUDGES:
                self.input(node)
        self.tell()

    def code(self, text: Any, why: str, how: str = WRITES) -> None:
        """Note a text that becomes code, once."""
        written = shown(str(text))
        if written not in self.told and len(self.told) < MOST_TOLD:
            self.told.add(written)
            self.walk.sign("export-code", self.where, f"{how.format(written)}: {why}")

    def affords(self, text: str) -> bool:
        """Whether an expression or a guard is to be judged: each once, and so many characters in all."""
        if text in self.plain:
            return False
        if len(text) > self.left:
            most = self.walk.limits.searched_bytes // 4
            said = f"expressions and guards of more than {most:,} characters (--limit searched_bytes=N, four times as many)"
            self.walk.unseen(self.where, said)
            return False
        self.left -= len(text)
        self.plain.add(text)
        return True

    def expression(self, value: Any) -> None:
        if not isinstance(value, str):  # sympy takes lists apart and evaluates the texts in them
            said = "torch.export.load evaluates an expression that is no text, but a list or the like"
            self.walk.sign("export-code", self.where, said)
        elif self.affords(value) and (why := not_plain(value)):
            self.code(value, f"it has {why}", "torch.export.load evaluates {} as Python")

    def guards(self, value: Any) -> None:
        for guard in value if isinstance(value, list) else [value]:
            if not isinstance(guard, str):
                self.code(guard, "a guard that is no text")
            elif self.affords(guard):
                if why := not_guard(guard):
                    self.code(guard, f"a guard with {why}")
                elif '"' in guard or "'" in guard:
                    for text in texts_of(guard):
                        between(self.walk, self.where, text)

    def name(self, value: Any) -> None:
        written = isinstance(value, str) and (not value or is_name(value) or value in KEYWORDS)
        if not written and not isinstance(value, int):
            self.code(value, "it is no name")

    def path(self, value: Any) -> None:
        if not isinstance(value, str) or not is_path(value):
            self.code(value, "it is no path of attributes")

    def stack(self, value: str) -> None:
        """Names, paths and classes of the modules around a node: unflatten makes calls of them."""
        if '"' in value or "\\" in value:
            for part in re.split("[,;]", value):
                if not is_element(part):
                    self.code(part, "it is no path of attributes")

    def arguments(self, value: Any) -> None:
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, list) or (isinstance(name, str) and not is_argument(name)):
                self.code(name, "it is no name of a parameter")

    def number(self, value: Any) -> None:
        if not isinstance(value, (int, float)):  # torch does not look: a text here is taken as one
            self.code(value, "it stands for a number")

    def input(self, node: dict[str, Any]) -> None:
        """An input that is a constant: torch compares it with what it is called with."""
        text = node.get("as_string")
        if isinstance(text, str):
            between(self.walk, self.where, text)

    def target(self, value: Any) -> None:
        if isinstance(value, str) and LOOKED_UP.match(value):
            self.targets.add(value)

    def in_spec(self, value: Any) -> None:
        self.arguments(keywords_of(value))

    def tell(self) -> None:
        """What it looks up."""
        files = sorted(name for name in self.targets if touches_files(name))
        others = self.targets.difference(files)
        odd = sorted(name for name in others if not is_operator(name))
        libraries = sorted({library for library in map(library_of, others.difference(odd)) if library} - OWN_LIBRARIES)
        for code, names, said in (
            ("export-target", odd, "its graph calls {}, which is no operator"),
            ("script-files", files, "its graph calls {}: it reads or writes files when the program runs"),
            ("script-operators", libraries, "its graph calls operators of {}, a library that has not been judged"),
        ):
            if names:
                listed = ", ".join(name[:LONGEST_SHOWN] for name in names[:MOST_SHOWN])
                self.walk.sign(code, self.where, said.format(listed))


def between(walk: Walk, where: str, text: str) -> None:
    """Judge a text that torch puts between quotes: a constant, or a key of the inputs. Several can come to stand in one line."""
    kind = kind_of(text)
    walk.quoted.setdefault(kind, text)
    others = {QUOTES: SIGNS, SIGNS: QUOTES}.get(kind)
    if kind == CODE or others in walk.quoted:
        beside = f", beside {shown(walk.quoted[others])}" if others in walk.quoted else ""
        walk.sign("export-code", where, f"{WRITES.format(shown(text))}: an input that leaves its quotes{beside}")


def scan_examples(walk: Walk, where: str, result: Any) -> None:
    """The inputs that a program was exported with: the keys in them become a part of the texts of its guards."""
    waiting, seen = [result], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, (str, bytes)):  # both can be keys
            between(walk, where, node if isinstance(node, str) else node.decode("latin-1"))
            continue
        if isinstance(node, (int, float, type(None))) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Mapping):
            waiting += [part for pair in node.pairs for part in pair]
        elif isinstance(node, Call):
            waiting += [node.args, node.state, *(node.items or ()), *(part for pair in node.entries or () for part in pair)]
        elif isinstance(node, SetOf):
            waiting += node.items
        elif isinstance(node, (list, tuple)):
            waiting += node


def is_operator(name: str) -> bool:
    """Whether a name that torch looks up is an operator, or a function of numbers."""
    known = KNOWN_TARGETS.fullmatch(name) is not None and "__" not in name
    return known or BITWISE.fullmatch(name) is not None


def library_of(name: str) -> str | None:
    """aten of torch.ops.aten.add.Tensor; None of what is a function of numbers."""
    return name.split(".", 3)[2] if name.startswith("torch.ops.") else None


def touches_files(name: str) -> bool:
    """Whether a name that torch looks up is an operator that reads or writes files, of any library, or another way to one."""
    parts = name.split(".")
    if parts[2:4] == ["debugprims", "load_tensor"]:
        return True
    called = parts[3:4] if is_operator(name) else parts[1:]
    return any(NAMES_OF_FILES.fullmatch(part) is not None for part in called)


JUDGES: dict[str, Callable[[Program, Any], None]] = {
    "expr_str": Program.expression,
    "guards_code": Program.guards,
    "name": Program.name,
    "as_name": Program.name,
    "user_input_name": Program.name,
    "parameter_name": Program.path,
    "buffer_name": Program.path,
    "tensor_constant_name": Program.path,
    "custom_obj_name": Program.path,
    "fqn": Program.path,
    "forward_arg_names": Program.arguments,
    "as_int": Program.number,
    "as_bool": Program.number,
    "target": Program.target,
    "as_operator": Program.target,
    "in_spec": Program.in_spec,
}
