"""Every name that the policy calls harmless, looked up in what is installed: it is what the policy takes it for, and nothing worse.

A name says nothing about what stands behind it: torch.ao.quantization.fx holds torch.fx.GraphModule under its own name, and
torch.nn.modules.activation a module called F. So each harmless name is imported, followed to the place where it is defined, and
that place is judged as well; and the code of what unpickling can call is searched for what runs other code.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import json
import os
import pickle
import subprocess
import sys
import types
import warnings
from pathlib import Path

import pytest

from modelscope_cli.analysis.policy import grave, standard_policy
from modelscope_cli.analysis.policy_harmless import SAFE_ROWS
from modelscope_cli.analysis.policy_references import REFERENCES
from modelscope_cli.core.scan_codes import DANGEROUS, SAFE, SUSPICIOUS, UNKNOWN
from tests.scanned import paths, scanned

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.oracle

POLICY = standard_policy()
HARMLESS = [
    (module, name)
    for module, names, level, _ in SAFE_ROWS
    for name in names.split()
    if level == SAFE and module != "__torch__.*"
]
RUNNING = (builtins.eval, builtins.exec, builtins.compile, builtins.__import__, builtins.getattr, builtins.setattr, builtins.open,
           os.system, subprocess.Popen, importlib.import_module, types.FunctionType, types.CodeType, torch.load, torch.compile)  # fmt: skip
# What unpickling calls of a class that it makes, gives a state, items or entries, or hashes.
CALLED = ("__new__", "__init__", "__post_init__", "__setstate__", "__setattr__", "__setitem__", "append", "extend", "add", "update",
          "__reduce__", "__reduce_ex__", "__del__", "__hash__", "__eq__", "__init_subclass__")  # fmt: skip
TELLING = {"eval", "exec", "compile", "__import__", "import_module", "loads", "load", "system", "Popen", "open", "run_path"}


FIXED = {("torch.nn.functional", "interpolate"), ("torch.nn.functional", "pad")}  # import a module of torch by a fixed name


def resolved(module: str, name: str):
    """The object, or None where what is installed has no such name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


FOUND = {pair: thing for pair in HARMLESS if (thing := resolved(*pair)) is not None}


def test_harmless_names_are_exact():
    """But for TorchScript's classes, which are no Python: no pattern, so that nothing is harmless by what stands beside it."""
    patterns = [(row[0], row[1]) for row in SAFE_ROWS if row[2] == SAFE and ("*" in row[0] + row[1] or "[" in row[1])]
    assert patterns == [("__torch__.*", "*")]


def test_most_of_them_are_there():
    """Otherwise the tests below look at nothing. What is missing is of older or newer versions, or not installed."""
    roots = {module.partition(".")[0] for module, _ in FOUND}
    assert {"torch", "numpy", "builtins", "collections"} <= roots
    assert len(FOUND) > 850
    current = [pair for pair in HARMLESS if pair[0].startswith("torch.nn.modules.")]
    assert [pair for pair in current if pair not in FOUND] == []


@pytest.mark.parametrize(("module", "name"), FOUND, ids=[".".join(pair) for pair in FOUND])
def test_a_harmless_name_is_nothing_worse_where_it_is_defined(module, name):
    thing = FOUND[module, name]
    assert not isinstance(thing, types.ModuleType)
    assert not any(thing is running for running in RUNNING)
    home, own = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if home == "builtins" and not hasattr(builtins, own or ""):
        assert module == "types"  # a type of the interpreter that has no name of its own
    elif isinstance(thing, type) or inspect.isfunction(thing):
        assert POLICY.judge(home, own).level == SAFE, (home, own)
    elif inspect.isbuiltin(thing) or type(thing).__module__ == "numpy._ArrayFunctionDispatcher":
        owner = getattr(thing, "__self__", None)
        assert owner is None or isinstance(owner, types.ModuleType | type), owner
        assert home is None or not home.startswith(("os", "posix", "subprocess", "importlib", "_pickle")), home
    else:  # an instance: a dtype, a layout, a constant
        kind = type(thing)
        special = kind.__module__ == "typing" or thing in (Ellipsis, NotImplemented)
        assert special or grave(POLICY.judge(kind.__module__, kind.__qualname__).level) <= grave(UNKNOWN), kind


def code_of(thing):
    """The code objects that are run when it is called, or made and given a state."""
    if inspect.isfunction(thing):
        return [thing.__code__]
    if not isinstance(thing, type):
        return []
    methods = [vars(owner).get(method) for owner in thing.__mro__ for method in CALLED]
    plain = [inspect.unwrap(getattr(method, "__func__", method)) for method in methods if method is not None]
    return [method.__code__ for method in plain if inspect.isfunction(method)]


def names_in(code):
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= names_in(constant)
    return found


def names_in_all(thing):
    return set().union(*(names_in(code) for code in code_of(inspect.unwrap(thing))))


