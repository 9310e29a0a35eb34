"""Functions that a pickle may name as a value, as configurations and objects keep `numpy.mean` or `max`: unknown while nothing calls
them, suspicious once something does. (A call can make them walk an object of the file's choice; naming them does nothing.)

Exact names only, and none that does more than compute: not `iter` and `next`, which call, nor `vars` and `open`.
"""

from __future__ import annotations

_BUILTINS = "abs all any ascii bin callable chr divmod enumerate hash hex id isinstance issubclass len max min oct ord pow repr reversed round sorted sum zip"
_NUMPY = (
    "abs absolute add all allclose amax amin angle any arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin "
    "argsort argwhere around array array_equal asarray average bincount bitwise_and bitwise_or bitwise_xor broadcast_to cbrt ceil clip "
    "column_stack concatenate conj conjugate corrcoef cos cosh count_nonzero cov cross cumprod cumsum deg2rad degrees diag diff "
    "digitize divide divmod dot einsum empty empty_like equal exp exp2 expand_dims expm1 fabs flip float_power floor floor_divide fmax "
    "fmin fmod full full_like gcd greater greater_equal heaviside histogram hstack hypot imag inner interp isclose isfinite isinf isnan "
    "kron lcm ldexp less less_equal linspace log log10 log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or logical_xor "
    "logspace matmul max maximum mean median min minimum mod modf multiply nan_to_num nanargmax nanargmin nanmax nanmean nanmedian "
    "nanmin nanpercentile nanprod nanquantile nanstd nansum nanvar negative nonzero not_equal ones ones_like outer percentile positive "
    "power prod ptp quantile rad2deg radians ravel real reciprocal remainder repeat reshape right_shift left_shift rint roll rot90 "
    "round searchsorted sign sin sinc sinh sort sqrt square squeeze stack std subtract sum swapaxes take tan tanh tensordot tile trace "
    "transpose trapezoid tril triu true_divide trunc unique vander var vdot vstack where zeros zeros_like"
)
_TORCH = (
    "einsum norm stft istft cdist tensordot unique split meshgrid broadcast_tensors block_diag atleast_1d atleast_2d atleast_3d "
    "cartesian_prod chain_matmul unravel_index is_tensor"
)
_FUNCTIONAL = (
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d "
    "affine_grid alpha_dropout avg_pool1d avg_pool2d avg_pool3d batch_norm bilinear celu_ channel_shuffle conv1d conv2d conv3d "
    "conv_transpose1d conv_transpose2d conv_transpose3d cosine_embedding_loss cosine_similarity ctc_loss dropout1d dropout2d dropout3d "
    "elu_ embedding embedding_bag feature_alpha_dropout fold gaussian_nll_loss grid_sample group_norm gumbel_softmax hardshrink "
    "hardtanh_ hinge_embedding_loss instance_norm layer_norm leaky_relu_ local_response_norm logsigmoid lp_pool1d lp_pool2d "
    "margin_ranking_loss max_pool1d max_pool2d max_pool3d multi_head_attention_forward multi_margin_loss multilabel_margin_loss "
    "multilabel_soft_margin_loss one_hot pairwise_distance pdist pixel_shuffle pixel_unshuffle poisson_nll_loss relu_ rms_norm rrelu "
    "rrelu_ scaled_dot_product_attention selu_ soft_margin_loss softmin softshrink threshold threshold_ triplet_margin_loss "
    "triplet_margin_with_distance_loss unfold upsample upsample_bilinear upsample_nearest"
)

REFERENCES = frozenset(
    (module, name)
    for module, names in (
        ("builtins", _BUILTINS),
        ("numpy", _NUMPY),
        ("torch", _TORCH),
        ("torch.nn.functional", _FUNCTIONAL),
    )
    for name in names.split()
)
