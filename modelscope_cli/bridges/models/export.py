"""The calls of a model, by torch.export: nothing is computed, shapes only are followed through the model's own code.

    torch.export.export(module, …, strict=False)   runs the code as it is, and records what it calls
    strict=True                                    reads the code instead; for models whose code the first cannot run

Operators stay as the model calls them (linear, layer_norm, scaled_dot_product_attention); they are not taken apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelscope_cli.bridges.models.quiet import silent
from modelscope_cli.bridges.models.running import slow_attention, watched
from modelscope_cli.core.calls import Call, Calls, Kept, Place, Value
from modelscope_cli.core.tensor import Shape
from modelscope_cli.errors import DrawingError

if TYPE_CHECKING:
    import torch

ROUTES = "--engine torchviz draws what autograd keeps, --engine diagram what is in the file; neither traces the model"
OF_PROGRAMS = "--engine netron draws the program itself, --engine torchviz what autograd keeps of a call"
VALUE = "·"  # stands for a value in the text of an argument
MOST_NUMBERS = 64  # of a constant that is told apart by what is in it
LONGEST_REASON = 300  # letters of what torch says


def calls_of(module: torch.nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Calls:
    """What the module calls, given these. Raises DrawingError when it cannot be followed, naming the module it happened in."""
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        raise DrawingError("torch.export follows Python, and this is a TorchScript program", hint=OF_PROGRAMS)
    with silent(), slow_attention(), torch.no_grad():
        exported = None
        problem: tuple[str, Exception] | None = None
        for strict in (False, True):
            with watched(module) as place:
                try:
                    exported = torch.export.export(module, arguments, keywords, strict=strict)
                    break
                except Exception as failure:  # whatever the model's code, or torch's about it, raises
                    problem = problem or (place.path, failure)
    if exported is None:
        assert problem is not None
        raise DrawingError(said(*problem, type(module).__name__), hint=ROUTES) from problem[1]
    return Reader(module, exported).calls()


def said(path: str, failure: Exception, model: str) -> str:
    """What went wrong and where, in one sentence."""
    reason = next((line.strip() for line in str(failure).splitlines() if line.strip()), "") or type(failure).__name__
    reason = reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"
    where = f"module {path}" if path else f"the forward of {model} itself"
    return f"torch.export cannot follow the model: it failed in {where} ({type(failure).__name__}: {reason})"


class Reader:
    """Turns an exported program into Calls."""

    def __init__(self, module: torch.nn.Module, exported: Any):
        self.module = module
        self.exported = exported
        self.modules = {path: type(each).__name__ for path, each in module.named_modules(remove_duplicate=False)}
        self.found: list[Call] = []
        self.first_runs: dict[tuple[str, str], int] = {}  # (path, key of a run) → how many runs were before it
        self.runs: dict[str, int] = {}

    def calls(self) -> Calls:
        kept, tensors = self.kept()
        names: dict[str, str] = {}  # of a node → of the value
        inputs: list[Value] = []
        for spec, node in zip(self.exported.graph_signature.input_specs, self.placeholders(), strict=True):
            target = spec.target
            if spec.kind.name == "USER_INPUT" or target is None:
                inputs.append(Value(node.name, *described(node.meta.get("val"))))
                names[node.name] = node.name
            elif target in kept:
                names[node.name] = kept[target].name
            else:  # a constant that export lifted out of the code
                shape, _ = described(node.meta.get("val"))
                content = numbers_of(self.exported.constants.get(target))
                kept[target] = Kept(f"constant {target}", target, shape or (), False, content)
                names[node.name] = kept[target].name
        outputs = self.follow(self.exported.graph_module, names, "", ())
        unique = {tensor.name: tensor for tensor in kept.values()}
        read = {name for call in self.found for name in call.arguments} | set(outputs)
        return Calls(
            [value for value in inputs if value.name in read or value.shape is not None],
            list(unique.values()), self.found, outputs, self.modules, tensors,
        )  # fmt: skip

    def placeholders(self) -> list[Any]:
        return [node for node in self.exported.graph.nodes if node.op == "placeholder"]

    def kept(self) -> tuple[dict[str, Kept], dict[str, list[tuple[str, Kept]]]]:
        """Every name of a tensor → the tensor, and the tensors of each module."""
        by_name: dict[str, Kept] = {}
        by_identity: dict[int, Kept] = {}
        tensors: dict[str, list[tuple[str, Kept]]] = {}
        named: list[tuple[str, Any, bool]] = [
            (name, tensor, True) for name, tensor in self.module.named_parameters(remove_duplicate=False)
        ]
        named += [(name, tensor, False) for name, tensor in self.module.named_buffers(remove_duplicate=False)]
        for name, tensor, learned in named:
            kept = by_identity.setdefault(id(tensor), Kept(f"tensor {name}", name, tuple(tensor.shape), learned))
            by_name[name] = kept
            path, _, leaf = name.rpartition(".")
            tensors.setdefault(path, []).append((leaf, kept))
        return by_name, tensors

    def follow(self, graph_module: Any, names: dict[str, str], prefix: str, outer: tuple[Place, ...]) -> list[str]:
        """Add the calls of a graph; `names` says what its inputs are. Returns the names of its outputs."""
        outputs: list[str] = []
        several: dict[str, list[str]] = {}  # node that ran a graph of its own → what that returned
        for node in graph_module.graph.nodes:
            if node.op == "get_attr" or (node.op == "placeholder" and node.name not in names):
                names.setdefault(node.name, f"{prefix}{node.name}")
            elif node.op == "output":
                outputs = [names[each.name] for each in nodes_in(node.args)]
            elif node.op == "call_function":
                within = tuple(self.places(node)) or outer
                inner = inner_graph(node, graph_module)
                if inner is not None:
                    graph, given = inner
                    bound = dict(
                        zip([each.name for each in graph.graph.nodes if each.op == "placeholder"], given, strict=False)
                    )
                    inside = {name: names[value.name] for name, value in bound.items()}
                    several[node.name] = self.follow(graph, inside, f"{prefix}{node.name}.", within)
                    continue
                taken = operator(node) == "getitem" and several.get(node.args[0].name)
                if taken:
                    names[node.name] = taken[node.args[1]]
                    continue
                name = f"{prefix}{node.name}"
                names[node.name] = name
                given = [*((str(position), each) for position, each in enumerate(node.args)), *node.kwargs.items()]
                read = [(names[each.name], slot) for slot, value in given for each in nodes_in(value)]
                plain = tuple((slot, words) for slot, value in given if (words := text(value)) != VALUE)
                self.found.append(
                    Call(
                        name, operator(node), [value for value, _ in read], numbers_in(node.args), within,
                        *described(node.meta.get("val")), [slot for _, slot in read], plain,
                    )
                )  # fmt: skip
        return outputs

    def places(self, node: Any) -> Iterator[Place]:
        """The modules a node ran in, outermost first."""
        for key, (path, _) in (node.meta.get("nn_module_stack") or {}).items():
            known = path if path in self.modules else path.rpartition("@")[0]
            if known not in self.modules:
                continue
            run = (known, key)
            if run not in self.first_runs:
                self.first_runs[run] = self.runs.get(known, 0)
                self.runs[known] = self.first_runs[run] + 1
            yield Place(known, self.modules[known], self.first_runs[run])


def operator(node: Any) -> str:
    """The name of what a node calls, without namespace and overload."""
    target = node.target
    packet = getattr(target, "overloadpacket", None)
    return str(getattr(packet or target, "__name__", target))


def inner_graph(node: Any, graph_module: Any) -> tuple[Any, list[Any]] | None:
    """The graph that a call of `wrap_with_…` runs, and the nodes it is given. None: an ordinary call."""
    if not operator(node).startswith("wrap_with"):
        return None
    given = nodes_in(node.args)
    for position, each in enumerate(given):
        graph = getattr(graph_module, str(each.target), None) if each.op == "get_attr" else None
        if graph is not None and hasattr(graph, "graph"):
            return graph, given[position + 1 :]
    return None


def nodes_in(arguments: Any) -> list[Any]:
    """The nodes among arguments, in order, those in lists and dictionaries included."""
    if isinstance(arguments, list | tuple):
        return [node for each in arguments for node in nodes_in(each)]
    if isinstance(arguments, dict):
        return nodes_in(list(arguments.values()))
    return [arguments] if hasattr(arguments, "op") and hasattr(arguments, "users") else []


def text(argument: Any) -> str:
    """An argument in words, in which values have no names."""
    if isinstance(argument, list | tuple):
        return f"({', '.join(map(text, argument))})"
    if isinstance(argument, dict):
        return f"({', '.join(f'{key}={text(value)}' for key, value in argument.items())})"
    return VALUE if nodes_in(argument) else repr(argument)


def numbers_of(tensor: Any) -> str:
    """What is in a small constant, as text; "" where it is on the meta device, or large."""
    import torch

    if not isinstance(tensor, torch.Tensor) or tensor.is_meta or tensor.numel() > MOST_NUMBERS:
        return ""
    try:
        return repr(tensor.tolist())
    except Exception:  # a tensor that has no data after all
        return ""


def numbers_in(arguments: Any) -> list[float]:
    """The plain numbers among arguments."""
    return [each for each in arguments if isinstance(each, int | float) and not isinstance(each, bool)]


def described(value: Any) -> tuple[Shape | None, str]:
    """Shape and dtype of what torch knows about a value."""
    shape = getattr(value, "shape", None)
    if shape is None:
        return None, ""
    return tuple(int(side) for side in shape), str(getattr(value, "dtype", "")).removeprefix("torch.")
