"""The policy: every row says what it is meant to, exact names are exact, and what no row knows is judged by where it comes from."""

from __future__ import annotations

import re
import sys

import pytest

from modelscope_cli.analysis.findings import harmless
from modelscope_cli.analysis.policy import Policy, grave, gravest, is_standard, standard_policy
from modelscope_cli.analysis.policy_dangers import DANGEROUS_ROWS
from modelscope_cli.analysis.policy_file import read_policy, rows
from modelscope_cli.analysis.policy_harmless import SAFE_ROWS
from modelscope_cli.analysis.weights_only import ALLOWED
from modelscope_cli.containers.python2_names import PYTHON2, PYTHON2_NAMES, imported_as
from modelscope_cli.core.scan_codes import DANGEROUS, LEVELS, SAFE, SUSPICIOUS, UNKNOWN
from modelscope_cli.errors import SettingsError

POLICY = standard_policy()
NAMED = [(module, name, level) for module, names, level, _ in (*SAFE_ROWS, *DANGEROUS_ROWS) for name in names.split()]


def an_example(module: str, name: str) -> tuple[str, str]:
    """A module and name that a row is about."""
    if name == "*":
        name = "Anything"
    name = name.replace("[A-Z]*", "Zebra").replace("[a-z_]*", "zebra").replace("[1-7]", "3").replace("*", "zebra")
    return (f"{module[:-2]}.below" if module.endswith(".*") else module), name


@pytest.mark.parametrize(("module", "name", "level"), NAMED, ids=[f"{module} {name}" for module, name, _ in NAMED])
def test_every_row_is_reached(module, name, level):
    """A row that another one shadows is of no use, but for one that says the same."""
    assert POLICY.judge(*an_example(module, name)).level == level


@pytest.mark.parametrize("row", [*SAFE_ROWS, *DANGEROUS_ROWS], ids=lambda row: row[0] + " " + row[1][:20])
def test_every_row_is_well_made(row):
    module, names, level, reason = row
    assert re.fullmatch(r"[\w.]+(\.\*)?", module)
    assert names.split()
    assert level in LEVELS
    assert re.match(r"[a-z`]", reason)
    assert not reason.endswith(".")


def test_no_row_stands_twice():
    seen = [(module, name) for module, name, _ in NAMED]
    assert len(seen) == len(set(seen)), sorted({pair for pair in seen if seen.count(pair) > 1})


def test_a_module_and_all_below_it_come_before_the_module_alone():
    assert POLICY.judge("os.path", "exists").level == DANGEROUS
    assert POLICY.judge("asyncio.a.b", "run").level == DANGEROUS
    assert POLICY.judge("osmosis", "System").level == UNKNOWN


@pytest.mark.parametrize(
    ("module", "name", "level", "words"),
    [
        ("os", "system", DANGEROUS, "starts programs"),
        ("posix", "execve", DANGEROUS, "starts programs"),
        ("nt", "unlink", DANGEROUS, "deletes files"),
        ("os", "environ", DANGEROUS, "the environment of the process"),
        ("os", "getcwd", DANGEROUS, "a function of the operating system"),
        ("os.path", "exists", DANGEROUS, "looks at files"),
        ("posixpath", "expandvars", DANGEROUS, "the environment of the process"),
        ("os.path", "expanduser", SUSPICIOUS, "tells the home folder"),
        ("ntpath", "join", SUSPICIOUS, "the names of files"),
        ("os.path", "join.__globals__", DANGEROUS, ""),
        ("posixpath", "os.system", DANGEROUS, ""),
        ("os", "path.join", DANGEROUS, ""),
    ],
)
def test_the_reason_fits_the_name_and_not_its_whole_module(module, name, level, words):
    found = POLICY.judge(module, name)
    assert found.level == level
    assert words in found.reason


