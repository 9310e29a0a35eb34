"""Folders as programs leave them: transformers, diffusers, sentence-transformers, PEFT, llama.cpp, Lightning, the cache of Hugging Face.

A folder is a dict from paths to bytes, or to a Link. Weights are small, and no two files are equally large.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.builders.gguf_file import gguf_bytes
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.sets import ZERO_SHAPES, zero_files
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_zip_bytes


class Link(NamedTuple):
    """A symbolic link, to a path relative to its own folder."""

    to: str


Files = dict[str, bytes | Link]


def write(folder: Path, files: Mapping[str, bytes | Link]) -> Path:
    """Make the files; their order is that of the mapping."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content.to)
        else:
            path.write_bytes(content)
    return folder


def under(prefix: str, files: Mapping[str, bytes | Link]) -> Files:
    """The same files in a folder."""
    return {f"{prefix}/{name}": content for name, content in files.items()}


def safe(width: int = 4, dtype: str = "F32") -> bytes:
    return safetensors_bytes({"layer.weight": (dtype, (width, width)), "layer.bias": (dtype, (width,))})


def pickled(width: int = 4) -> bytes:
    state = ordered({"layer.weight": tensor("0", (width, width)), "layer.bias": tensor("1", (width,))})
    return torch_zip_bytes(state, {"0": 4 * width * width, "1": 4 * width})


def text(value: object) -> bytes:
    return json.dumps(value).encode()


CONFIG = text({"model_type": "tiny", "hidden_size": 4})
TOKENS: Files = {"tokenizer.json": b'{"model": {}}', "tokenizer_config.json": b"{}", "special_tokens_map.json": b"{ }"}


def two_shards() -> Files:
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    tensors = [{"embed.weight": ("F32", (8, 4))}, {"head.weight": ("F32", (9, 4))}]
    index = {"metadata": {"total_size": 272}, "weight_map": {"embed.weight": names[0], "head.weight": names[1]}}
    return {
        names[0]: safetensors_bytes(tensors[0]),
        names[1]: safetensors_bytes(tensors[1]),
        "model.safetensors.index.json": text(index),
    }


def repository() -> Files:
    """A model of transformers with everything that is ever beside one."""
    return {
        **two_shards(),
        **TOKENS,
        "pytorch_model.bin": pickled(),
        "model.fp16.safetensors": safe(dtype="F16"),
        "consolidated.safetensors": safe(5),
        "tf_model.h5": b"\x89HDF\r\n\x1a\n" + bytes(100),
        "flax_model.msgpack": b"\x81\xa1w\xc0" + bytes(90),
        "original/consolidated.00.pth": pickled(5),
        "original/params.json": b'{"dim": 4}',
        "original/tokenizer.model": bytes(70),
        "onnx/model.onnx": b"\x08\x07\x12\x07pytorch" + bytes(60),
        "onnx/model_quantized.onnx": b"\x08\x07\x12\x07pytorch" + bytes(30),
        "openvino/openvino_model.xml": b"<net></net>",
        "openvino/openvino_model.bin": bytes(50),
        "tiny.Q8_0.gguf": gguf_bytes({"w": ("Q8_0", (1, 32))}, {"general.architecture": "llama"}),
        "config.json": CONFIG,
        "generation_config.json": b"{}",
        "modeling_tiny.py": b"class Tiny: ...\n",
        "README.md": b"# Tiny\n",
        "LICENSE": b"Do what you like.\n",
        "assets/curve.png": b"\x89PNG\r\n\x1a\n" + bytes(40),
        ".gitattributes": b"*.bin filter=lfs\n",
        ".git/config": b"[core]\n",
        ".git/objects/ab/cd": bytes(33),
    }


def state(step: int) -> Files:
    """What a Trainer keeps beside the weights."""
    return {
        "optimizer.pt": pickled(7),
        "scheduler.pt": pickled(1),
        "rng_state.pth": pickled(2),
        "trainer_state.json": text({"global_step": step, "best_model_checkpoint": None}),
        "training_args.bin": pickled(3),
    }


def trainer(steps: Iterable[int] = (500, 1000), best: str | None = None, *, final: bool = False) -> Files:
    """A run of transformers.Trainer. `best` goes into every trainer_state.json, `final` saves the model at the end."""
    files: Files = {}
    for step in steps:
        kept = {**state(step), "model.safetensors": safe(), "config.json": CONFIG}
        kept["trainer_state.json"] = text({"global_step": step, "best_model_checkpoint": best})
        files |= under(f"checkpoint-{step}", kept)
    if final:
        files |= {"model.safetensors": safe(), "config.json": CONFIG, "training_args.bin": pickled(3)}
    files["runs/Jan01/events.out.tfevents.1"] = bytes(44)
    return files


