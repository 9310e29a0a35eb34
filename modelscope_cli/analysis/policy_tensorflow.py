"""The policy on functions of TensorFlow that a Keras configuration may have called: those that compute, and those that do more.

    {"class_name": "TFOpLambda", "config": {"function": "math.add"}, "inbound_nodes": [["_CONSTANT_VALUE", -1, 1, {"y": 2}]]}

Keras 2 finds the function by the name under which TensorFlow publishes it, `compat.v1.` before those of TensorFlow 1, and calls it
while it builds the model, with constants of the file where the layer has no tensor. So any of its 8,500 names can be called. What is
listed here computes from its arguments alone: whole groups that hold nothing else, and single names. The rows are for what reaches out;
what is in neither has not been judged.

Facts: tensorflow/python/util/tf_export.py (get_symbol_from_name); keras/layers/core/tf_op_layer.py; the names that TensorFlow 2.21
publishes, and which of them Keras wraps in layers (those with `_tf_fallback_dispatchers`).
"""

from __future__ import annotations

from modelscope_cli.analysis.policy_levels import Row
from modelscope_cli.core.scan_codes import DANGEROUS, SUSPICIOUS

ROOT = "tensorflow"
# Groups of which every function computes.
COMPUTING = frozenset({
    "__operators__", "bitwise", "dtypes", "experimental.numpy", "experimental.numpy.random", "image", "linalg", "linalg.experimental",
    "losses", "manip", "math", "math.special", "nn", "nn.experimental", "quantization", "ragged", "random", "random.experimental",
    "sets", "signal", "sparse", "spectral", "strings",
})  # fmt: skip
_BUT = frozenset({"fixed_unigram_candidate_sampler", "experimental_enable_numpy_behavior", "set_global_generator"})
_ASSERTS = (
    "Assert assert_all_finite assert_equal assert_greater assert_greater_equal assert_integer assert_less assert_less_equal assert_near "
    "assert_negative assert_non_negative assert_non_positive assert_none_equal assert_positive assert_proper_iterable assert_rank "
    "assert_rank_at_least assert_rank_in assert_same_float_dtype assert_scalar assert_shapes assert_type check_numerics is_finite is_inf "
    "is_nan is_non_decreasing is_numeric_tensor is_strictly_increasing"
)
_TOP = (
    "abs accumulate_n acos acosh add add_n angle approx_top_k arg_max arg_min argmax argmin argsort as_string asin asinh atan atan2 atanh "
    "batch_gather batch_to_space batch_to_space_nd betainc bincount bitcast boolean_mask broadcast_dynamic_shape broadcast_static_shape "
    "broadcast_to cast ceil cholesky cholesky_solve clip_by_average_norm clip_by_global_norm clip_by_norm clip_by_value complex concat "
    "confusion_matrix conj constant conv conv2d_backprop_filter_v2 conv2d_backprop_input_v2 convert_to_tensor cos cosh count_nonzero cross "
    "cumprod cumsum decode_base64 decode_compressed decode_csv decode_json_example decode_raw depth_to_space dequantize "
    "deserialize_many_sparse diag diag_part digamma div div_no_nan divide dynamic_partition dynamic_stitch edit_distance eig eigvals einsum "
    "encode_base64 ensure_shape equal erf erfc exp expand_dims expm1 extract_image_patches extract_volume_patches eye "
    "fake_quant_with_min_max_args fake_quant_with_min_max_args_gradient fake_quant_with_min_max_vars "
    "fake_quant_with_min_max_vars_gradient fake_quant_with_min_max_vars_per_channel fake_quant_with_min_max_vars_per_channel_gradient fft "
    "fft2d fft3d fftnd fill fingerprint floor floor_div floordiv floormod gather gather_nd global_norm greater greater_equal group "
    "guarantee_const histogram_fixed_width histogram_fixed_width_bins identity identity_n ifft ifft2d ifft3d ifftnd igamma igammac imag "
    "invert_permutation irfftnd is_tensor lbeta less less_equal lgamma lin_space linspace log log1p log_sigmoid logical_and logical_not "
    "logical_or logical_xor matmul matrix_band_part matrix_determinant matrix_diag matrix_diag_part matrix_inverse matrix_set_diag "
    "matrix_solve matrix_solve_ls matrix_square_root matrix_transpose matrix_triangular_solve maximum meshgrid minimum mod multinomial "
    "multiply negative no_op norm not_equal one_hot ones ones_like pad parallel_stack parse_example parse_single_example "
    "parse_single_sequence_example parse_tensor polygamma pow Print qr quantize quantize_v2 quantized_concat ragged_fill_empty_rows "
    "ragged_fill_empty_rows_grad random_crop random_gamma random_index_shuffle random_normal random_poisson random_shuffle random_uniform "
    "range rank real realdiv reciprocal reduce_all reduce_any reduce_join reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod "
    "reduce_sum regex_replace repeat required_space_to_batch_paddings reshape reverse reverse_sequence reverse_v2 rfftnd rint roll round "
    "rsqrt saturate_cast scalar_mul scatter_nd searchsorted segment_max segment_mean segment_min segment_prod segment_sum self_adjoint_eig "
    "self_adjoint_eigvals sequence_mask serialize_many_sparse serialize_sparse serialize_tensor setdiff1d shape shape_n sigmoid sign sin "
    "sinh size slice sort space_to_batch space_to_batch_nd space_to_depth sparse_add sparse_concat sparse_fill_empty_rows sparse_mask "
    "sparse_matmul sparse_maximum sparse_minimum sparse_reduce_max sparse_reduce_max_sparse sparse_reduce_sum sparse_reduce_sum_sparse "
    "sparse_reorder sparse_reset_shape sparse_reshape sparse_retain sparse_segment_mean sparse_segment_sqrt_n sparse_segment_sum "
    "sparse_slice sparse_softmax sparse_split sparse_tensor_dense_matmul sparse_tensor_to_dense sparse_to_dense sparse_to_indicator "
    "sparse_transpose split sqrt square squared_difference squeeze stack stop_gradient strided_slice string_join string_split string_strip "
    "string_to_hash_bucket string_to_hash_bucket_fast string_to_hash_bucket_strong string_to_number substr subtract svd tan tanh "
    "tensor_scatter_add tensor_scatter_nd_add tensor_scatter_nd_max tensor_scatter_nd_min tensor_scatter_nd_sub tensor_scatter_nd_update "
    "tensor_scatter_sub tensor_scatter_update tensordot tile timestamp to_bfloat16 to_complex128 to_complex64 to_double to_float to_int32 "
    "to_int64 trace transpose truediv truncated_normal truncatediv truncatemod tuple unique unique_with_counts unravel_index "
    "unsorted_segment_max unsorted_segment_mean unsorted_segment_min unsorted_segment_prod unsorted_segment_sqrt_n unsorted_segment_sum "
    "unstack verify_tensor_all_finite where where_v2 zeros zeros_like zeta"
)
_IO = (
    "decode_and_crop_jpeg decode_base64 decode_bmp decode_compressed decode_csv decode_gif decode_image decode_jpeg decode_json_example "
    "decode_jxl decode_png decode_raw decode_webp deserialize_many_sparse encode_base64 encode_jpeg encode_png extract_jpeg_shape is_jpeg "
    "parse_example parse_sequence_example parse_single_example parse_single_sequence_example parse_tensor serialize_many_sparse "
    "serialize_sparse serialize_tensor"
)
_BACKEND = (
    "abs all any arange argmax argmin batch_dot batch_flatten batch_normalization bias_add binary_crossentropy binary_focal_crossentropy "
    "cast cast_to_floatx categorical_crossentropy categorical_focal_crossentropy clip concatenate constant conv1d conv2d conv2d_transpose "
    "conv3d conv3d_transpose cos count_params ctc_batch_cost ctc_decode ctc_label_dense_to_sparse cumprod cumsum depthwise_conv2d dot "
    "dropout dtype elu epsilon equal exp expand_dims eye flatten floatx gather greater greater_equal hard_sigmoid image_data_format "
    "in_top_k int_shape is_keras_tensor is_sparse l2_normalize less less_equal local_conv1d local_conv2d log logsumexp max maximum mean min "
    "minimum ndim normalize_batch_in_training not_equal one_hot ones ones_like permute_dimensions placeholder pool2d pool3d pow "
    "print_tensor prod random_bernoulli random_binomial random_normal random_uniform relu repeat repeat_elements reshape resize_images "
    "resize_volumes reverse round separable_conv1d separable_conv2d shape sigmoid sign sin softmax softplus softsign "
    "sparse_categorical_crossentropy spatial_2d_padding spatial_3d_padding sqrt square squeeze stack std stop_gradient sum switch tanh "
    "temporal_padding tile to_dense transpose truncated_normal var variable zeros zeros_like"
)
_METHODS = (
    "from_nested_row_lengths from_nested_row_splits from_nested_value_rowids from_row_lengths from_row_limits from_row_splits "
    "from_row_starts from_sparse from_tensor from_uniform_row_length from_value_rowids"
)
NAMES: dict[str, frozenset[str]] = {
    "": frozenset(f"{_TOP} {_ASSERTS}".split()),
    "audio": frozenset(("decode_wav", "encode_wav")),
    "debugging": frozenset(_ASSERTS.split()),
    "io": frozenset(_IO.split()),
    "keras.backend": frozenset(_BACKEND.split()),
    "train": frozenset(("sdca_fprint", "sdca_optimizer", "sdca_shrink_l1")),
    "RaggedTensor": frozenset(_METHODS.split()),
}
# What Keras lets a layer take of a tensor, or call of it: of a tensor of any kind.
_OF_TENSORS = (
    "bounding_shape dense_shape dtype flat_values indices merge_dims nested_row_lengths nested_row_splits nested_value_rowids nrows "
    "ragged_rank rank row_lengths row_limits row_splits row_starts shape to_sparse to_tensor uniform_row_length value_rowids values "
    "with_flat_values with_row_splits_dtype with_values"
)
TENSOR = "Tensor"  # whose attributes the layers InstanceMethod and InstanceProperty reach for
NAMES[TENSOR] = frozenset(_OF_TENSORS.split())