def test_what_torch_allows_is_safe():
    for path in ALLOWED:
        module, _, name = path.rpartition(".")
        assert POLICY.judge(module, name).level == SAFE, path
        assert harmless(module, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch._utils", "_rebuild_tensоr_v2"),  # a Cyrillic o
        ("torch._utils", "_rebuild_tensor_V2"),
        ("torch._utils", "importlib"),
        ("torch._utils", "sys"),
        ("torch.nn.modules.module", "functools"),
        ("torch.nn.functional", "importlib"),
        ("torch.storage", "io"),
        ("torch.serialization", "os"),
        ("collections", "namedtuple"),
        ("collections", "_sys"),
        ("argparse", "_os"),
        ("argparse", "ArgumentParser"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy", "size"),
        ("pathlib", "Path.touch"),
        ("datetime", "sys"),
        ("random", "_os"),
        ("torch.nn.modules.linear", "Linear.forward.__globals__"),
        ("__torch__.a", "__class__.__init__"),
        ("builtins", "type"),
        ("copyreg", "pickle"),
        ("torch", "unheard_of"),
        ("transformers.models.x", "Model.from_pretrained"),
        ("shop.tools", "run_command"),
        ("shop", "a b"),
        ("shop", ""),
        ("", "system"),
        ("shop;import os", "x"),
    ],
)
def test_near_misses_are_not_harmless(module, name):
    assert grave(POLICY.judge(module, name).level) >= grave(SUSPICIOUS)
    assert not harmless(module, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [("__main__", "Net"), ("shop.models", "Net"), ("shop", "Outer.Inner"), ("sklearn.linear_model._base", "LinearRegression"),
     ("torch.optim.adamw", "AdamW"), ("transformers.training_args", "TrainingArguments"), ("ultralytics.nn.tasks", "DetectionModel")],
)  # fmt: skip
def test_names_of_other_packages_are_unknown(module, name):
    assert POLICY.judge(module, name).level == UNKNOWN


def test_the_standard_library_is_suspicious_where_no_row_says_otherwise():
    """Whatever a new version of Python brings is not harmless before somebody has looked at it."""
    for module in sys.stdlib_module_names:
        judged = POLICY.judge(module, "zebra")
        assert grave(judged.level) >= grave(SUSPICIOUS), module
    assert is_standard("mailcap")
    assert is_standard("_interpreters")


def test_python_2_names_mean_what_python_3_calls_them():
    assert POLICY.judge("__builtin__", "eval").level == DANGEROUS
    assert POLICY.judge("__builtin__", "set").level == SAFE
    assert POLICY.judge("copy_reg", "_reconstructor").level == SAFE
    assert POLICY.judge("commands", "getoutput").level == DANGEROUS


def test_python_2_names_are_those_that_python_itself_maps():
    import _compat_pickle

    modules = {old: new for old, new in PYTHON2.items() if old != "exceptions"}
    assert modules == _compat_pickle.IMPORT_MAPPING
    for (module, name), new in _compat_pickle.NAME_MAPPING.items():
        assert imported_as(module, name) == new
    assert set(PYTHON2_NAMES) <= set(_compat_pickle.NAME_MAPPING)
    assert imported_as("torch", "Tensor") == ("torch", "Tensor")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch.ao.quantization.fx._equalize", "GraphModule"),
        ("torch.ao.quantization.fx._equalize", "Node"),
        ("torch.ao.quantization.fx._lower_to_native_backend", "Graph"),
        ("torch.ao.quantization.fx._decomposed", "Library"),
        ("torch.ao.quantization.fx.tracer", "Tracer"),
        ("torch.ao.quantization.fx.graph_module", "ObservedGraphModule"),
        ("torch.nn.modules.linear_cross_entropy_options", "NamedTuple"),
        ("torch.nn.modules.anything", "NamedTuple"),
        ("numpy.linalg._linalg", "NamedTuple"),
        ("torch.fx.graph_module", "GraphModule"),
        ("torch.fx.graph", "Graph"),
        ("torch.fx.node", "Node"),
        ("torch.distributed", "TCPStore"),
        ("torch._C._distributed_c10d", "FileStore"),
        ("torch.storage", "_load_from_bytes"),
        ("__builtin__", "reduce"),
        ("itertools", "imap"),
        ("torch.cuda.memory", "CUDAPluggableAllocator"),
        ("torch.xpu.memory", "XPUPluggableAllocator"),
        ("torch.cuda", "CUDAPluggableAllocator"),
        ("torch.cuda.gds", "GdsFile"),
        ("torch.backends.xeon.run_cpu", "_CPUinfo"),
        ("torch._vendor.quack.autotuner", "FileCacheManager"),
        ("torch.ao.ns._numeric_suite", "Shadow"),
        ("torch.quantization._numeric_suite", "Shadow"),
        ("torch.distributed._shard.sharded_optim.api", "ShardedOptimizer"),
        ("torch._higher_order_ops.wrap", "Wrap"),
        ("torch.fx.passes._tensorify_python_scalars", "Integer"),
        ("torch._subclasses.fake_tensor", "TypedDict"),
        ("torch._prims.debug_prims", "ContentStoreReader"),
        ("torch._lazy.closure", "Queue"),
        ("torch.distributed.pipelining._IR", "Signature"),
    ],
)
def test_names_that_lead_to_code_by_another_name(module, name):
    assert grave(POLICY.judge(module, name).level) >= grave(SUSPICIOUS)


