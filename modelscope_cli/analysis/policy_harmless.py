"""The policy on what is harmless: what torch's weights-only loader allows, and what honest files need besides.

Data, to be reviewed row by row (what a row is: policy_levels). Exact names wherever a module holds anything else: most modules
of torch have `sys`, `importlib` or `os` among their attributes. Sources: torch/_weights_only_unpickler.py, torch/_utils.py,
numpy's and Python's own __reduce__ methods.
"""

from __future__ import annotations

from modelscope_cli.analysis.policy_levels import Row
from modelscope_cli.core.scan_codes import SAFE, UNKNOWN

_REBUILDS = "rebuilds data"
_DATA = "is a plain data type"
_LAYER = "is a layer of torch, rebuilt without calling its code"
_NUMBERS = "computes with tensors only"

SAFE_ROWS: tuple[Row, ...] = (
    (
        "builtins",
        "set frozenset dict list tuple int float bool str bytes bytearray complex slice object range long unicode basestring "
        "xrange NoneType Ellipsis NotImplemented",
        SAFE, _DATA,
    ),
    ("collections", "OrderedDict defaultdict Counter deque", SAFE, _DATA),
    ("collections.abc", "OrderedDict", SAFE, _DATA),
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
        "dtype ndarray matrix recarray bool_ bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 intc uintc intp uintp "
        "longlong ulonglong float16 float32 float64 float128 longdouble complex64 complex128 complex256 str_ bytes_ void "
        "datetime64 timedelta64 object_",
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
    ("numpy.dtypes", "[A-Z]*DType", SAFE, _DATA),
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
    ("numpy.random._mt19937", "MT19937", SAFE, "is the state of a random number generator"),
    ("numpy.random._pcg64", "PCG64 PCG64DXSM", SAFE, "is the state of a random number generator"),
    ("numpy.random._philox", "Philox", SAFE, "is the state of a random number generator"),
    ("numpy.random._sfc64", "SFC64", SAFE, "is the state of a random number generator"),
    (
        "numpy.random.bit_generator",
        "SeedSequence __pyx_unpickle_SeedSequence",
        SAFE, "is the state of a random number generator",
    ),
    (
        "scipy.sparse.*",
        "csr_matrix csc_matrix coo_matrix lil_matrix dok_matrix bsr_matrix dia_matrix csr_array csc_array coo_array lil_array "
        "dok_array bsr_array dia_array",
        SAFE, _DATA,
    ),
    ("joblib.numpy_pickle", "NumpyArrayWrapper NDArrayWrapper ZNDArrayWrapper", SAFE, "stands for an array whose bytes follow"),
    (
        "sklearn.externals.joblib.numpy_pickle",
        "NumpyArrayWrapper NDArrayWrapper ZNDArrayWrapper",
        SAFE, "stands for an array whose bytes follow",
    ),
    ("omegaconf.dictconfig", "DictConfig", SAFE, _DATA),
    ("omegaconf.listconfig", "ListConfig", SAFE, _DATA),
    ("omegaconf.base", "Metadata ContainerMetadata", SAFE, _DATA),
    ("omegaconf.nodes", "AnyNode StringNode IntegerNode FloatNode BooleanNode EnumNode", SAFE, _DATA),
    # torch
    (
        "torch",
        "Size device Tensor memory_format layout dtype qscheme contiguous_format channels_last channels_last_3d preserve_format "
        "strided sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc _mkldnn jagged",
        SAFE, _DATA,
    ),
    ("torch", "*Storage *Tensor", SAFE, _DATA),
    ("torch.cuda", "*Storage *Tensor", SAFE, _DATA),
    ("torch.sparse", "*Storage *Tensor", SAFE, _DATA),
    ("torch.cuda.sparse", "*Storage *Tensor", SAFE, _DATA),
    ("torch.xpu", "*Storage *Tensor", SAFE, _DATA),
    (
        "torch",
        "float float16 float32 float64 half double bfloat16 cfloat cdouble chalf complex32 complex64 complex128 uint8 int8 "
        "int16 int32 int64 short int long bool uint16 uint32 uint64 quint8 qint8 qint32 quint4x2 quint2x4",
        SAFE, _DATA,
    ),
    ("torch", "int[1-7] uint[1-7] bits8 bits16 bits1x8 bits2x4 bits4x2 float8_* float4_*", SAFE, _DATA),
    (
        "torch",
        "per_tensor_affine per_channel_affine per_tensor_symmetric per_channel_symmetric per_channel_affine_float_qparams",
        SAFE, _DATA,
    ),
    (
        "torch",
        "relu tanh sigmoid softmax exp log sqrt square sin cos abs neg sum mean add mul sub div matmul nn_gelu silu gelu erf "
        "clamp max min",
        SAFE, _NUMBERS,
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
    ("torch.storage", "_load_from_bytes", SAFE, "opens a torch file inside the pickle, which is judged by itself"),
    ("torch.serialization", "_get_layout", SAFE, _REBUILDS),
    ("torch.nn.parameter", "Parameter Buffer UninitializedParameter UninitializedBuffer", SAFE, _DATA),
    ("torch.nn.backends.thnn", "_get_thnn_function_backend", SAFE, _REBUILDS),
    ("torch.nn.modules.*", "[A-Z]*", SAFE, _LAYER),
    ("torch.nn.quantized.*", "[A-Z]*", SAFE, _LAYER),
    ("torch.nn.qat.*", "[A-Z]*", SAFE, _LAYER),
    ("torch.nn.intrinsic.*", "[A-Z]*", SAFE, _LAYER),
    ("torch.ao.nn.*", "[A-Z]*", SAFE, _LAYER),
    ("torch.ao.quantization.*", "[A-Z]*", SAFE, _LAYER),
    ("torch.nn.utils.parametrize", "[A-Z]*", SAFE, _LAYER),
    (
        "torch.nn.functional",
        "relu relu6 gelu silu mish elu selu celu leaky_relu prelu hardswish hardsigmoid hardtanh softplus softmax log_softmax "
        "sigmoid logsigmoid tanh tanhshrink glu softsign dropout cross_entropy mse_loss l1_loss smooth_l1_loss nll_loss "
        "binary_cross_entropy binary_cross_entropy_with_logits kl_div huber_loss normalize interpolate pad linear",
        SAFE, _NUMBERS,
    ),
    (
        "torch._C._nn",
        "gelu silu relu6 hardswish hardsigmoid hardtanh leaky_relu elu softplus mish linear log_sigmoid",
        SAFE, _NUMBERS,
    ),
    (
        "torch.nn.init",
        "xavier_uniform_ xavier_normal_ kaiming_uniform_ kaiming_normal_ normal_ uniform_ zeros_ ones_ constant_ orthogonal_ "
        "trunc_normal_",
        SAFE, _NUMBERS,
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
        "torch.distributed.checkpoint.*",
        "Metadata TensorStorageMetadata BytesStorageMetadata ChunkStorageMetadata TensorProperties MetadataIndex StorageMeta "
        "_StorageInfo _MEM_FORMAT_ENCODING MEM_FORMAT_ENCODING",
        SAFE, _DATA,
    ),
    (
        "torch.distributed._shard.*",
        "ShardedTensor ShardedTensorMetadata ShardMetadata TensorProperties MEM_FORMAT_ENCODING ChunkShardingSpec "
        "EnumerableShardingSpec",
        SAFE, _DATA,
    ),
    ("torch.distributed.remote_device", "_remote_device", SAFE, _DATA),
    (
        "torch.distributed.tensor.*",
        "DTensor DTensorSpec TensorMeta ShardOrderEntry DeviceMesh Partial Replicate Shard _StridedShard _Partial Placement",
        SAFE, _DATA,
    ),
    (
        "torch.distributed._tensor.*",
        "DTensor DTensorSpec TensorMeta DeviceMesh Partial Replicate Shard _StridedShard _Partial Placement",
        SAFE, _DATA,
    ),
    ("torch.distributed.device_mesh", "DeviceMesh _MeshLayout", SAFE, _DATA),
    ("torch.distributed._mesh_layout", "_MeshLayout _FlatLayout", SAFE, _DATA),
    ("torch._C._distributed_c10d", "[A-Z]*", UNKNOWN, "is a class of torch's native core"),
)  # fmt: skip
