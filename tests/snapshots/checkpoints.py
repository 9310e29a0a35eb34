"""Small checkpoints of every sort that is met in the field, as files in a folder: the subjects of the snapshots.

A table of names and shapes becomes a torch zip; every tensor has a storage of its own unless it is tied.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.builders import folders
from tests.builders.folders import write as write_folder
from tests.builders.pickle_code import Code, instance, value
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.shards import sharded_folder
from tests.builders.torch_code import ITEM_BYTES, module, ordered, parameter, tensor
from tests.builders.torch_file import legacy_bytes, torch_zip_bytes
from tests.tables import linear, transformer

Shapes = Mapping[str, tuple[int, ...]]


class Storages(dict[str, bytes | int]):
    """Counts the storages of a file while its tensors are written."""

    def tensor(self, shape: tuple[int, ...], cls: str = "FloatStorage") -> Code:
        key = str(len(self))
        self[key] = math.prod(shape) * ITEM_BYTES[cls]
        return tensor(key, shape, cls)

    def state_dict(self, shapes: Shapes, cls: str = "FloatStorage", ties: Mapping[str, str] | None = None) -> Code:
        """A state_dict with `_metadata`; a name in `ties` is the same tensor as another."""
        made: dict[str, Code] = {}
        for name, shape in shapes.items():
            made[name] = made[ties[name]] if ties and name in ties else self.tensor(shape, cls)
        return ordered(made, module_paths(shapes))


def module_paths(shapes: Shapes) -> list[str]:
    """The modules above the tensors, outer ones first."""
    paths = {"": None}
    for name in shapes:
        parts = name.split(".")[:-1]
        paths |= dict.fromkeys(".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return list(paths)


def decoder(folder: Path) -> str:
    """nn.TransformerDecoder between an embedding and a linear head: three equal layers that fold."""
    width, inner = 8, 32
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (50, width)}
    for number in range(3):
        layer = f"decoder.layers.{number}"
        for name in ("self_attn", "multihead_attn"):
            shapes |= {f"{layer}.{name}.in_proj_weight": (3 * width, width), f"{layer}.{name}.in_proj_bias": (3 * width,)}
            shapes |= linear(f"{layer}.{name}.out_proj", width, width)
        shapes |= linear(f"{layer}.linear1", inner, width) | linear(f"{layer}.linear2", width, inner)
        for norm in ("norm1", "norm2", "norm3"):
            shapes |= {f"{layer}.{norm}.weight": (width,), f"{layer}.{norm}.bias": (width,)}
    storages = Storages()
    root = storages.state_dict(shapes | linear("fc", 50, width))
    return write(folder / "decoder.pth", torch_zip_bytes(root, storages))


def gpt2(folder: Path) -> str:
    """GPT-2 by hand: causal masks as buffers, and a head that is the token embedding."""
    width, context = 8, 16
    shapes: dict[str, tuple[int, ...]] = {"tok_emb.weight": (60, width), "pos_emb.weight": (context, width)}
    for number in range(2):
        block = f"trf_blocks.{number}"
        shapes |= {f"{block}.att.mask": (context, context)}
        for name in ("W_query", "W_key", "W_value"):
            shapes |= linear(f"{block}.att.{name}", width, width, bias=False)
        shapes |= linear(f"{block}.att.out_proj", width, width)
        shapes |= linear(f"{block}.ff.layers.0", 4 * width, width) | linear(f"{block}.ff.layers.2", width, 4 * width)
        for norm in ("norm1", "norm2"):
            shapes |= {f"{block}.{norm}.scale": (width,), f"{block}.{norm}.shift": (width,)}
    shapes |= {"final_norm.scale": (width,), "final_norm.shift": (width,), "out_head.weight": (60, width)}
    storages = Storages()
    root = storages.state_dict(shapes, ties={"out_head.weight": "tok_emb.weight"})
    return write(folder / "gpt2_tied.pth", torch_zip_bytes(root, storages))


def llama(folder: Path) -> str:
    """Gated MLP, two key heads for eight query heads, and a config.json that says so."""
    inside = folder / "llama"
    inside.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 88,
        "num_hidden_layers": 3,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "vocab_size": 100,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-05,
        "tie_word_embeddings": False,
    }
    (inside / "config.json").write_text(json.dumps(config))
    shapes = transformer(3, 32, hidden=88, vocabulary=100, kv=8)
    tensors = {name: ("BF16", shape) for name, shape in sorted(shapes.items())}
    write(inside / "model.safetensors", safetensors_bytes(tensors, {"format": "pt"}))
    return "llama/model.safetensors"


def mixture(folder: Path) -> str:
    """Mixtral in small: four experts in each of two layers, fold within fold."""
    width, inner = 16, 24
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (40, width)}
    for number in range(2):
        layer = f"model.layers.{number}"
        shapes |= {f"{layer}.input_layernorm.weight": (width,), f"{layer}.post_attention_layernorm.weight": (width,)}
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes |= linear(f"{layer}.self_attn.{name}", width, width, bias=False)
        shapes |= linear(f"{layer}.block_sparse_moe.gate", 4, width, bias=False)
        for expert in range(4):
            path = f"{layer}.block_sparse_moe.experts.{expert}"
            for name, out, into in (("w1", inner, width), ("w2", width, inner), ("w3", inner, width)):
                shapes |= linear(f"{path}.{name}", out, into, bias=False)
    shapes |= {"model.norm.weight": (width,), "lm_head.weight": (40, width)}
    tensors = {name: ("F16", shape) for name, shape in sorted(shapes.items())}
    return write(folder / "mixture.safetensors", safetensors_bytes(tensors))


def adapter(folder: Path) -> str:
    """A LoRA as PEFT saves it, with the head that was trained whole."""
    inside = folder / "adapter"
    inside.mkdir()
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": "example/llama-small",
        "r": 4,
        "lora_alpha": 8,
    }
    (inside / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["q_proj", "v_proj"]}))
    shapes: dict[str, tuple[int, ...]] = {"base_model.model.score.weight": (3, 32)}
    for number in range(3):
        for target, out in (("q_proj", 32), ("v_proj", 8)):
            path = f"base_model.model.model.layers.{number}.self_attn.{target}"
            shapes |= {f"{path}.lora_A.weight": (4, 32), f"{path}.lora_B.weight": (out, 4)}
    tensors = {name: ("F32", shape) for name, shape in sorted(shapes.items())}
    write(inside / "adapter_model.safetensors", safetensors_bytes(tensors, {"format": "pt"}))
    return "adapter/adapter_model.safetensors"


def training(folder: Path) -> str:
    """What a training loop saves: model, EMA copy, AdamW state, arguments, random state."""
    shapes: Shapes = {"embed.weight": (20, 8), **linear("layers.0", 8, 8), **linear("layers.1", 8, 8), **linear("head", 20, 8)}
    storages = Storages()
    state: dict[int, Code] = {}
    root: dict[str, object] = {"epoch": 3, "global_step": 1200, "loss": 0.25, "model": storages.state_dict(shapes)}
    root["ema"] = storages.state_dict(shapes)
    for number, shape in enumerate(shapes.values()):
        kept = {"step": storages.tensor(()), "exp_avg": storages.tensor(shape), "exp_avg_sq": storages.tensor(shape)}
        state[number] = value(kept)
    group = {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-08, "weight_decay": 0.01, "params": list(range(len(shapes)))}
    root["optimizer"] = {"state": state, "param_groups": [group]}
    root["args"] = instance("argparse.Namespace", {"lr": 0.001, "batch_size": 8, "name": "run 7"})
    root["rng_state"] = storages.tensor((40,), "ByteStorage")
    return write(folder / "training.ckpt", torch_zip_bytes(root, storages))


def sharded(folder: Path) -> str:
    """Three shards and their index."""
    inside = folder / "sharded"
    inside.mkdir()
    tensors = [(name, ("BF16", shape)) for name, shape in transformer(4, 16, hidden=40, vocabulary=64).items()]
    third = -(-len(tensors) // 3)
    parts = [dict(tensors[start : start + third]) for start in range(0, len(tensors), third)]
    shards = {f"model-{number:05}-of-00003.safetensors": part for number, part in enumerate(parts, start=1)}
    sharded_folder(inside, shards)
    return "sharded"


def whole_module(folder: Path) -> str:
    """torch.save(model) of a class of somebody's own: classes, attributes and buffers are recorded."""
    storages = Storages()

    def parameters(**shapes: tuple[int, ...]) -> dict[str, Code]:
        return {name: parameter(storages.tensor(shape)) for name, shape in shapes.items()}

    def block(inputs: int, outputs: int) -> Code:
        size = {"in_channels": inputs, "out_channels": outputs, "kernel_size": (3, 3), "stride": (1, 1), "padding": (1, 1)}
        conv = module("torch.nn.modules.conv.Conv2d", parameters(weight=(outputs, inputs, 3, 3), bias=(outputs,)), **size)
        buffers = {"running_mean": storages.tensor((outputs,)), "running_var": storages.tensor((outputs,))}
        buffers["num_batches_tracked"] = storages.tensor((), "LongStorage")
        norm = module(
            "torch.nn.modules.batchnorm.BatchNorm2d",
            parameters(weight=(outputs,), bias=(outputs,)),
            buffers,
            num_features=outputs,
            eps=1e-05,
        )
        return module("torch.nn.modules.container.Sequential", **{"0": conv, "1": norm, "2": relu()})

    def relu() -> Code:
        return module("torch.nn.modules.activation.ReLU", inplace=True)

    stem, body = block(3, 8), block(8, 16)
    fc = module("torch.nn.modules.linear.Linear", parameters(weight=(10, 16), bias=(10,)), in_features=16, out_features=10)
    net = module("shop.nets.SmallNet", stem=stem, body=body, fc=fc, classes=10)
    return write(folder / "module.pth", torch_zip_bytes(net, storages))


