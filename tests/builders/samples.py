"""One small file of every kind the readers know: what properties are tested on."""

from __future__ import annotations

from tests.builders.export_file import export_entries, graph, old_export_bytes, payload, pickled_payload
from tests.builders.gguf_file import Value, gguf_bytes
from tests.builders.package_file import package_bytes, reduced
from tests.builders.pickle_code import call, instance, name, persistent, pickled, remembered
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.script_file import class_text, method, packed, script_bytes, script_module
from tests.builders.tar_file import OldTensor, tar_bytes, torch_tar_entries
from tests.builders.torch_code import module, ordered, parameter, shard, sharded_tensor, storage, tensor
from tests.builders.torch_file import legacy_bytes, torch_entries, torch_zip_bytes
from tests.builders.zip_archive import zip_bytes


def _state_dict() -> bytes:
    state = ordered(
        {
            "embed.weight": tensor("0", (5, 4)),
            "layers.0.weight": tensor("1", (4, 4), "HalfStorage"),
            "layers.1.weight": tensor("2", (4, 4), "HalfStorage"),
            "layers.1.bias": tensor("3", (4,)),
            "head.weight": tensor("0", (5, 4)),
        },
        ["", "embed", "layers", "layers.0", "layers.1", "drop", "head"],
    )
    return torch_zip_bytes(state, {"0": 80, "1": 32, "2": 32, "3": 16})


def _training() -> bytes:
    root = {
        "model": ordered({"weight": remembered(1, tensor("0", (2, 3))), "bias": tensor("0", (3,), numel=6, offset=2)}),
        "optimizer": {
            "state": {0: {"step": 3, "exp_avg": tensor("1", (2, 3)), "exp_avg_sq": tensor("2", (2, 3))}},
            "param_groups": [{"lr": 0.1, "params": [0]}],
        },
        "args": instance("argparse.Namespace", {"seed": 1, "name": "run"}),
        "epoch": 7,
    }
    return torch_zip_bytes(root, {"0": 24, "1": 24, "2": 24}, zip64=True)


def _module() -> bytes:
    inner = module("torch.nn.modules.linear.Linear", {"weight": parameter(tensor("0", (2, 3))), "bias": None}, in_features=3)
    buffers = {"running_mean": tensor("2", (2,))}
    norm = module("torch.nn.modules.batchnorm.BatchNorm1d", {"weight": parameter(tensor("1", (2,)))}, buffers)
    return torch_zip_bytes(module("shop.Model", fc=inner, norm=norm), {"0": 24, "1": 8, "2": 8}, deflate=True)


def _sparse() -> bytes:
    layout = call("torch.serialization._get_layout", "torch.sparse_coo")
    parts = (tensor("0", (2, 3), "LongStorage"), tensor("1", (3,)), call("torch.Size", (9, 9)), True)
    from_name = call("torch._utils._rebuild_sparse_tensor", name("torch.sparse_coo"), parts)
    meta = call("torch._utils._rebuild_meta_tensor_no_storage", name("torch.float32"), (4, 4), (4, 1), False)
    entries = torch_entries({"sparse": from_name, "meta": meta, "layout": layout}, {"0": 48, "1": 12})
    return zip_bytes(entries, comment=b"a comment")


def _legacy() -> bytes:
    root = ordered({"weight": tensor("a", (2, 3), view=None), "bias": tensor("a", (3,), numel=6, offset=3, view=None)})
    return legacy_bytes(root, {"a": (6, 24)})


def _legacy_views() -> bytes:
    root = {"head": tensor("a", (2,), numel=6, view=("v", 0, 2)), "tail": tensor("a", (2,), numel=6, view=("w", 4, 2))}
    return legacy_bytes(root, {"a": (6, 24)})


def _bare_pickle() -> bytes:
    inner = legacy_bytes(tensor("a", (2, 2), view=None), {"a": (4, 16)})
    return pickled({"w": call("torch.storage._load_from_bytes", inner), "note": "plain", "table": [1, 2.5, None]})


def _untyped() -> bytes:
    held = storage("0", 8, "UntypedStorage", module="torch.storage")
    fp8 = call("torch._utils._rebuild_tensor_v3", held, 0, (2, 4), (4, 1), False, {}, name("torch.float8_e4m3fn"))
    return torch_zip_bytes({"fp8": fp8}, {"0": 8}, byteorder=b"big", stem="")


def _safetensors() -> bytes:
    tensors = {"a.weight": ("F32", (2, 3)), "a.bias": ("BF16", (3,)), "packed": ("F4", (4, 2)), "empty": ("I64", (0, 3))}
    return safetensors_bytes(tensors, {"format": "pt", "tied.weight": "a.weight"})


