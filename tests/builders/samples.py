"""One small file of every kind the readers know: what properties are tested on."""

from __future__ import annotations

from tests.builders.pickle_code import call, instance, name, pickled, remembered
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.torch_code import module, ordered, parameter, storage, tensor
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


SAMPLES = {
    "state_dict.pt": _state_dict(),
    "training.ckpt": _training(),
    "module.pth": _module(),
    "sparse.bin": _sparse(),
    "legacy.pth": _legacy(),
    "legacy_views.pth": _legacy_views(),
    "bare.pkl": _bare_pickle(),
    "untyped.pt": _untyped(),
    "plain.safetensors": _safetensors(),
}