@pytest.mark.parametrize(
    ("module", "name"),
    [("torch.nn.modules.activation", "F"), ("torch.nn.modules.module", "Callable"), ("torch.nn.modules.new", "Layer"),
     ("torch.ao.quantization.fx.custom_config", "PrepareCustomConfig"), ("joblib.numpy_pickle", "NDArrayWrapper"),
     ("torch.distributed.device_mesh", "DeviceMesh"), ("torch.distributed._shard.sharded_tensor.api", "ShardedTensor")],
)  # fmt: skip
def test_what_nobody_has_read_is_unknown(module, name):
    assert POLICY.judge(module, name).level == UNKNOWN


@pytest.mark.parametrize(
    ("module", "name"),
    [("torch.nn.modules.linear", "Linear"), ("torch.ao.nn.quantized.modules.conv", "Conv2d"), ("torch.nn.qat.modules.conv", "Conv2d"),
     ("torch.nn.quantized.dynamic.modules.rnn", "LSTM"), ("torch.quantization.observer", "MinMaxObserver"),
     ("torch.nn.modules.transformer", "TransformerEncoderLayer"), ("numpy.dtypes", "StringDType"), ("torch", "BFloat16Storage"),
     ("torch.distributed.checkpoint.metadata", "Metadata"), ("scipy.sparse._csr", "csr_matrix"), ("scipy.sparse.csr", "csr_matrix")],
)  # fmt: skip
def test_what_honest_files_hold_is_safe(module, name):
    assert POLICY.judge(module, name).level == SAFE


@pytest.mark.parametrize("row", [*SAFE_ROWS, *DANGEROUS_ROWS], ids=lambda row: row[0] + " " + row[1][:20])
def test_every_reason_ends_a_sentence_that_begins_with_the_name(row):
    assert ": " not in row[3]
    verb = row[3].split()[0].rstrip(",")
    assert verb.endswith("s") or verb in ("can", "may"), row[3]