def _gguf(version: int, order: str) -> bytes:
    tensors = {
        "token_embd.weight": ("Q4_0", (3, 32)),
        "blk.0.attn_q.weight": ("BF16", (2, 3)),
        "output_norm.weight": ("F32", (3,)),
    }
    words = ["<s>", "a"] if version == 1 else [f"t{number}" for number in range(66)]
    metadata = {
        "general.architecture": "llama", "llama.attention.head_count": 2, "general.file_type": 2, "a.float": 1e-5, "a.truth": True,
        "a.wide": Value(10 if version > 1 else 4, 7), "a.nested": Value(9, (9, [(5, [1, 2]), (8, ["x"])])), "tokenizer.ggml.tokens": words,
    }  # fmt: skip
    return gguf_bytes(tensors, metadata, version=version, order=order, alignment=64 if version == 2 else 32)


def _torchscript() -> bytes:
    linear = script_module("nn.Linear", {"weight": tensor("0", (2, 3)), "bias": tensor("1", (2,)), "table": tensor("1", (2,))})
    weight = call(
        "torch._utils._rebuild_qtensor",
        storage("2", 6, "QInt8Storage"),
        0,
        (2, 3),
        (3, 1),
        (name("torch.per_tensor_affine"), 0.5, 0),
        False,
        {},
    )
    quantised = script_module("nn.Packed", {"_packed_params": packed("LinearPackedParamsBase", (weight, tensor("1", (2,))))})
    code = {"nn": class_text("Linear", ["weight"], ["bias"], "n : Final[int] = 3")}
    methods = (8, method("nn.Linear.forward", (3, tensor("0", (3,)))))
    root = script_module("nn.Net", {"fc": linear, "q": quantised})
    return script_bytes(
        root,
        {"0": 24, "1": 8, "2": 6},
        code,
        constants=(tensor("0", (3,)),),
        constant_storages={"0": bytes(12)},
        bytecode=methods,
    )


def _export() -> bytes:
    weights = {
        "fc.weight": payload("weight_0", (2, 3), (3, 1)),
        "tied": payload("weight_0", (3, 2), (1, 3)),
        "mask": payload("weight_1", (2,), (1,), offset=1, dtype=5, parameter=False),
        "sub": pickled_payload("weight_2"),
    }
    files = {
        "weights/weight_0": bytes(24),
        "weights/weight_1": bytes(24),
        "weights/weight_2": torch_zip_bytes(tensor("0", (2,)), {"0": 8}),
        "sample_inputs/model.pt": legacy_bytes(tensor("a", (2,), view=None), {"a": (2, 8)}),
    }
    return zip_bytes(export_entries(weights, files, text=graph(modules={"fc": "torch.nn.modules.linear.Linear"})))


def _old_export() -> bytes:
    state = torch_zip_bytes(ordered({"fc.weight": tensor("0", (2, 3)), "b": tensor("1", (2,))}), {"0": 24, "1": 8})
    return old_export_bytes(state, torch_zip_bytes({"c": tensor("0", (2,))}, {"0": 8}), text=graph(["fc.weight"], ["b"]))


def _package() -> bytes:
    net = module("shop.Net", {"weight": parameter(tensor("0", (2, 3)))}, {"mask": tensor("1", (2,))})
    body = {
        "training": True,
        "_parameters": ordered({"w": tensor("1", (2,))}),
        "_modules": ordered({}),
        "_graphmodule_cls_name": "Net",
    }
    graph_module = reduced("torch.fx.graph_module.reduce_package_graph_module", body, "fx-generated._0")
    files = {"shop.py": b"import torch", "res/note.txt": b"hello"}
    return package_bytes({"model/model.pkl": net, "model/fx.pkl": graph_module}, {"0": 24, "1": 8}, files=files)


def _tar() -> bytes:
    root = ordered({"weight": persistent("11"), "half": persistent("12"), "bias": persistent(13)})
    tensors = {11: OldTensor(1, (2, 3), (3, 1)), 12: OldTensor(1, (2,), (3,), 1), 13: OldTensor(2, (2,), (1,))}
    return tar_bytes(torch_tar_entries(root, {1: ("FloatStorage", 6, bytes(24))}, tensors, [(2, 1, 4, 2)]))


def _cut() -> bytes:
    pieces = [shard(tensor(str(number), (2, 3)), [row, 0], [2, 3]) for number, row in enumerate((2, 0))]
    return torch_zip_bytes({"w": sharded_tensor((4, 3), (pieces, None, None, None, {}))}, {"0": 24, "1": 24})


SAMPLES = {
    "state_dict.pt": _state_dict(),
    "training.ckpt": _training(),
    "module.pth": _module(),
    "sparse.bin": _sparse(),
    "legacy.pth": _legacy(),
    "legacy_views.pth": _legacy_views(),
    "bare.pkl": _bare_pickle(),
    "untyped.pt": _untyped(),
    "cut.pt": _cut(),
    "plain.safetensors": _safetensors(),
    "scripted.ptl": _torchscript(),
    "program.pt2": _export(),
    "program_old.pt2": _old_export(),
    "package.pt": _package(),
    "old.tar": _tar(),
    "model.gguf": _gguf(3, "<"),
    "old.gguf": _gguf(1, "<"),
    "big.gguf": _gguf(3, ">"),
}