PLAIN = {"_jit_internal", "JITException", "_TorchCompileWrapper"}


def test_what_harmless_names_call_runs_nothing_that_a_file_names():
    telling = {}
    for pair, thing in FOUND.items():
        hits = set().union(*(names_in(code) for code in code_of(thing))) & TELLING
        if hits and pair not in FIXED:
            telling[".".join(pair)] = hits
    assert telling == {}


@pytest.mark.parametrize(("module", "name"), sorted(REFERENCES), ids=[".".join(pair) for pair in sorted(REFERENCES)])
def test_what_may_be_named_is_a_function_that_computes(module, name):
    """Of numpy 2 and torch: what is missing there is of older versions."""
    thing = resolved(module, name)
    if thing is None:
        assert (module, name) in {("numpy", "in1d"), ("numpy", "trapz"), ("torch.nn.functional", "hardshrink")}
    else:
        assert callable(thing)
        assert not any(thing is running for running in RUNNING)
        assert names_in_all(thing).isdisjoint(TELLING - {"open"})
        assert grave(POLICY.judge(module, name).level) <= grave(SUSPICIOUS)


def test_no_name_of_the_native_core_that_opens_files_or_compiles_passes():
    """Every name of torch and torch._C by its own words."""
    telling = ("file", "load", "save", "jit", "script", "compil", "import", "pickle", "blob", "pointer", "aoti", "mobile", "serializ")
    for module in (torch, torch._C):
        for name in dir(module):
            words = name.lower()
            thing = getattr(module, name)
            plain = isinstance(thing, bool | str) or name in PLAIN or name.startswith("__")
            if any(word in words for word in telling) and not plain and not isinstance(thing, types.ModuleType):
                level = POLICY.judge(module.__name__, name).level
                assert grave(level) >= grave(SUSPICIOUS), name


WALK = '''
import importlib, json, pkgutil, signal, sys, types, warnings
warnings.simplefilter("ignore")
def late(*_): raise TimeoutError
signal.signal(signal.SIGALRM, late)
found = []
left = list(sys.argv[1:])
while left:
    name = left.pop()
    try:
        signal.alarm(20)
        module = importlib.import_module(name)
    except BaseException:
        continue
    finally:
        signal.alarm(0)
    for key, thing in list(vars(module).items()):
        if isinstance(thing, (type, types.FunctionType)):
            home, own = thing.__module__, thing.__qualname__
            if isinstance(home, str) and (home, own) != (name, key):
                found.append((name, key, home, own))
    for inner in pkgutil.iter_modules(getattr(module, "__path__", None) or [], name + "."):
        if "__main__" not in inner.name and ".tests" not in inner.name and "torch.testing" not in inner.name:
            left.append(inner.name)
print("\\n" + json.dumps(found))
'''
# Classes that do nothing but tell, of modules that do more.
TELL_ONLY = {
    "Config", "ConstantIntNode", "ConstraintViolationError", "DefaultLogsSpecs", "EffectType", "Error", "GraphSignature",
    "GuardOnDataDependentSymNode", "IndentedBuffer", "MissingOpProfile", "OpProfile", "Parameter", "PreDispatchTorchFunctionMode",
    "ProcessExitedException", "ProxyTorchDispatchMode", "RegistrationHandle", "Signature", "Std", "TensorifyScalarRestartAnalysis",
    "TensorifyState", "TrackedFake", "UnpicklingError", "UserError", "UserErrorType", "Var",
}  # fmt: skip


# Annotations and errors of other modules, keys and sizes of torch's own, classes of its core without a function that a file could use:
# suspicious at home by the rule for the whole module, harmless by what they are.
ANNOTATIONS = {
    "Annotated", "BinaryIO", "Buffer", "Callable", "Collection", "Container", "Generator", "Hashable", "IO", "Iterable", "Iterator",
    "Mapping", "MutableMapping", "ParamSpecArgs", "ParamSpecKwargs", "Sequence", "Sized", "SupportsAbs", "SupportsBytes",
    "SupportsComplex", "SupportsFloat", "SupportsIndex", "SupportsInt", "SupportsRound", "TextIO",
}  # fmt: skip
PLAIN_AT_HOME = {
    "BaseType", "Call", "CollectTracepointsPass", "ConstantAttrMap", "ErrorReport", "FunctionSchema", "GetAttrKey", "ListType",
    "MappingKey", "NestedCompileRegionOptions", "OperatorName", "OutputLogger", "SchemaKind", "SequenceKey", "SpecViolationError",
    "SymT", "TreeSpec", "UnsupportedOperation", "ValueRangeError", "ValueRanges", "Verifier", "_ConvNd", "_ConvTransposeNd",
    "_EngineBase", "_FusedModule", "_InputEqualizationObserver", "_LinAlgError", "_NonStrictTorchFunctionHandler",
    "_PartialWrapper", "_PyTreeInfo", "_SchemaArgType", "_SchemaArgument", "_SchemaInfo", "_TensorIterator",
    "_TensorIteratorSpec", "_WaitCounter", "_WaitCounterTracker", "_WeightEqualizationObserver", "partialclass.<locals>.NewCls",
}  # fmt: skip