@pytest.mark.parametrize(
    ("path", "level"),
    [
        ("sympy.parsing.sympy_parser.eval_expr", DANGEROUS), ("sympy.sin", DANGEROUS), ("sympy.Matrix", DANGEROUS),
        ("sympy.simplify", DANGEROUS), ("sympy.core.symbol.Symbol", SUSPICIOUS), ("sympy.core.sympify.sympify", DANGEROUS),
        ("mpmath.libmp.backend.exec_", DANGEROUS), ("mpmath.mpf", SUSPICIOUS),
        ("typing_extensions.get_type_hints", DANGEROUS), ("typing_extensions.Annotated", SUSPICIOUS),
        ("networkx.write_gml", DANGEROUS), ("networkx.readwrite.gml.write_gml", DANGEROUS), ("networkx.Graph", UNKNOWN),
        ("networkx.utils.decorators.argmap", DANGEROUS), ("networkx.compose", SUSPICIOUS),
        ("filelock.FileLock", SUSPICIOUS), ("filelock._soft.SoftFileLock", SUSPICIOUS),
        ("safetensors.torch.save_file", DANGEROUS), ("safetensors.safe_open", DANGEROUS), ("safetensors.SafetensorError", UNKNOWN),
        ("jinja2.Template", DANGEROUS), ("fsspec.core.open", DANGEROUS), ("yaml.load", DANGEROUS), ("triton.jit", DANGEROUS),
        ("tqdm.utils._screen_shape_linux", DANGEROUS), ("tqdm.contrib.telegram.tqdm", DANGEROUS), ("tqdm.std.tqdm", SUSPICIOUS),
        ("regex._regex.compile", SUSPICIOUS), ("accelerate.utils.other.load", DANGEROUS), ("accelerate.state.AcceleratorState", UNKNOWN),
        ("peft.utils.save_and_load.torch_load", DANGEROUS), ("peft.tuners.lora.config.LoraConfig", UNKNOWN),
        ("datasets.load_dataset", DANGEROUS), ("datasets.arrow_dataset.Dataset", UNKNOWN), ("PIL.ImageMath.eval", DANGEROUS),
        ("PIL.Image.open", DANGEROUS), ("PIL.Image.Image", UNKNOWN), ("matplotlib.pyplot.savefig", DANGEROUS),
        ("scipy.LowLevelCallable", DANGEROUS), ("sklearn.linear_model._base.LinearRegression", UNKNOWN),
        ("joblib.numpy_pickle.load", DANGEROUS), ("joblib.parallel.Parallel", DANGEROUS), ("onnx.hub.load", DANGEROUS),
        ("transformers.utils.import_utils._LazyModule", SUSPICIOUS), ("_distutils_hack.enabled", DANGEROUS),
        ("torch.PyTorchFileWriter", DANGEROUS), ("torch.PyTorchFileReader", DANGEROUS), ("torch.CompilationUnit", DANGEROUS),
        ("torch.ScriptModule", DANGEROUS), ("torch._C.ScriptModuleSerializer", DANGEROUS), ("torch.import_ir_module", DANGEROUS),
        ("torch._C._aoti.AOTIModelPackageLoader", DANGEROUS), ("torch._C._pickle_load_obj", DANGEROUS),
        ("torch._C._construct_storage_from_data_pointer", DANGEROUS), ("torch._from_blob", DANGEROUS),
        ("torch.distributed.checkpoint.filesystem.FileSystemWriter", DANGEROUS), ("torch._C._distributed_c10d._WorkerServer", DANGEROUS),
    ],
)  # fmt: skip
def test_packages_that_stand_beside_models(path, level):
    module, _, name = path.rpartition(".")
    assert POLICY.judge(module, name).level == level


@pytest.mark.parametrize("name", ["__builtins__", "__builtins__.eval", "Net.__init__.__globals__", "__loader__"])
def test_special_attributes_of_the_script_are_dangerous_as_well(name):
    assert POLICY.judge("__main__", name).level == DANGEROUS
    assert POLICY.judge("shop.__main__", name).level == DANGEROUS
    assert POLICY.judge("shop.__main__", "Net").level == UNKNOWN


def test_constants_of_torch_by_the_way_that_it_pickles_them():
    assert POLICY.judge("torch._utils", "torch.channels_last").level == SAFE
    assert POLICY.judge("torch.storage", "torch.contiguous_format").level == SAFE
    assert POLICY.judge("shop", "torch.channels_last").level == UNKNOWN
    assert POLICY.judge("torch._utils", "torch.load").level == DANGEROUS
    assert grave(POLICY.judge("torch._utils", "torch.hub.load").level) >= grave(SUSPICIOUS)


@pytest.mark.parametrize(
    "path",
    ["builtins.ValueError", "exceptions.KeyError", "os.stat_result", "time.struct_time", "ipaddress.IPv4Address", "numpy.record"],
)  # fmt: skip
def test_plain_data_of_the_standard_library_is_safe(path):
    module, _, name = path.rpartition(".")
    assert POLICY.judge(module, name).level == SAFE