def deepspeed_trainer() -> Files:
    """A step of a Trainer with ZeRO: the weights are gathered, the optimizer is in global_step."""
    files: Files = {
        "model.safetensors": safe(),
        "config.json": CONFIG,
        "trainer_state.json": b"{}",
        "latest": b"global_step20\n",
    }
    files |= under("global_step20", zero_files(ZERO_SHAPES, 2))
    files |= {"rng_state_0.pth": pickled(2), "rng_state_1.pth": pickled(2), "zero_to_fp32.py": b"import torch\n"}
    return files


def diffusers() -> Files:
    """A pipeline whose index names the U-Net before the text encoder, though names sort otherwise."""
    index = {
        "_class_name": "TinyPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None],
        "../outside": ["diffusers", "Trap"],
    }
    return {
        "model_index.json": text(index),
        "unet/config.json": b"{}",
        "unet/diffusion_pytorch_model.safetensors": safe(6),
        "unet/diffusion_pytorch_model.fp16.safetensors": safe(6, "F16"),
        "unet/diffusion_pytorch_model.bin": pickled(6),
        "text_encoder/config.json": b"{}",
        "text_encoder/model.safetensors": safe(5),
        "vae/config.json": b"{}",
        "vae/diffusion_pytorch_model.safetensors": safe(3),
        "scheduler/scheduler_config.json": b"{}",
        "tokenizer/vocab.json": b"{}",
        "tokenizer/merges.txt": b"a b\n",
        "v1-5-pruned.safetensors": safe(9),
        "README.md": b"# Tiny diffusion\n",
    }


def sentence_transformers() -> Files:
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
        {"idx": 3, "name": "3", "path": "../elsewhere", "type": "trap"},
    ]
    return {
        "modules.json": text(modules),
        "model.safetensors": safe(),
        "config.json": CONFIG,
        "1_Pooling/config.json": b'{"pooling_mode_cls_token": true}',
        "2_Dense/config.json": b"{}",
        "2_Dense/model.safetensors": safe(3),
        **TOKENS,
    }


def adapter() -> Files:
    tensors = {f"base_model.model.q.lora_{side}.weight": ("F32", shape) for side, shape in (("A", (2, 4)), ("B", (4, 2)))}
    config = {"peft_type": "LORA", "r": 2, "base_model_name_or_path": "org/base", "target_modules": ["q"]}
    return {
        "adapter_model.safetensors": safetensors_bytes(tensors),
        "adapter_model.bin": pickled(2),
        "adapter_config.json": text(config),
        "README.md": b"# LoRA\n",
    }


def quantisations() -> Files:
    """One model three times, and a projector beside it."""
    types = {"Q8_0": "Q8_0", "Q4_K_M": "Q4_K", "F16": "F16"}
    files: Files = {
        f"tiny-chat.{name}.gguf": gguf_bytes({"w": (kind, (1, 256))}, {"general.architecture": "llama"})
        for name, kind in types.items()
    }
    files["mmproj-tiny-f16.gguf"] = gguf_bytes({"v": ("F16", (2, 32))}, {"general.architecture": "clip"})
    files["imatrix.dat"] = bytes(17)
    return files


def meta() -> Files:
    """What Meta publishes, in the folder of its name."""
    return under("original", {"consolidated.00.pth": pickled(), "params.json": b'{"dim": 4}', "tokenizer.model": bytes(64)})


def lightning() -> Files:
    files: Files = {}
    for version in (0, 1):
        logs = {"hparams.yaml": b"lr: 0.1\n", "metrics.csv": b"step,loss\n"}
        logs |= {f"checkpoints/epoch={epoch}-step={epoch * 100}.ckpt": pickled(epoch) for epoch in (2, 10)}
        files |= under(f"lightning_logs/version_{version}", logs)
    files["train.py"] = b"import lightning\n"
    return files


def epochs() -> Files:
    """A loop that somebody wrote; `latest.pth` is a link."""
    return {
        **{f"epoch_{number}.pth": pickled(number) for number in range(1, 13)},
        "best.pth": pickled(4),
        "latest.pth": Link("epoch_12.pth"),
        "train.log": b"loss 1\n",
    }


def cache() -> Files:
    """Two revisions in the cache of Hugging Face; main is the one whose name sorts first."""
    old, new = "f" * 40, "0" * 40
    blobs = {"a1": safe(), "b2": CONFIG, "c3": safe(5)}
    files: Files = under("blobs", blobs)
    for revision, weights in ((old, "c3"), (new, "a1")):
        files[f"snapshots/{revision}/model.safetensors"] = Link(f"../../blobs/{weights}")
        files[f"snapshots/{revision}/config.json"] = Link("../../blobs/b2")
    files["refs/main"] = new.encode()
    files[".no_exist/x/y.json"] = b""
    return files


FOLDERS = {
    made.__name__: made
    for made in (
        repository, trainer, deepspeed_trainer, diffusers, sentence_transformers, adapter, quantisations, meta, lightning, epochs, cache,
    )
}  # fmt: skip