_FILES = "reads or writes files of the configuration's choice"
_LOADS = "loads models, libraries or graphs of the configuration's choice"
_SETS = "changes the running program, which no model asks for"
TENSORFLOW_ROWS: tuple[Row, ...] = (
    ("tensorflow.*", "load_* import_graph_def import_meta_graph register_filesystem_plugin", DANGEROUS, _LOADS),
    ("tensorflow.*", "write_graph export_meta_graph generate_checkpoint_state* update_checkpoint_state", DANGEROUS, _FILES),
    ("tensorflow.*", "Server DispatchServer WorkerServer experimental_connect_to_* create_local_cluster", DANGEROUS, "opens network connections"),
    ("tensorflow.*", "Session InteractiveSession MonitoredSession MonitoredTrainingSession", SUSPICIOUS, "can run on another machine"),
    ("tensorflow.gfile.*", "*", DANGEROUS, _FILES),
    ("tensorflow.io.gfile.*", "*", DANGEROUS, _FILES),
    ("tensorflow.python_io.*", "*", DANGEROUS, _FILES),
    ("tensorflow.profiler.*", "[a-z_]* Profile* Trace", DANGEROUS, "writes files and serves connections"),
    ("tensorflow.saved_model.*", "[a-z_]* Builder SavedModelBuilder", DANGEROUS, _LOADS),
    ("tensorflow.mlir.*", "[a-z_]*", DANGEROUS, _FILES),
    ("tensorflow.app.*", "run", DANGEROUS, "runs a program"),
    ("tensorflow.test.*", "main", DANGEROUS, "runs a program"),
    ("tensorflow.quantization.experimental.*", "[a-z_]* TfRecord*", DANGEROUS, _FILES),
    ("tensorflow.__internal__.*", "*", DANGEROUS, "is an inner part of TensorFlow, which no model names"),
    ("tensorflow.io.*", "[a-z_]*", SUSPICIOUS, _FILES),
    ("tensorflow.lite.*", "[a-z_]* Interpreter *Converter Analyzer", SUSPICIOUS, _LOADS),
    ("tensorflow.train.*", "[a-z_]* Saver Checkpoint* *Saver *SaverHook NewCheckpointReader Supervisor", SUSPICIOUS, _FILES),
    ("tensorflow.summary.*", "[a-z_]* FileWriter*", SUSPICIOUS, "writes logs to a folder of the configuration's choice"),
    ("tensorflow.data.*", "[a-z_]* CsvDataset SqlDataset TextLineDataset TFRecordDataset FixedLengthRecordDataset", SUSPICIOUS, _FILES),
    ("tensorflow.debugging.experimental.*", "*", SUSPICIOUS, "writes what the program computes to a folder"),
    ("tensorflow.sysconfig.*", "*", SUSPICIOUS, "asks for the program's own files"),
    ("tensorflow.resource_loader.*", "*", SUSPICIOUS, _FILES),
    ("tensorflow.feature_column.*", "*_file", SUSPICIOUS, _FILES),
    ("tensorflow.lookup.*", "TextFile*", SUSPICIOUS, _FILES),
    ("tensorflow.experimental.dtensor.*", "[a-z_]* DTensorCheckpoint DTensorDataset", SUSPICIOUS, _FILES),
    ("tensorflow.config.*", "[a-z_]*", SUSPICIOUS, _SETS),
    ("tensorflow.distribute.*", "[a-z_]*", SUSPICIOUS, _SETS),
    ("tensorflow.tpu.*", "[a-z_]*", SUSPICIOUS, _SETS),
    ("tensorflow", "rpc_* delete_rpc_future_resource", DANGEROUS, "opens network connections"),
    ("tensorflow", "py_func py_function numpy_function", SUSPICIOUS, "calls a function of Python"),
)  # fmt: skip


def computes(module: str, name: str) -> bool:
    """Whether a public function of TensorFlow, or what a layer takes of a tensor, is known to compute and do nothing else."""
    if module != ROOT and not module.startswith(f"{ROOT}."):
        return False
    group = module[len(ROOT) + 1 :]
    if group in COMPUTING:
        own = name.lstrip("_") if group == "__operators__" else name
        return own[:1].islower() and own.isidentifier() and name not in _BUT
    return name in NAMES.get(group, ())


def is_public(module: str) -> bool:
    """Whether a name of the module can be one that TensorFlow publishes: those of its inner modules cannot."""
    parts = module.split(".")
    return parts[0] == ROOT and "python" not in parts and all(part.isascii() and part.isidentifier() for part in parts)