@pytest.mark.parametrize(
    "path",
    ["collections.ChainMap", "collections.UserDict", "zoneinfo.ZoneInfo", "re._compile", "logging.getLogger",
     "pandas._libs.internals._unpickle_block", "pandas.core.indexes.base._new_Index", "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked",
     "pandas._libs.tslibs.timestamps._unpickle_timestamp", "torch.utils.data.dataset.TensorDataset",
     "torch.utils.data.distributed.DistributedSampler", "torch._C._VariableFunctionsClass"],
)  # fmt: skip
def test_what_training_code_pickles_is_unknown_at_worst(path):
    module, _, name = path.rpartition(".")
    assert POLICY.judge(module, name).level == UNKNOWN


def test_gravest():
    assert gravest([SAFE, DANGEROUS, UNKNOWN]) == DANGEROUS
    assert gravest([]) == SAFE


def test_a_policy_of_ones_own_comes_first(tmp_path):
    file = tmp_path / "ours.toml"
    file.write_text(
        '[[allow]]\nnames = ["shop.Net", "shop.layers.*"]\nreason = "ours"\n[[suspect]]\nnames = "old.Thing"\nreason = "old"\n'
        '[[deny]]\nnames = ["collections.OrderedDict"]\nreason = "no"\n'
    )
    policy = read_policy(str(file))
    assert policy.judge("shop", "Net") == (SAFE, "ours (allowed by ours.toml)", "ours.toml")
    assert policy.judge("old", "Thing").reason == "old (ours.toml)"
    assert policy.judge("torch", "Tensor").by == ""
    assert policy.judge("shop.layers.deep", "Any").level == SAFE
    assert policy.judge("shop", "Other").level == UNKNOWN
    assert policy.judge("old", "Thing").level == SUSPICIOUS
    assert policy.judge("collections", "OrderedDict").level == DANGEROUS
    assert policy.judge("shop.layers", "os.system").level == DANGEROUS


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"alow": []}, "is none of allow, suspect, deny"),
        ({"allow": {"names": "a.b"}}, "a list of tables"),
        ({"allow": [{"names": ["a.b"]}]}, "say why"),
        ({"allow": [{"names": ["nodots"], "reason": "x"}]}, "needs names like"),
        ({"allow": [{"names": [], "reason": "x"}]}, "needs names like"),
        ({"allow": [{"names": ["a.b"], "reason": "x", "level": 1}]}, "holds names"),
        ({"allow": ["a.b"]}, "holds names"),
        ({"allow": [{"names": ["*.*"], "reason": "x"}]}, r"'\*\.\*' can match nothing: a star stands only at the end"),
        ({"allow": [{"names": ["shop.*.Net"], "reason": "x"}]}, "a star stands only at the end"),
        ({"deny": [{"names": ["a.b", "shop."], "reason": "x"}]}, "'shop.' can match nothing"),
        ({"deny": [{"names": ["shop..Net"], "reason": "x"}]}, "'shop.' is no name of a module"),
        ({"deny": [{"names": [".Net"], "reason": "x"}]}, "'' is no name of a module"),
        ({"deny": [{"names": ["shop.Ne?"], "reason": "x"}]}, "'Ne\\?' is no name"),
        ({"deny": [{"names": ["shop.1Net"], "reason": "x"}]}, "'1Net' is no name"),
        ({"deny": [{"names": ["shöp.Net"], "reason": "x"}]}, "letters beyond ASCII"),
        ({"suspect": [{"names": ["shop.my-Net"], "reason": "x"}]}, "is no name"),
    ],
)
def test_a_policy_that_is_not_understood(document, said):
    with pytest.raises(SettingsError, match=said):
        rows(document, "ours.toml")


