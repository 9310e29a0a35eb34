"""The policy on what is harmless: what torch's weights-only loader allows, and what honest files need besides.

Data, to be reviewed row by row (what a row is: policy_levels). Exact names wherever a module holds anything else: most modules
of torch have `sys`, `importlib` or `os` among their attributes. Sources: torch/_weights_only_unpickler.py, torch/_utils.py,
numpy's and Python's own __reduce__ methods.
"""

from __future__ import annotations

from modelscope_cli.analysis.policy_layers import LAYER_ROWS
from modelscope_cli.analysis.policy_levels import Row
from modelscope_cli.core.scan_codes import SAFE, UNKNOWN

_REBUILDS = "rebuilds data"
_DATA = "is a plain data type"
NUMBERS = "computes with tensors only"
_CLASSES = (
    "BFloat16", "Bool", "Byte", "Char", "ComplexDouble", "ComplexFloat", "Double", "Float", "Half", "Int", "Long", "QInt32",
    "QInt8", "QUInt2x4", "QUInt4x2", "QUInt8", "Short",
)  # fmt: skip
_STORAGES = " ".join(f"{kind}Storage" for kind in _CLASSES)
_TENSORS = " ".join(f"{kind}Tensor" for kind in _CLASSES if not kind.startswith(("Complex", "Q")))
_NUMPY_KINDS = (
    "Bool", "Byte", "Bytes", "CLongDouble", "Complex128", "Complex64", "DateTime64", "Float16", "Float32", "Float64", "Int16",
    "Int32", "Int64", "Int8", "Int", "Long", "LongDouble", "LongLong", "Object", "Short", "Str", "String", "TimeDelta64", "UByte",
    "UInt16", "UInt32", "UInt64", "UInt8", "UInt", "ULong", "ULongLong", "UShort", "Void",
)  # fmt: skip
SCALARS = (
    "bool_ bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 intc uintc intp uintp longlong ulonglong float16 float32 float64 "
    "float128 longdouble complex64 complex128 complex256 clongdouble str_ bytes_ void datetime64 timedelta64 object_"
)
_SPARSE = ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")
_CHECKPOINT = "torch.distributed.checkpoint"
_TENSOR = ("torch.distributed.tensor", "torch.distributed._tensor")  # the second one until torch 2.4

_ERRORS = (
    "ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError BrokenPipeError BufferError "
    "BytesWarning ChildProcessError ConnectionAbortedError ConnectionError ConnectionRefusedError ConnectionResetError "
    "DeprecationWarning EOFError EncodingWarning Exception ExceptionGroup FileExistsError FileNotFoundError FloatingPointError "
    "FutureWarning GeneratorExit ImportError ImportWarning IndentationError IndexError InterruptedError IsADirectoryError KeyError "
    "KeyboardInterrupt LookupError MemoryError ModuleNotFoundError NameError NotADirectoryError NotImplementedError OSError "
    "OverflowError PendingDeprecationWarning PermissionError ProcessLookupError RecursionError ReferenceError ResourceWarning "
    "RuntimeError RuntimeWarning StopAsyncIteration StopIteration SyntaxError SyntaxWarning SystemError SystemExit TabError "
    "TimeoutError TypeError UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError UnicodeTranslateError UnicodeWarning "
    "UserWarning ValueError Warning ZeroDivisionError"
)
_PANDAS = (
    ("pandas._libs.internals", "_unpickle_block BlockManager SharedBlock NumpyBlock Block BlockPlacement"),
    ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked NDArrayBacked"),
    ("pandas._libs.interval", "__pyx_unpickle_IntervalMixin Interval"),
    ("pandas._libs.tslibs.nattype", "_nat_unpickle __nat_unpickle"),
    ("pandas._libs.tslibs.timedeltas", "_timedelta_unpickle Timedelta"),
    ("pandas._libs.tslibs.timestamps", "_unpickle_timestamp Timestamp"),
    ("pandas._libs.tslibs.offsets", "__pyx_unpickle_BaseOffset _offset_unpickle"),
    ("pandas._libs.missing", "NAType"),
    ("pandas.core.indexes.base", "_new_Index"),
    ("pandas.core.indexes.datetimes", "_new_DatetimeIndex"),
    ("pandas.core.indexes.period", "_new_PeriodIndex"),
    ("pandas.core.indexes.interval", "_new_IntervalIndex"),
    ("pandas.core.indexes.timedeltas", "_new_TimedeltaIndex"),
)