def aliases_of(package: str, folder: Path) -> list[list[str]]:
    """(module, name, module and name where it is defined) of the classes and functions that stand in a module that is not their own."""
    where = str(Path(__file__).resolve().parents[2])
    made = subprocess.run(
        [sys.executable, "-c", WALK, package], capture_output=True, text=True, timeout=500, cwd=folder, env={**os.environ, "PYTHONPATH": where}
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-2000:]
    aliases = json.loads(made.stdout.splitlines()[-1])
    assert len(aliases) > 100
    return aliases


@pytest.mark.parametrize("package", ["torch", "torchvision", "numpy", "networkx", "sympy"])
def test_no_other_name_of_what_is_dangerous_passes_for_unknown(package, tmp_path):
    """All modules of a package that can be imported: what is dangerous at home is at least suspicious under every other name, and
    so is what is suspicious at home under another name of torch, but for the listed exceptions."""
    pytest.importorskip(package)
    passed = {}
    for module, name, home, own in aliases_of(package, tmp_path):
        level = POLICY.judge(home, own).level
        worse = level == DANGEROUS and own not in TELL_ONLY
        worse = worse or (package == "torch" and level == SUSPICIOUS and own not in ANNOTATIONS | PLAIN_AT_HOME)
        if worse and grave(POLICY.judge(module, name).level) < grave(SUSPICIOUS) and not _is_operator(module, home, own):
            passed[home, own] = f"{module}.{name}"
    assert passed == {}


def _is_operator(module: str, home: str, own: str) -> bool:
    """torch.relu and the like: the policy knows them by this name."""
    return module in ("torch", "torch.nn.functional") and (home, own.partition(".")[0]) == ("torch", "_VariableFunctionsClass")


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.quant, self.dequant = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
        self.conv, self.linear, self.act = torch.nn.Conv2d(1, 2, 3), torch.nn.Linear(8, 4), torch.nn.ReLU()

    def forward(self, x):
        return self.dequant(self.linear(self.act(self.conv(self.quant(x))).flatten(1)))


def dynamic():
    layers = [torch.nn.Linear(4, 4) for _ in range(40)]  # more than a trace tells of
    return torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(*layers, torch.nn.LSTM(4, 4), torch.nn.GRUCell(4, 4)))


def static():
    model = Small().eval()
    model.qconfig = torch.ao.quantization.get_default_qconfig("x86")
    torch.ao.quantization.prepare(model, inplace=True)
    model(torch.randn(2, 1, 4, 4))
    torch.ao.quantization.convert(model, inplace=True)
    return model


@pytest.mark.parametrize("saved", ["module", "state"])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("make", [dynamic, static])
@pytest.mark.filterwarnings("ignore")
def test_quantised_modules_are_unknown_at_worst(make, saved, legacy, tmp_path):
    model = make()
    path = tmp_path / "model.pt"
    torch.save(model if saved == "module" else model.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    safety = scanned(path.read_bytes(), "model.pt")
    assert grave(safety.verdict) <= grave(UNKNOWN), safety.why
    assert any("quantized" in found or found == "torch.ScriptObject" for found in paths(safety)) or saved == "state"


def test_element_types_that_numpy_writes_are_safe():
    """Numbers, texts, times, objects, fields with titles, gaps and arrays, records, masked arrays: all protocols."""
    np = pytest.importorskip("numpy")
    own = [kind for kind in np.sctypeDict.values() if kind.__module__ == "numpy"]  # others register theirs when they are imported
    kinds = [*own, "M8[ns]", "m8[3D]", "U7", "S3", "V5", "O", ">i4", "<c8"]
    inner = np.dtype([("x", "f4"), ("o", "O")])
    kinds += [[("a", "i4"), ("b", "O")], [("n", inner, (2, 3)), (("title", "t"), "U5")], [("z", "V0")], np.dtype((np.record, [("x", "i1")])),
              {"names": ["a"], "formats": ["i2"], "offsets": [4], "itemsize": 16}, np.dtype([("a", "i1"), ("b", "f8")], align=True),
              np.dtype(("i4", (2, 2))), np.dtype([("a", "f8")], metadata={"unit": "m"})]  # fmt: skip
    for kind in kinds:
        dtype = np.dtype(kind)
        things = [dtype, np.zeros(3, dtype), np.ma.masked_array(np.zeros(2, dtype)), np.zeros((), dtype)[()]]
        for protocol in range(6):
            for thing in things:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    safety = scanned(pickle.dumps([thing, thing, inner], protocol), "model.pkl")
                assert safety.verdict == "safe", (dtype, protocol, type(thing), safety.why)
