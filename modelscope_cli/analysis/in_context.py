"""The judgement on a name in the light of what is done with it: getattr of an enumeration is not getattr of a module.

A name is excused only by its own calls, all of them known, and only where it is mentioned nowhere else: what a harmless function
is given, or what an object keeps, is called in a way that nobody sees. A function that is named and never called, as a value of
a configuration or a state, is one level less grave where its arguments are all that could do harm (policy_references).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelscope_cli.analysis.policy import TELLING, UNJUDGED_FUNCTION, Judgement, Policy, grave, standard_policy
from modelscope_cli.analysis.policy_harmless import NUMBERS, SCALARS
from modelscope_cli.analysis.policy_references import REFERENCES
from modelscope_cli.containers.literal_bytes import literal_bytes
from modelscope_cli.containers.odd_shapes import FILLED, ODD_IF_HARMLESS, ODD_PICKLE, SHAPES, class_of, is_object
from modelscope_cli.containers.odd_states import ADDRESS, FORGED, KINDS, PROTOCOLS, SCRIPT, Dtypes, odd_state
from modelscope_cli.containers.pickle_callers import REBUILDING_TYPES
from modelscope_cli.containers.pickle_nodes import BUILD, BUILTINS, NEWOBJ, NEWOBJ_EX, Call, Global
from modelscope_cli.containers.python2_names import imported_as
from modelscope_cli.core.checkpoint import CallUse, PickleTrace
from modelscope_cli.core.scan_codes import SAFE, SUSPICIOUS, UNKNOWN

DEEPEST_REACH = 8  # getattr of getattr of …
Name = tuple[str, str]

# Classes that numpy pickles by other functions: called, they lay an array over bytes or addresses that the file gives, some of
# them by an attribute `__array_interface__` of what they are called with.
ARRAYS = frozenset(
    {("numpy", name) for name in ("ndarray", "matrix", "recarray", "record", *SCALARS.split())}
    | {(f"numpy.{leaf}", name) for leaf in ("core.records", "_core.records", "rec") for name in ("recarray", "record")}
    | {("numpy.matrixlib.defmatrix", "matrix"), ("numpy.ma", "MaskedArray"), ("numpy.ma.core", "MaskedArray")}
)
# Harmless classes that pickle itself fills: they are dictionaries and lists.
FILLABLE = frozenset({("collections", "deque"), ("collections", "UserDict"), ("collections", "UserList")})
# Functions that honest files call and hand to nobody.
CALLED_ONLY = REBUILDING_TYPES | frozenset(
    (module, name) for module in ("copyreg", "copy_reg") for name in ("_reconstructor", "__newobj__", "__newobj_ex__")
)
MESHES = frozenset({("torch.distributed.device_mesh", "DeviceMesh"), ("torch.distributed._tensor.device_mesh", "DeviceMesh")})
PARTIALS = ("functools.partial", "_functools.partial")
LOADER = ("torch.storage", "_load_from_bytes")
OPERATORS = ("torch._C", "_VariableFunctionsClass")  # where torch.relu and the like are at home
METHODS = frozenset(
    ("builtins", name)
    for name in ("str", "bytes", "int", "float", "complex", "bool", "list", "tuple", "dict", "set", "frozenset", "bytearray")
)
FORMATS = ("format", "format_map")  # which reach attributes of what they are given


def calls_by_name(trace: PickleTrace) -> dict[Name, list[CallUse]]:
    """The calls of imported names that a trace tells of; giving an object a state is none. Those that something else makes of
    what it was given come first."""
    found: dict[Name, list[CallUse]] = {}
    for call in sorted(trace.calls, key=lambda call: not call.through):
        name = name_of(call.function) if call.through not in KINDS and call.through not in SHAPES else None
        if name is not None and (call.opcode != BUILD or call.through):
            found.setdefault(name, []).append(call)
    return found


def odd_in(call: CallUse, dtypes: Dtypes) -> tuple[str, str] | None:
    """(code of the finding, what it says) where the call gives an object a state that leads to memory of the file's choice, or is
    one that no pickler writes.

    What was odd when it was given, the machine has noted; the fields of an element type may have been changed since.
    """
    if call.through in SHAPES:
        if call.through != ODD_IF_HARMLESS:
            return call.through, call.args[0]
        names = [name for name in map(name_of, call.args[1:]) if name is not None]
        filled = call.args[0] == FILLED and any([name in FILLABLE for name in names])
        if not filled and all([_is_harmless(name) for name in names]):
            return ODD_PICKLE, f"{call.args[0]}: {', '.join(['.'.join(imported_as(*name)) for name in names])}"
        return None
    if call.through == ADDRESS and call.args[0] in PROTOCOLS:
        return ADDRESS, f"it gives an object the attribute {call.args[0]}, by which numpy or torch asks it for memory"
    if call.through in KINDS:
        return call.through, f"an element type of an array {call.args[0]}" if call.through == FORGED else call.args[0]
    if call.opcode != BUILD or call.through:
        return None
    odd = odd_state(call.function, call.args[0], dtypes, anew=False)
    return odd and (odd[0], f"an element type of an array {odd[1]}" if odd[0] == FORGED else odd[1])


def _is_harmless(name: Name) -> bool:
    """Whether our own rows call a name harmless. What somebody else allows does not excuse how it is put together."""
    return standard_policy().judge(*name).level == SAFE


def judge(
    policy: Policy, module: str, name: str, calls: Sequence[CallUse] = (), count: int = 0, loose: int | None = None
) -> Judgement:
    """The judgement on a name. `calls` are those that are known, of `count` in all: only when all are known and the name is
    mentioned nowhere else (`loose` is 0; None where nobody counted) do they excuse it."""
    judgement = policy.judge(module, name)
    if judgement.by:
        return judgement
    place = imported_as(module, name)
    if (module, name) in CALLED_ONLY and (loose if loose is not None else not count):
        return Judgement(SUSPICIOUS, "is named without being called, so that something else calls it")
    if count and place in ARRAYS:
        return Judgement(SUSPICIOUS, "lays an array over bytes or addresses of the file's choice when it is called")
    if judgement.reason == NUMBERS and count > len([call for call in calls if call.through in PARTIALS]):
        return Judgement(SUSPICIOUS, "calls methods of what it is given, and no honest file calls it while it is loaded")
    if not count and place in REFERENCES and grave(judgement.level) <= grave(SUSPICIOUS):
        return Judgement(min(judgement.level, UNKNOWN, key=grave), "is a function that nothing here calls")
    if place == SCRIPT and calls and all(call.opcode == NEWOBJ and call.args == () and not call.through for call in calls):
        return Judgement(UNKNOWN, "holds the packed weights of a quantised layer")  # its states are judged by themselves
    if judgement.level == SAFE or not calls or any([name_of(call.function) != (module, name) for call in calls]):
        return judgement
    if loose != 0:
        return judgement
    if (module, name) == LOADER and all(_is_seen(call) for call in calls):
        return Judgement(SAFE, "opens a torch file inside the pickle, which is judged by itself")  # the scan sees to all calls
    if len(calls) < count:
        return judgement
    if name == "getattr" and module in BUILTINS:
        return _getattr(policy, calls) or judgement
    if (module, name) == ("operator", "itemgetter") and all([_is_key(arg) for call in calls for arg in call.args]):
        return Judgement(UNKNOWN, "takes entries by keys that stand in the file")
    if judgement.level == SUSPICIOUS and judgement.reason.endswith(UNJUDGED_FUNCTION) and _only_made(calls):
        return Judgement(UNKNOWN, "is a class that has not been judged")  # Python makes objects of nothing else
    is_partial = name == "partial" and module in ("functools", "_functools")
    if is_partial and all(call.args and _is_wrappable(policy, call.args[0]) for call in calls):
        return Judgement(UNKNOWN, "wraps a function, which is judged by itself")
    if name == "type" and module in BUILTINS and all(len(call.args) == 1 for call in calls):
        return Judgement(SAFE, "tells the type of a value")
    if (module, name) in MESHES and all(call.opcode == NEWOBJ for call in calls):
        return Judgement(SAFE, "says which machines held which part")
    return judgement


def _is_wrappable(policy: Policy, node: Any) -> bool:
    """Whether a node is a function of no great harm: an import, or what getattr gives."""
    name = name_of(node)
    if name is not None:
        return grave(policy.judge(*name).level) <= grave(UNKNOWN)
    reached = reach(node.function, node.args) if type(node) is Call else None
    return reached is not None and grave(_reference(policy, *reached).level) <= grave(UNKNOWN)


def _is_key(node: Any) -> bool:
    return type(node) in (str, int) or (type(node) is tuple and all([type(part) in (str, int) for part in node]))


def _only_made(calls: Sequence[CallUse]) -> bool:
    """Whether instructions make objects of a class in all the calls, without its __init__."""
    return all([call.opcode in (NEWOBJ, NEWOBJ_EX) and not call.through for call in calls])


def _is_seen(call: CallUse) -> bool:
    """Whether the scan looked into all that a call unpickles."""
    return not call.through and len(call.args) == 1 and literal_bytes(call.args[0]) is not None


def _getattr(policy: Policy, calls: Sequence[CallUse]) -> Judgement | None:
    """What all these calls of getattr can reach, or None where that cannot be told."""
    reached = [_method(policy, call.args) or _attribute(policy, call) for call in calls]
    if not all(reached):
        return None
    worst = max([one for one in reached if one], key=lambda one: grave(one.level))
    if worst.level in (SAFE, UNKNOWN):
        return Judgement(UNKNOWN, "reaches attributes by name, here of classes that have not been judged")
    return Judgement(worst.level, f"reaches for something that {worst.reason}")


def _attribute(policy: Policy, call: CallUse) -> Judgement | None:
    pair = reach(call.function, call.args)
    return _reference(policy, *pair) if pair else None


def _method(policy: Policy, args: tuple[Any, ...]) -> Judgement | None:
    """The judgement on a method of an object of the file, as Python pickles it: getattr(object, 'name')."""
    if len(args) != 2 or type(args[0]) is not Call or type(args[1]) is not str or not is_object(args[0]):
        return None
    cls, name = class_of(args[0]), args[1]
    if cls is None or not name.isidentifier() or name.endswith("__") or name in TELLING:
        return None
    if grave(policy.judge(cls.module, cls.name).level) > grave(UNKNOWN):
        return None
    return Judgement(UNKNOWN, "is a method of an object of the file, which nothing here calls")


def _reference(policy: Policy, module: str, name: str) -> Judgement:
    """The judgement on an attribute that getattr gives; to call it is another call, which is judged by itself.

    torch.relu is pickled as an attribute of a class of torch._C, `str.lower` as one of str.
    """
    judgement = policy.judge(module, name)
    owner, _, last = name.rpartition(".")
    if judgement.level != SUSPICIOUS or last.startswith("_"):
        return judgement
    if (module, owner) == OPERATORS or (imported_as(module, owner) in METHODS and last not in FORMATS):
        return Judgement(UNKNOWN, "is a function that nothing here calls")
    return judgement


def reached_level(policy: Policy, call: CallUse) -> str:
    """How grave it is to call the result of a call. What is wrapped for later is safe here where it may be named: to call the
    wrapper is another call."""
    reached = reach(call.function.function, call.function.args) if type(call.function) is Call else None
    if reached is None:
        return SUSPICIOUS
    if call.through in PARTIALS and grave(_reference(policy, *reached).level) <= grave(UNKNOWN):
        return SAFE
    return max(policy.judge(*reached).level, UNKNOWN, key=grave)


def reach(function: Any, args: Any, depth: int = 0) -> Name | None:
    """(module, dotted name) that getattr(X, 'name') gives, where X is an import or another such call."""
    name = name_of(function)
    if name is None or name[1] != "getattr" or name[0] not in BUILTINS or depth > DEEPEST_REACH:
        return None
    if type(args) is not tuple or len(args) not in (2, 3) or type(args[1]) is not str:
        return None
    owner = name_of(args[0])
    if owner is None and type(args[0]) is Call:
        owner = reach(args[0].function, args[0].args, depth + 1)
    return (owner[0], f"{owner[1]}.{args[1]}") if owner else None


def name_of(node: Any) -> Name | None:
    """(module, name) of an imported name; None for any other node of a pickle."""
    return (node.module, node.name) if type(node) is Global else None
