"""The policy on functions and methods that write, delete or load files, or start something, in modules whose other names are milder.

A method is pickled by the names of its class and itself (`pathlib.Path.write_text`), and a row's name is held against the last of
them as well as against a function of the module. What writes where the file says can overwrite what a shell or Python runs next
time, so it is as grave as what runs at once. (What a row is: policy_levels.)
"""

from __future__ import annotations

from modelscope_cli.analysis.policy_levels import Row
from modelscope_cli.core.scan_codes import DANGEROUS

_WRITES = "writes, moves or deletes the files that it is told"
_LOADS = "reads files and unpickles or runs what is in them"
_NETWORK = "opens network connections"
_PROCESS = "starts processes that run functions"
_NATIVE = "compiles code or loads native libraries"

_PATH_METHODS = (
    "write_text write_bytes open unlink rename replace touch mkdir rmdir symlink_to hardlink_to link_to chmod lchmod "
    "copy copy_into copyfile move move_into delete rmtree _delete _rmtree _copy_from _copy_from_file"
)
_ARRAY_FILES = "tofile dump fromfile memmap DataSource Repository savetxt savez savez_compressed"
_STORAGE_FILES = "from_file _write_file _set_from_file _new_shared_filename_cpu _new_using_filename_cpu"
_TABLE_FILES = (
    "to_csv to_pickle to_json to_excel to_parquet to_hdf to_feather to_stata to_sql to_html to_xml to_latex to_markdown to_orc "
    "to_gbq to_clipboard ExcelWriter HDFStore"
)

