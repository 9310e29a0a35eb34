"""What operators of torch are to a reader: which only change a tensor's form, and how the others are called."""

from __future__ import annotations

from modelscope_cli.core.calls import Call

# What gives the same numbers in another form, or a part of them
FORMS = {
    "_assert_tensor_metadata", "_conj", "_to_copy", "_unsafe_view", "alias", "alpha_dropout", "as_strided",
    "broadcast_tensors", "broadcast_to", "chunk", "clone", "conj", "contiguous", "detach", "diagonal", "dropout",
    "expand", "expand_as", "feature_dropout", "flatten", "getitem", "lift_fresh", "lift_fresh_copy", "movedim",
    "narrow", "native_dropout", "permute", "ravel", "repeat_interleave", "reshape", "reshape_as",
    "resolve_conj", "select", "slice", "split", "split_with_sizes", "squeeze", "swapaxes", "swapdims",
    "sym_size", "t", "tensor_split", "to", "transpose", "type_as", "unbind", "unflatten", "unfold", "unsqueeze",
    "view", "view_as", "view_as_complex", "view_as_real",
}  # fmt: skip
# Those of them that are another tensor: what is written into it later does not change the first
COPIES = {
    "_to_copy", "alpha_dropout", "clone", "contiguous", "dropout", "feature_dropout", "lift_fresh_copy", "native_dropout",
    "repeat_interleave", "to", "type_as",
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
    "tile": "repeat",
    "logical_not": "not",
    "bitwise_not": "not",
    "logical_and": "and",
    "bitwise_and": "and",
    "logical_or": "or",
    "bitwise_or": "or",
}
COMPARISONS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "eq": "=", "ne": "≠"}
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


# What changes nothing when it is told to: the argument that says how much, and of which digits that is made then
IDLE = {"pad": ("1", "0"), "roll": ("1", "0"), "repeat": ("1", "1"), "tile": ("1", "1")}


def changes_nothing(call: Call) -> bool:
    """Whether something is padded by nothing, rolled by nothing, or repeated once."""
    if bare(call.operator) not in IDLE:
        return False
    slot, digit = IDLE[bare(call.operator)]
    much = dict(call.plain).get(slot, "")
    return digit in much and set(much) <= {*"(), ", digit}


def named(operator: str) -> str:
    return NAMES.get(operator, operator.strip("_").replace("_", " "))
