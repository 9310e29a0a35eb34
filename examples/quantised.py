"""Llama-2-7B quantised to 4 bits by GPTQ: 6,738,415,616 parameters in 3.9 GB that take next to no disk.

    llama-2-7b-gptq/model.safetensors     963 tensors, int32 and float16
    llama-2-7b-gptq/config.json           with its quantization_config

Each of the 224 projections in the layers is four tensors; inputs come in groups of 128, and an int32 packs eight weights:

    qweight   int32     inputs / 8, outputs          the weights
    qzeros    int32     inputs / 128, outputs / 8    a zero point per group, 4 bits too
    scales    float16   inputs / 128, outputs        a scale per group
    g_idx     int32     inputs                       the group of each input

Embedding, norms and head stay in float16. Names and shapes: AutoGPTQ 0.7's QuantLinear, and Llama-2-7B's config.json.
All values are zeros, stored as holes (see sparse.py).
"""

import argparse
from pathlib import Path

from llama2_7b import CONFIG, llama_shapes
from sparse_set import Tensors, elements, save_file, save_json

BITS, GROUP = 4, 128
PACKED = 32 // BITS  # weights in an int32
QUANTIZATION = {
    "quant_method": "gptq",
    "bits": BITS,
    "group_size": GROUP,
    "damp_percent": 0.01,
    "desc_act": False,
    "sym": True,
    "true_sequential": True,
}
METADATA = {  # AutoGPTQ's, in the header of the file
    "format": "pt",
    "auto_gptq_version": "0.7.1",
    "gptq_bits": str(BITS),
    "gptq_group_size": str(GROUP),
    "gptq_desc_act": "False",
    "gptq_damp_percent": "0.01",
}


def gptq_tensors() -> Tensors:
    tensors: Tensors = {}
    for name, shape in llama_shapes().items():
        module = name.removesuffix(".weight")
        if not module.endswith("_proj"):
            tensors[name] = "F16", shape
            continue
        outputs, inputs = shape
        tensors[module + ".qweight"] = "I32", (inputs // PACKED, outputs)
        tensors[module + ".qzeros"] = "I32", (inputs // GROUP, outputs // PACKED)
        tensors[module + ".scales"] = "F16", (inputs // GROUP, outputs)
        tensors[module + ".g_idx"] = "I32", (inputs,)
    return tensors


def main(folder: Path) -> None:
    folder = folder / "llama-2-7b-gptq"
    folder.mkdir(parents=True, exist_ok=True)
    tensors = gptq_tensors()
    assert len(tensors) == 224 * 4 + 67
    weights, rest = ({name: tensors[name] for name in tensors if name.endswith(ending)} for ending in (".qweight", ".weight"))
    assert PACKED * elements(weights) + elements(rest) == 6_738_415_616
    path = folder / "model.safetensors"
    save_file(tensors, path, METADATA)
    print(path, save_json(CONFIG | {"quantization_config": QUANTIZATION}, folder / "config.json"), sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "models")
    main(parser.parse_args().folder)