SAFE_ROWS: tuple[Row, ...] = (
    (
        "builtins",
        "set frozenset dict list tuple int float bool str bytes bytearray complex slice object range long unicode basestring "
        "xrange NoneType Ellipsis NotImplemented",
        SAFE, _DATA,
    ),
    ("collections", "OrderedDict defaultdict Counter deque", SAFE, _DATA),
    ("copyreg", "_reconstructor __newobj__ __newobj_ex__", SAFE, "rebuilds an object of a class, which is judged by itself"),
    ("_codecs", "encode", SAFE, "makes bytes of text, as protocol 2 writes them"),
    ("argparse", "Namespace", SAFE, _DATA),
    ("types", "SimpleNamespace NoneType MappingProxyType", SAFE, _DATA),
    (
        "pathlib",
        "PosixPath WindowsPath PurePosixPath PureWindowsPath PurePath Path",
        SAFE, "is a path, which opens nothing by itself",
    ),
    (
        "pathlib._local",
        "PosixPath WindowsPath PurePosixPath PureWindowsPath PurePath Path",
        SAFE, "is a path, which opens nothing by itself",
    ),
    ("datetime", "datetime date time timedelta timezone", SAFE, _DATA),
    ("decimal", "Decimal", SAFE, _DATA),
    ("fractions", "Fraction", SAFE, _DATA),
    ("builtins", _ERRORS, SAFE, "is an exception, which unpickling makes and does not raise"),
    ("os", "stat_result", SAFE, _DATA),
    ("time", "struct_time", SAFE, _DATA),
    ("ipaddress", "IPv4Address IPv6Address IPv4Network IPv6Network IPv4Interface IPv6Interface", SAFE, _DATA),
    ("collections", "ChainMap UserDict UserList UserString", UNKNOWN, "wraps another container"),
    ("zoneinfo", "ZoneInfo ZoneInfo._unpickle", UNKNOWN, "reads a time zone of the system by its name"),
    ("backports.zoneinfo", "ZoneInfo ZoneInfo._unpickle", UNKNOWN, "reads a time zone of the system by its name"),
    ("numbers", "Number Integral Real", SAFE, _DATA),
    ("uuid", "UUID SafeUUID", SAFE, _DATA),
    ("array", "array _array_reconstructor", SAFE, _DATA),
    ("random", "Random", SAFE, "is the state of a random number generator"),
    ("io", "BytesIO StringIO", SAFE, "is memory, not a file"),
    ("_io", "BytesIO StringIO", SAFE, "is memory, not a file"),
    ("itertools", "count repeat chain", SAFE, "counts"),
    (
        "typing",
        "Any Dict List Tuple Set FrozenSet Optional Union Callable Literal Sequence Mapping Iterable Type",
        SAFE, "is an annotation",
    ),
    ("string", "ascii_letters digits", SAFE, _DATA),
    # NumPy
    (
        "numpy",
        f"dtype ndarray matrix recarray record {SCALARS}",
        SAFE, _DATA,
    ),
    ("numpy.core.multiarray", "_reconstruct scalar", SAFE, _REBUILDS),
    ("numpy._core.multiarray", "_reconstruct scalar", SAFE, _REBUILDS),
    ("numpy.core.numeric", "_frombuffer", SAFE, _REBUILDS),
    ("numpy._core.numeric", "_frombuffer", SAFE, _REBUILDS),
    ("numpy.core._internal", "_convert_to_stringdtype_kwargs", SAFE, _REBUILDS),
    ("numpy._core._internal", "_convert_to_stringdtype_kwargs", SAFE, _REBUILDS),
    ("numpy.core.records", "recarray record", SAFE, _DATA),
    ("numpy._core.records", "recarray record", SAFE, _DATA),
    ("numpy.rec", "recarray record", SAFE, _DATA),
    ("numpy.dtypes", " ".join(f"{kind}DType" for kind in _NUMPY_KINDS), SAFE, _DATA),
    ("numpy.ma", "MaskedArray", SAFE, _DATA),
    ("numpy.ma.core", "_mareconstruct MaskedArray MaskedConstant", SAFE, _REBUILDS),
    ("numpy.matrixlib.defmatrix", "matrix", SAFE, _DATA),
    (
        "numpy.random._pickle",
        "__randomstate_ctor __generator_ctor __bit_generator_ctor",
        SAFE, "is the state of a random number generator",
    ),
    (
        "numpy.random",
        "__RandomState_ctor RandomState Generator MT19937 PCG64 PCG64DXSM Philox SFC64",
        SAFE, "is the state of a random number generator",
    ),
    ("numpy.random.mtrand", "RandomState __RandomState_ctor", SAFE, "is the state of a random number generator"),
    ("numpy.random._generator", "Generator", SAFE, "is the state of a random number generator"),
    ("numpy.random._mt19937", "MT19937", SAFE, "is the state of a random number generator"),
    ("numpy.random._pcg64", "PCG64 PCG64DXSM", SAFE, "is the state of a random number generator"),
    ("numpy.random._philox", "Philox", SAFE, "is the state of a random number generator"),
    ("numpy.random._sfc64", "SFC64", SAFE, "is the state of a random number generator"),
    (
        "numpy.random.bit_generator",
        "SeedSequence __pyx_unpickle_SeedSequence",
        SAFE, "is the state of a random number generator",
    ),
    *((f"scipy.sparse._{kind}", f"{kind}_matrix {kind}_array", SAFE, _DATA) for kind in _SPARSE),
    *((f"scipy.sparse.{kind}", f"{kind}_matrix", SAFE, _DATA) for kind in _SPARSE),  # before scipy 1.8
    *(
        row
        for module in ("joblib.numpy_pickle", "sklearn.externals.joblib.numpy_pickle")
        for row in (
            (module, "NumpyArrayWrapper", SAFE, "stands for an array whose bytes follow"),
            (module, "NDArrayWrapper ZNDArrayWrapper", UNKNOWN, "stands for an array in another file, which joblib unpickles"),
        )
    ),
    ("omegaconf.dictconfig", "DictConfig", SAFE, _DATA),
    ("omegaconf.listconfig", "ListConfig", SAFE, _DATA),
    ("omegaconf.base", "Metadata ContainerMetadata", SAFE, _DATA),
    ("omegaconf.nodes", "AnyNode StringNode IntegerNode FloatNode BooleanNode EnumNode", SAFE, _DATA),
    # pandas, whose classes have not been judged: what its data is rebuilt with
    *((module, names, UNKNOWN, "rebuilds a table or a part of it") for module, names in _PANDAS),
    # torch
    (
        "torch",
        "Size device Tensor memory_format layout dtype qscheme contiguous_format channels_last channels_last_3d preserve_format "
        "strided sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc _mkldnn jagged",
        SAFE, _DATA,
    ),
    ("torch", f"{_STORAGES} {_TENSORS} Storage TypedStorage UntypedStorage", SAFE, _DATA),
    ("torch.cuda", f"{_STORAGES} {_TENSORS}", SAFE, _DATA),
    ("torch.sparse", _TENSORS, SAFE, _DATA),
    ("torch.cuda.sparse", _TENSORS, SAFE, _DATA),
    ("torch.xpu", f"{_STORAGES} {_TENSORS}", SAFE, _DATA),
    (
        "torch",
        "float float16 float32 float64 half double bfloat16 cfloat cdouble chalf complex32 complex64 complex128 uint8 int8 "
        "int16 int32 int64 short int long bool uint16 uint32 uint64 quint8 qint8 qint32 quint4x2 quint2x4",
        SAFE, _DATA,
    ),
    (
        "torch",
        "int1 int2 int3 int4 int5 int6 int7 uint1 uint2 uint3 uint4 uint5 uint6 uint7 bit bits8 bits16 bits1x8 bits2x4 bits4x2 "
        "float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2",
        SAFE, _DATA,
    ),
    (
        "torch",
        "per_tensor_affine per_channel_affine per_tensor_symmetric per_channel_symmetric per_channel_affine_float_qparams",
        SAFE, _DATA,
    ),
    (
        "torch",
        "relu tanh sigmoid softmax exp log sqrt square sin cos abs neg sum mean add mul sub div matmul erf "
        "clamp max min",
        SAFE, NUMBERS,
    ),
    (
        "torch._utils",
        "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter _rebuild_parameter_v2 "
        "_rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor _rebuild_sparse_csr_tensor "
        "_rebuild_nested_tensor _rebuild_meta_tensor_no_storage _rebuild_wrapper_subclass _rebuild_device_tensor_from_numpy "
        "_rebuild_device_tensor_from_cpu_tensor _rebuild_xla_tensor _rebuild_buffer",
        SAFE, _REBUILDS,
    ),
    ("torch._tensor", "_rebuild_from_type _rebuild_from_type_v2 Tensor", SAFE, _REBUILDS),
    ("torch.tensor", "_rebuild_from_type _rebuild_from_type_v2 Tensor", SAFE, _REBUILDS),
    ("torch.storage", "TypedStorage UntypedStorage _TypedStorage _UntypedStorage", SAFE, _DATA),
    ("torch.serialization", "_get_layout", SAFE, _REBUILDS),
    ("torch.nn.parameter", "Parameter Buffer UninitializedParameter UninitializedBuffer", SAFE, _DATA),
    ("torch.nn.backends.thnn", "_get_thnn_function_backend", SAFE, _REBUILDS),
    *LAYER_ROWS,
    (
        "torch.nn.functional",
        "relu relu6 gelu silu mish elu selu celu leaky_relu prelu hardswish hardsigmoid hardtanh softplus softmax log_softmax "
        "sigmoid logsigmoid tanh tanhshrink glu softsign dropout cross_entropy mse_loss l1_loss smooth_l1_loss nll_loss "
        "binary_cross_entropy binary_cross_entropy_with_logits kl_div huber_loss normalize interpolate pad linear",
        SAFE, NUMBERS,
    ),
    (
        "torch._C._nn",
        "gelu silu relu6 hardswish hardsigmoid hardtanh leaky_relu elu softplus mish linear log_sigmoid",
        SAFE, NUMBERS,
    ),
    (
        "torch.optim.lr_scheduler",
        "CyclicLR._triangular_scale_fn CyclicLR._triangular2_scale_fn CyclicLR._exp_range_scale_fn",
        SAFE, NUMBERS,
    ),
    ("torch.amp.grad_scaler", "_refresh_per_optimizer_state", SAFE, _DATA),
    ("torch.cuda.amp.grad_scaler", "_refresh_per_optimizer_state", SAFE, _DATA),
    (
        "torch.nn.init",
        "xavier_uniform_ xavier_normal_ kaiming_uniform_ kaiming_normal_ normal_ uniform_ zeros_ ones_ constant_ orthogonal_ "
        "trunc_normal_",
        SAFE, NUMBERS,
    ),
    ("torch.torch_version", "TorchVersion", SAFE, _DATA),
    ("torch.nested._internal.nested_tensor", "NestedTensor _rebuild_njt", SAFE, _REBUILDS),
    ("torch._dynamo.decorators", "_DimRange", SAFE, _DATA),
    ("torch._prims_common", "_MaybeDimRange", SAFE, _DATA),
    (
        "torch.jit._pickle",
        "build_intlist build_tensorlist build_doublelist build_boollist build_tensor_from_id restore_type_tag",
        SAFE, "is a list in a TorchScript file",
    ),
    ("__torch__.*", "*", SAFE, "is a class of TorchScript, made by torch's own compiler"),
    (
        f"{_CHECKPOINT}.metadata",
        "Metadata TensorStorageMetadata BytesStorageMetadata ChunkStorageMetadata TensorProperties MetadataIndex StorageMeta "
        "_MEM_FORMAT_ENCODING",
        SAFE, _DATA,
    ),
    (f"{_CHECKPOINT}.filesystem", "_StorageInfo", SAFE, _DATA),
    ("torch.distributed._shard.sharded_tensor.metadata", "ShardedTensorMetadata TensorProperties MEM_FORMAT_ENCODING", SAFE, _DATA),
    ("torch.distributed._shard.metadata", "ShardMetadata", SAFE, _DATA),
    ("torch.distributed._shard.sharding_spec.api", "EnumerableShardingSpec", SAFE, _DATA),
    ("torch.distributed._shard.sharding_spec.chunk_sharding_spec", "ChunkShardingSpec", SAFE, _DATA),
    (
        "torch.distributed._shard.sharded_tensor.api",
        "ShardedTensor",
        UNKNOWN, "is a tensor in pieces, which can ask other machines for theirs",
    ),
    ("torch.distributed.remote_device", "_remote_device", SAFE, _DATA),
    ("torch.distributed.tensor", "DTensor", SAFE, _DATA),
    *((f"{root}.{leaf}", "DTensor", SAFE, _DATA) for root in _TENSOR for leaf in ("_api", "api")),
    *((f"{root}._dtensor_spec", "DTensorSpec TensorMeta ShardOrderEntry", SAFE, _DATA) for root in _TENSOR),
    *((f"{root}.placement_types", "Partial Replicate Shard _StridedShard _Partial Placement", SAFE, _DATA) for root in _TENSOR),
    ("torch.distributed._tensor.placement_types", "DTensorSpec TensorMeta", SAFE, _DATA),
    *(
        (module, "DeviceMesh", UNKNOWN, "connects to other machines when it is made anew")
        for module in ("torch.distributed.device_mesh", "torch.distributed._tensor.device_mesh")
    ),
    ("torch.distributed.device_mesh", "_MeshLayout", SAFE, _DATA),
    ("torch.distributed._mesh_layout", "_MeshLayout _FlatLayout", SAFE, _DATA),
)  # fmt: skip
