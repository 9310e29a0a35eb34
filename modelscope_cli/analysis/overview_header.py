"""The first lines of `inspect`: file or set, format, size, parameters, buffers, dtypes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from modelscope_cli.analysis.folder_table import shortened
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.quantisation_report import quantisation_facts, stored_words
from modelscope_cli.analysis.roles import BIAS, BUFFER, WEIGHT
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.place import SEPARATOR, short_name
from modelscope_cli.report.document import BOTH, MACHINES, Bytes, Count, Fact, Facts

if TYPE_CHECKING:
    from modelscope_cli.analysis.overview import Overview

TITLES = {
    "torch-zip": "PyTorch (zip)",
    "torch-legacy": "PyTorch (legacy stacked pickles)",
    "torchscript": "TorchScript (zip)",
    "torch-export": "exported program (.pt2)",
    "torch-aotinductor": "AOTInductor package (.pt2)",
    "torch-package": "torch.package",
    "torch-tar": "PyTorch (tar, before 0.1.10)",
    "pickle": "bare pickle",
    "safetensors": "safetensors",
    "dcp": "distributed checkpoint (DCP)",
    "dcp-safetensors": "distributed checkpoint (safetensors)",
    "deepspeed": "DeepSpeed ZeRO",
    "dcp-part": "one file of a distributed checkpoint",
    "gguf": "GGUF",
}


def header(overview: Overview) -> Facts:
    """File or set, format, size, tensors, parameters, buffers, dtypes."""
    checkpoint, ledger = overview.checkpoint, overview.ledger
    size = checkpoint.nbytes
    shards = checkpoint.shards
    title = format_title(checkpoint)
    lost = sum(note.code == "shard-unreadable" for note in checkpoint.notes)
    several = len(shards) + lost > 1
    where = f"{title}, {f'{len(shards)} of ' if lost else ''}{len(shards) + lost} shards" if several else title
    base = os.path.normpath(checkpoint.path)
    name = (
        short_name(base)
        if SEPARATOR in base
        else os.path.join(os.path.basename(os.path.dirname(base)), os.path.basename(base))
        if len(shards) > 1
        else shortened(os.path.relpath(base, checkpoint.in_folder.path))  # which of several in a folder
        if checkpoint.in_folder
        else os.path.basename(base)
    )
    dtypes = ledger.by_dtype()
    owned = sum(dtypes.values())
    written = ", ".join(
        name if len(dtypes) == 1 else f"{name} {_percent(nbytes, owned)}"
        for name, nbytes in sorted(dtypes.items(), key=lambda pair: -pair[1])[:6]
    )
    if len(dtypes) > 6:
        written += f", {len(dtypes) - 6} more"
    buffers = overview.roles.get(BUFFER, (0, 0, 0))
    stored = ledger.roles[: len(checkpoint.tensors)]  # not those of names that a writer dropped
    weights = stored.count(WEIGHT) + stored.count(BIAS)
    facts = [
        Fact("path", "Set" if several else "File", checkpoint.path, f"{name}  ·  {where}"),
        Fact("format", "Format", checkpoint.format, audience=MACHINES),
        Fact("shards", "Shards", Count(len(shards)), audience=MACHINES),
        Fact("bytes", "Size", Bytes(size), sizes(size)),
        Fact(
            "parameters",
            "Parameters",
            Count(overview.parameters),
            f"{overview.parameters:,}  in {weights:,} {'tensor' if weights == 1 else 'tensors'}{stored_words(ledger)}",
        ),
        Fact(
            "tensor_count",
            "Tensors",
            Count(len(checkpoint.tensors)),
            f"{len(checkpoint.tensors):,}" if len(checkpoint.tensors) != weights else None,
            MACHINES if len(checkpoint.tensors) == weights else BOTH,
        ),
        Fact("elements", "Elements", Count(checkpoint.elements), audience=MACHINES),
        Fact("tensor_bytes", "Tensor data", Bytes(sum(ledger.nbytes)), audience=MACHINES),
        Fact(
            "buffers",
            "Buffers",
            Count(buffers[1]),
            f"{buffers[1]:,} elements  in {buffers[0]:,} {'tensor' if buffers[0] == 1 else 'tensors'}, not counted as parameters",
            BOTH if buffers[0] else MACHINES,
        ),
        Fact("dtypes", "Dtypes", {name: Bytes(nbytes) for name, nbytes in dtypes.items()}, written or "none"),
    ]
    return Facts("", "", facts + (quantisation_facts(ledger) or packing(ledger)))


def packing(ledger: Ledger) -> list[Fact]:
    """Bits per weight over all tensors, where some are packed in blocks; and the mix of types that the file is named after."""
    elements = sum(ledger.owned)
    if not elements or all([dtype.block == 1 for dtype in ledger.dtypes]):
        return []
    bits = 8 * sum(ledger.nbytes) / elements
    packed = ledger.checkpoint.config.get("quantization_config")
    named = packed.get("file_type") if isinstance(packed, dict) else None
    text = f"{bits:.2f} on average" + (f"  ·  file type {named}" if isinstance(named, str) else "")
    return [Fact("bits_per_weight", "Bits/weight", round(bits, 4), text)]


def format_title(checkpoint: Checkpoint) -> str:
    """The format as people call it, and whether it is only described."""
    title = TITLES.get(checkpoint.format, checkpoint.format)
    return f"baseline of {title}" if any(note.code == "baseline" for note in checkpoint.notes) else title


def sizes(nbytes: int) -> str:
    """A size in bytes, in units of 1000 and in units of 1024, because files are spoken of in both."""
    for power, letter in ((4, "T"), (3, "G"), (2, "M"), (1, "k")):
        if nbytes >= 1000**power * (10 if power > 2 else 1):
            return (
                f"{nbytes:,} bytes  ·  {nbytes / 1000**power:,.1f} {letter}B  ·  {nbytes / 1024**power:,.1f} {letter.upper()}iB"
            )
    return f"{nbytes:,} bytes"


def _percent(part: int, whole: int) -> str:
    share = part / whole if whole else 0.0
    return f"{share * 100:.1f} %" if share >= 0.0005 else "<0.1 %"