def hostile(folder: Path) -> str:
    """Names that try to be more than names, and names in letters of double width."""
    shapes: Shapes = {
        "\x1b[2J\x1b]0;owned\x07.weight": (4, 4),
        "safe\rrm -rf.weight": (4,),
        "a\nTOTAL 0.weight": (4,),
        "\u202egnp.weight": (3, 3),
        "[bold red]markup[/].weight": (5,),
        "=SUM(A1).weight": (2,),
        "<script>alert(1)</script>|`x`.weight": (2, 2),
        "层.注意力.查询投影.权重": (6, 6),
        "🦙" * 30 + ".weight": (2, 3),
        "long." * 60 + "weight": (7,),
        "e\u0301\u0301\u0301.weight": (1,),
        "w\ud800x.weight": (2,),
        "": (3,),
        "..": (2,),
    }
    storages = Storages()
    root = {"\x1b[31mstate": storages.state_dict(shapes), "note\x1b[0m": "plain\x1b[5m text\r\n", "宽": "文" * 90}
    return write(folder / "hostile.pt", torch_zip_bytes(root, storages))


def wasteful(folder: Path) -> str:
    """The format before torch 1.6, with a slice that was saved with its whole storage, overlaps, and an empty tensor."""
    root = ordered(
        {
            "slice.weight": tensor("a", (10, 4), numel=4000, view=None),
            "left": tensor("b", (30,), numel=40, view=None),
            "right": tensor("b", (30,), numel=40, offset=10, view=None),
            "every_other": tensor("c", (20,), numel=40, strides=(2,), view=None),
            "nothing": tensor("d", (0, 3), numel=0, view=None),
        }
    )
    return write(
        folder / "wasteful.pth", legacy_bytes(root, {"a": (4000, 16_000), "b": (40, 160), "c": (40, 160), "d": (0, 0)})
    )


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return path.name


def repository(folder: Path) -> str:
    """A repository of Hugging Face: two shards, the same model again in nine forms, tokenizer, code, documents."""
    write_folder(folder / "repository", folders.repository())
    return "repository"


def training_run(folder: Path) -> str:
    """A run of transformers.Trainer: nine steps, of which the best is not the last."""
    write_folder(folder / "training_run", folders.trainer(range(500, 5000, 500), "out/checkpoint-3500"))
    return "training_run"


def pipeline(folder: Path) -> str:
    """A pipeline of diffusers: three components with weights, one after another, and the folder once."""
    write_folder(folder / "pipeline", folders.diffusers())
    return "pipeline"


# name of the snapshots → writes the files and returns the path to give to the command, relative to the folder
CHECKPOINTS: dict[str, Callable[[Path], str]] = {
    made.__name__: made for made in (decoder, gpt2, llama, mixture, adapter, training, sharded, whole_module, hostile, wasteful)
}
FOLDERS: dict[str, Callable[[Path], str]] = {made.__name__: made for made in (repository, training_run, pipeline)}
SHOWN = CHECKPOINTS | FOLDERS
