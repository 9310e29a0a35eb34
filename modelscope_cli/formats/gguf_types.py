"""The numbers of GGUF and what they stand for: tensor types, types of metadata values, file types.

Sources: ggml.h (`enum ggml_type`), gguf.h (`enum gguf_type`), llama.h (`enum llama_ftype`), and gguf-py's constants.py, which
has the same. Numbers are never used again, so a type that was removed keeps its row: old files still hold such tensors.
"""

from __future__ import annotations

from modelscope_cli.core.dtype import BLOCK_DTYPES, DTYPES, DType, unknown

_NAMES = {
    0: "float32", 1: "float16", 2: "q4_0", 3: "q4_1", 4: "q4_2", 5: "q4_3", 6: "q5_0", 7: "q5_1", 8: "q8_0", 9: "q8_1",
    10: "q2_K", 11: "q3_K", 12: "q4_K", 13: "q5_K", 14: "q6_K", 15: "q8_K",
    16: "iq2_xxs", 17: "iq2_xs", 18: "iq3_xxs", 19: "iq1_s", 20: "iq4_nl", 21: "iq3_s", 22: "iq2_s", 23: "iq4_xs",
    24: "int8", 25: "int16", 26: "int32", 27: "int64", 28: "float64", 29: "iq1_m", 30: "bfloat16",
    31: "q4_0_4_4", 32: "q4_0_4_8", 33: "q4_0_8_8", 34: "tq1_0", 35: "tq2_0",
    36: "iq4_nl_4_4", 37: "iq4_nl_4_8", 38: "iq4_nl_8_8", 39: "mxfp4", 40: "nvfp4", 41: "q1_0",
}  # fmt: skip
TENSOR_TYPES: dict[int, DType] = {number: DTYPES.get(name) or BLOCK_DTYPES[name] for number, name in _NAMES.items()}
# llama.cpp has blocks of 64 elements under this number, forks that had it earlier blocks of 128: the offsets tell the bytes.
TENSOR_TYPES[42] = unknown("q2_0")
REMOVED_TYPES = frozenset((4, 5, 31, 32, 33, 36, 37, 38))  # llama.cpp no longer loads them

FLOAT32, STRING, ARRAY = 6, 8, 9
NUMBERS = {
    0: ("B", "uint8"), 1: ("b", "int8"), 2: ("H", "uint16"), 3: ("h", "int16"), 4: ("I", "uint32"), 5: ("i", "int32"),
    6: ("f", "float32"), 7: ("?", "bool"), 10: ("Q", "uint64"), 11: ("q", "int64"), 12: ("d", "float64"),
}  # fmt: skip
"""Type of a metadata value → its letter in the struct module, and its name."""

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 4: "Q4_1, some F16", 5: "Q4_2", 6: "Q4_3", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1",
    10: "Q2_K - Medium", 11: "Q3_K - Small", 12: "Q3_K - Medium", 13: "Q3_K - Large", 14: "Q4_K - Small", 15: "Q4_K - Medium",
    16: "Q5_K - Small", 17: "Q5_K - Medium", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K - Small", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M",
    32: "BF16", 33: "Q4_0_4_4", 34: "Q4_0_4_8", 35: "Q4_0_8_8", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4 MoE", 39: "NVFP4",
    40: "Q1_0", 41: "Q2_0",
}  # fmt: skip
"""`general.file_type`: the mix of types that the quantiser was asked for; most tensors have the one it is named after."""
GUESSED = 1024  # added to a file type that the loader guessed from the tensors