WRITER_ROWS: tuple[Row, ...] = (
    # Python itself
    ("pathlib.*", _PATH_METHODS, DANGEROUS, _WRITES),
    ("plistlib", "writePlist readPlist", DANGEROUS, "opens the file that it is told (before Python 3.9)"),
    ("json.tool", "*", DANGEROUS, "is a program that writes files"),
    ("codecs", "EncodedFile StreamRecoder StreamReaderWriter", DANGEROUS, "wraps files"),
    # NumPy and its company
    ("numpy.*", _ARRAY_FILES, DANGEROUS, "reads or writes the file that it is told"),
    ("numpy.lib.*", f"{_ARRAY_FILES} open load save loadtxt genfromtxt safe_eval lookfor", DANGEROUS, _LOADS),
    ("numpy.lib._datasource", "*", DANGEROUS, "opens files and network connections"),
    ("scipy.sparse.*", "save_npz load_npz", DANGEROUS, _LOADS),
    ("pandas.*", _TABLE_FILES, DANGEROUS, _WRITES),
    ("numba.core.serialize", "*", DANGEROUS, "unpickles more data, which can run anything"),
    ("numba.pycc.*", "*", DANGEROUS, _NATIVE),
    # torch
    *((module, _STORAGE_FILES, DANGEROUS, _WRITES) for module in ("torch.*", "torch._C.*")),
    ("torch.fx.*", "to_folder", DANGEROUS, _WRITES),
    ("torch.*", "FxGraphDrawer", DANGEROUS, "starts programs and writes files"),
    ("torch.*", "_dump_snapshot export_chrome_trace export_stacks export_memory_timeline save_to_file", DANGEROUS, _WRITES),
    ("torch.autograd.profiler.*", "load_nvprof", DANGEROUS, "opens databases"),
    ("torch.mps.*", "compile_shader", DANGEROUS, _NATIVE),
    ("torch.cuda.*", "*_dump_snapshot *_file *_filename* compile_* *_compile* *load_module*", DANGEROUS, "writes files or loads code"),
    ("torch.cuda.gds.*", "*", DANGEROUS, _WRITES),
    ("torch._C._autograd", "_ProfilerResult.save", DANGEROUS, _WRITES),
    ("torch._export.*", "aot_* *load* *save* *compile* *deserialize*", DANGEROUS, _LOADS),
    ("torch.utils.hipify.*", "*", DANGEROUS, _WRITES),
    ("torch.utils.show_pickle", "*", DANGEROUS, _LOADS),
    ("torch.utils.model_dump.*", "*", DANGEROUS, _LOADS),
    ("torch.utils.file_baton", "*", DANGEROUS, _WRITES),
    ("torch.utils._zip", "*", DANGEROUS, _WRITES),
    ("torch.utils._get_clean_triton", "*", DANGEROUS, _WRITES),
    ("torch.utils._content_store", "*", DANGEROUS, _WRITES),
    ("torch.utils._cpp_embed_headers", "*", DANGEROUS, _WRITES),
    ("torch.utils._strobelight.*", "*", DANGEROUS, "starts programs"),
    ("torch.utils.jit.*", "*", DANGEROUS, "compiles and runs code"),
    ("torch.utils.bundled_inputs", "*", DANGEROUS, "compiles and runs code"),
    ("torch.fx.passes.graph_drawer", "*", DANGEROUS, "starts programs and writes files"),
    ("torch.fx.passes.graph_transform_observer", "*", DANGEROUS, _WRITES),
    ("torch.fx.passes.graph_manipulation", "*", DANGEROUS, _LOADS),
    (
        "torch.distributed.*",
        "init_process_group *rendezvous* new_group* split_group init_rpc init_device_mesh",
        DANGEROUS, _NETWORK,
    ),
    (
        "torch.distributed.*",
        "save save_state_dict async_save load load_state_dict _load_state_dict* _save_state_dict* dcp_to_torch_save torch_save_to_dcp "
        "consolidate_safetensors*",
        DANGEROUS, "reads and writes files, and unpickles",
    ),
    ("torch.distributed.*", "*object_list* *gather_object *scatter_object* recv_object* *_object *tensor_to_object", DANGEROUS,
     "unpickles what other machines send"),
    ("torch.distributed.nn.*", "instantiate_* get_arg_return_types_from_interface _write _do_instantiate_*", DANGEROUS,
     "writes Python files and imports them"),
    # Other packages beside models
    ("torchvision.utils", "save_image", DANGEROUS, _WRITES),
    ("torchaudio.*", "download_asset *StreamWriter *StreamReader", DANGEROUS, _WRITES),
    ("transformers.*", "save_pretrained save_vocabulary save_model save_state save_metrics push_to_hub to_json_file", DANGEROUS, _WRITES),
    ("diffusers.*", "save_pretrained save_config push_to_hub to_json_file save_lora_weights", DANGEROUS, _WRITES),
    ("tokenizers.*", "save save_model save_pretrained from_file", DANGEROUS, _WRITES),
    ("sentence_transformers.*", "save save_pretrained save_to_hub push_to_hub", DANGEROUS, _WRITES),
    ("sentencepiece.*", "Train* *SaveTo*", DANGEROUS, _WRITES),
    ("tensorflow.python.lib.io.*", "*", DANGEROUS, _WRITES),
    ("tensorflow.*", "gfile GFile FileIO TFRecordWriter write_string_to_file delete_recursively* rmtree create_file_writer save_weights "
     "start_server", DANGEROUS, _WRITES),
    ("jax.profiler", "*", DANGEROUS, "writes files and serves connections"),
    ("jax.distributed.*", "*", DANGEROUS, _NETWORK),
    ("filelock.*", "acquire _acquire release _release", DANGEROUS, "makes, empties and deletes the files that it is told"),
    ("torchgen.*", "[a-z_]*", DANGEROUS, _WRITES),
    ("tensorboard.*", "[a-z_]*", DANGEROUS, "writes files, serves them or starts programs"),
    ("tensorboardX.*", "SummaryWriter FileWriter RecordWriter GlobalSummaryWriter", DANGEROUS, _WRITES),
    ("ray.*", "[a-z_]*", DANGEROUS, _PROCESS),
    ("dask.*", "[a-z_]*", DANGEROUS, "runs functions that it is given, or writes files"),
    ("lark.*", "Lark Lark.* open", DANGEROUS, "keeps pickles in the file that it is told"),
)  # fmt: skip
