"""The part of the README on formats, made from the catalogue. `python -m tests.readme_formats` writes it anew."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from modelscope_cli.cli.formats import bare
from modelscope_cli.formats.catalogue import FORMATS, NAMED, entries

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(r"<!-- formats -->\n(.*?)<!-- /formats -->\n", re.DOTALL)
SHOWN = (
    "onnx", "keras-h5", "keras-zip", "savedmodel", "tf-checkpoint", "tflite", "tfjs", "flax", "npz", "coreml", "ggml", "ctranslate2",
    "executorch", "joblib", "openvino", "paddle", "mxnet", "caffe", "darknet", "tensorrt", "ncnn", "mnn", "rknn", "tokenizer",
    "lfs-pointer", "html",
)  # fmt: skip


def block() -> str:
    """What stands between the marks."""
    lines = ["| format | files | what is read |", "| --- | --- | --- |"]
    lines += [f"| {entry.title} | {code(entry.files)} | {entry.reads} |" for entry in FORMATS]
    titles = {entry.name: bare(entry.title) for entry in entries() if entry.status == NAMED}
    named = ", ".join(re.split(r",| \(", titles[name])[0] for name in SHOWN)
    said = (
        f"What is not read is named as what it is, by its content, with what to do about it: {named} and"
        f" {len(titles) - len(SHOWN)} other kinds. `mscope formats` lists them all, and how each is recognised."
    )
    return "\n".join(lines) + "\n\n" + textwrap.fill(said, 125, break_long_words=False, break_on_hyphens=False) + "\n"


def code(files: str) -> str:
    """Suffixes and names in the letters of code; words as they are."""
    return re.sub(r"[^\s,]*[.*_][^\s,]*(?: [^\s,]*[.*_][^\s,]*)*", lambda match: f"`{match[0]}`", files)


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    README.write_text(BLOCK.sub(lambda match: f"<!-- formats -->\n{block()}<!-- /formats -->\n", text), encoding="utf-8")