@pytest.mark.parametrize(
    ("name", "module", "imported"),
    [
        ("shop.models", "shop.models", "Net"),
        ("shop.models", "shop.models.deep", "Net"),
        ("shop.rebuild", "shop", "rebuild"),
        ("shop.Outer.Inner", "shop", "Outer.Inner"),
        ("shop.Outer.Inner", "shop.Outer", "Inner"),
        ("shop.Net*", "shop", "NetOfTwo"),
        ("shop.[A-Z]*", "shop", "Net"),
        ("subprocess.Popen", "commands", "Popen"),
        ("commands.Popen", "commands", "Popen"),
        ("__main__.Net", "__main__", "Net"),
    ],
)
def test_what_a_policy_names_is_found(name, module, imported):
    policy = Policy(rows({"allow": [{"names": [name], "reason": "ours"}]}, "ours.toml"), "ours.toml")
    assert policy.judge(module, imported)[0::2] == (SAFE, "ours.toml")
    assert standard_policy().judge(module, imported).level != SAFE
    assert policy.judge("shop", "other_thing").level == UNKNOWN
    assert policy.judge("shops", "Net").level == UNKNOWN


def test_a_class_is_no_module():
    policy = Policy(rows({"allow": [{"names": ["shop.Net"], "reason": "ours"}]}, "ours.toml"), "ours.toml")
    assert policy.judge("shop.Net.deep", "Any").level == UNKNOWN


def test_a_policy_that_cannot_be_read(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        read_policy(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="no TOML"):
        read_policy(str(tmp_path / "bad.toml"))


def test_rows_given_extra_win():
    assert Policy([("os", "system", SAFE, "of course")]).judge("os", "system").level == SAFE


@pytest.mark.parametrize(
    "path",
    [
        "pathlib Path.write_text", "pathlib PosixPath.write_bytes", "pathlib Path.unlink", "pathlib Path.rename", "pathlib Path.replace",
        "pathlib Path.open", "pathlib Path.touch", "pathlib Path.symlink_to", "pathlib Path.chmod", "pathlib Path.rmdir",
        "pathlib._local Path.write_text", "pathlib._local WindowsPath.mkdir", "numpy ndarray.tofile", "numpy ndarray.dump",
        "numpy.core.multiarray ndarray.tofile", "numpy.ma.core MaskedArray.tofile", "numpy.core.records fromfile", "numpy.lib DataSource",
        "torch FloatStorage.from_file", "torch UntypedStorage._write_file", "torch._C StorageBase._write_file",
        "torch.fx.graph_module GraphModule.to_folder", "torch.cuda.memory _dump_snapshot", "torch.cuda.tunable write_file",
        "torch.distributed.distributed_c10d init_process_group", "torch.distributed.checkpoint.format_utils dcp_to_torch_save",
        "torch._export aot_load", "torch.utils.file_baton FileBaton", "torch.utils.hipify.hipify_python hipify", "pandas DataFrame.to_csv",
        "pandas.core.series Series.to_pickle", "scipy.sparse save_npz", "plistlib writePlist", "transformers PreTrainedModel.save_pretrained",
        "tensorflow.python.lib.io.file_io write_string_to_file", "torchvision.utils save_image", "ray init", "filelock FileLock.acquire",
        "numba.core.serialize _unpickle__CustomPickled",
    ],
)  # fmt: skip
def test_what_writes_or_deletes_files_or_starts_something_is_dangerous(path):
    module, name = path.split()
    assert POLICY.judge(module, name).level == DANGEROUS


@pytest.mark.parametrize("name", ["Path", "PosixPath", "PurePath", "PurePosixPath", "WindowsPath", "PureWindowsPath"])
def test_a_path_by_itself_is_harmless(name):
    assert POLICY.judge("pathlib", name).level == SAFE
    assert POLICY.judge("pathlib", f"{name}.joinpath").level == SUSPICIOUS


@pytest.mark.parametrize(
    "path",
    ["pathlib os.system", "json decoder.scanner.re.enum.sys.modules", "warnings linecache.os.system", "types sys.modules", "random _os.system",
     "torch.utils.data os.system", "copy copy.__globals__", "json load.__globals__", "numpy.lib os.system", "string _sys.modules"],
)  # fmt: skip
def test_what_is_reached_through_a_suspicious_module_is_judged_by_itself(path):
    module, name = path.split()
    assert POLICY.judge(module, name).level == DANGEROUS
