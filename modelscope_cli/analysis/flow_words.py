"""What operators of torch are to a reader: which only change a tensor's form, and how the others are called."""

from __future__ import annotations

# What gives the same numbers in another form, or a part of them
FORMS = {
    "_assert_tensor_metadata", "_conj", "_to_copy", "_unsafe_view", "alias", "alpha_dropout", "as_strided",
    "broadcast_tensors", "broadcast_to", "chunk", "clone", "conj", "contiguous", "detach", "diagonal", "dropout",
    "expand", "expand_as", "feature_dropout", "flatten", "flip", "getitem", "lift_fresh", "lift_fresh_copy", "movedim",
    "narrow", "native_dropout", "pad", "permute", "ravel", "repeat", "repeat_interleave", "reshape", "reshape_as",
    "resolve_conj", "roll", "select", "slice", "split", "split_with_sizes", "squeeze", "swapaxes", "swapdims",
    "sym_size", "t", "tensor_split", "tile", "to", "transpose", "type_as", "unbind", "unflatten", "unfold", "unsqueeze",
    "view", "view_as", "view_as_complex", "view_as_real",
}  # fmt: skip
# What makes a tensor, whatever it is shown for its shape
MAKERS = {
    "arange", "empty", "empty_like", "full", "full_like", "new_empty", "new_full", "new_ones", "new_zeros", "ones",
    "ones_like", "rand", "rand_like", "randn", "randn_like", "zeros", "zeros_like", "scalar_tensor",
}  # fmt: skip
SIGNS = {"add": "+", "mul": "×", "sub": "−", "div": "÷", "matmul": "@", "bmm": "@"}
NAMES = {
    "scaled_dot_product_attention": "attention",
    "_softmax": "softmax",
    "softmax": "softmax",
    "log_softmax": "log-softmax",
    "gelu": "GELU",
    "silu": "SiLU",
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "matmul": "matmul",
    "bmm": "matmul",
    "addmm": "Linear",
    "linear": "Linear",
    "cat": "concatenate",
    "stack": "stack",
    "layer_norm": "LayerNorm",
    "rms_norm": "RMSNorm",
    "batch_norm": "BatchNorm",
    "group_norm": "GroupNorm",
    "embedding": "Embedding",
    "conv1d": "Conv1d",
    "conv2d": "Conv2d",
    "conv3d": "Conv3d",
    "max_pool2d": "MaxPool2d",
    "avg_pool2d": "AvgPool2d",
    "adaptive_avg_pool2d": "AdaptiveAvgPool2d",
    "masked_fill": "mask",
    "where": "mask",
    "topk": "top-k",
    "index": "select",
    "gather": "select",
    "neg": "negate",
    "pow": "power",
    "rsqrt": "1 / √",
    "exp": "exp",
    "mean": "mean",
    "sum": "sum",
    "lstm": "LSTM",
    "gru": "GRU",
    "upsample_nearest2d": "Upsample",
    "upsample_bilinear2d": "Upsample",
    "_scaled_mm": "matmul",
    "baddbmm": "matmul",
}
# Operators that take tensors of the model as their own; elsewhere a parameter is something that flows in
ABSORBING = {
    "linear", "addmm", "layer_norm", "rms_norm", "batch_norm", "group_norm", "instance_norm", "embedding",
    "embedding_bag", "conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "lstm", "gru", "rnn_tanh", "rnn_relu", "prelu", "bilinear",
}  # fmt: skip
CONCATENATING = frozenset({"cat", "concat", "stack"})
# Modules that are one step though they have parts: what is in them is better known by their name
WHOLE = frozenset({"MultiheadAttention", "LSTM", "GRU", "RNN"})
PLAIN_CONTAINERS = frozenset({"Sequential", "ModuleList", "ModuleDict"})


def bare(operator: str) -> str:
    """The operator without the sign of working in place: add of add_."""
    return operator[:-1] if operator.endswith("_") and not operator.endswith("__") else operator


def named(operator: str) -> str:
    return NAMES.get(operator, operator.strip("_").replace("_", " "))
