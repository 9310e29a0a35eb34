"""The words that rules take: dtypes and formats, under all the names people have for them."""

from __future__ import annotations

import difflib

from modelscope_cli.checks.quantities import shown, words
from modelscope_cli.core.dtype import BLOCK_DTYPES, DTYPES, SAFETENSORS_DTYPES
from modelscope_cli.formats.registry import READ_FORMATS

UNPICKLED = ("safetensors", "gguf")  # formats that are loaded without unpickling anything
FORMATS = {name: (name,) for name in READ_FORMATS} | dict.fromkeys(("pytorch", "torch"), ("torch-zip", "torch-legacy"))
SHORT_DTYPES = {
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "half": "float16",
    "float": "float32",
    "fp64": "float64",
}
DTYPE_NAMES = (
    {name: name for name in DTYPES}
    | {name.lower(): name for name in BLOCK_DTYPES}
    | {short.lower(): dtype.name for short, dtype in SAFETENSORS_DTYPES.items()}
    | SHORT_DTYPES
)


def dtypes(written: object) -> tuple[str, ...]:
    """Names of dtypes as torch writes them. Raises ValueError for a word that is none."""
    return tuple(dict.fromkeys(DTYPE_NAMES[_known(word, tuple(DTYPE_NAMES), "dtype")] for word in words(written)))


def formats(written: object) -> tuple[str, ...]:
    """Names of formats. Raises ValueError for a word that is none."""
    found = [name for word in words(written) for name in FORMATS[_known(word, tuple(FORMATS), "format that is read here")]]
    return tuple(dict.fromkeys(found))


def _known(word: str, known: tuple[str, ...], what: str) -> str:
    if word.lower() in known:
        return word.lower()
    close = difflib.get_close_matches(word.lower(), known, 1)
    raise ValueError(
        f"{shown(word)} is no {what}" + (f"; did you mean {close[0]!r}?" if close else f": there are {', '.join(known[:12])}")
    )
