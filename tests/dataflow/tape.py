"""Calls written by hand, as torch.export would find them: layers with shortcuts, attention with rotary positions, masks."""

from __future__ import annotations

from modelscope_cli.core.calls import Call, Calls, Kept, Place, Value

TOKENS = (2, 4)


class Tape:
    """Records calls. Modules are known by path; a class is said when one is entered."""

    def __init__(self, root: str = "Model"):
        self.modules = {"": root}
        self.tensors: dict[str, list[tuple[str, Kept]]] = {}
        self.kept: list[Kept] = []
        self.found: list[Call] = []
        self.inputs: list[Value] = []
        self.runs: dict[str, int] = {}

    def input(self, name: str, shape=TOKENS, dtype="int64") -> str:
        self.inputs.append(Value(name, shape, dtype))
        return name

    def keep(self, path: str, shape, *, learned: bool = True) -> str:
        tensor = next((each for each in self.kept if each.path == path), None)
        if tensor is None:
            tensor = Kept(f"tensor {path}", path, tuple(shape), learned)
            self.kept.append(tensor)
            module, _, leaf = path.rpartition(".")
            self.tensors.setdefault(module, []).append((leaf, tensor))
        return tensor.name

    def tie(self, path: str, to: str) -> str:
        """A second module that has a tensor of another."""
        tensor = next(each for each in self.kept if each.path == to)
        module, _, leaf = path.rpartition(".")
        self.tensors.setdefault(module, []).append((leaf, tensor))
        return tensor.name

    def call(self, operator: str, *arguments: str, within: str = "", shape=(2, 4, 8), dtype="float32", numbers=()) -> str:
        name = f"{operator}_{len(self.found)}"
        parts = within.split(".") if within else []
        paths = ["", *[".".join(parts[: length + 1]) for length in range(len(parts))]]
        places = [
            Place(path, self.modules[path]) for path in paths if path in self.modules and self.modules[path] != "ModuleList"
        ]
        self.found.append(Call(name, operator, arguments, numbers, places, tuple(shape), dtype))
        return name

    def linear(self, path: str, value: str, out: int = 8, into: int = 8, kind: str = "Linear") -> str:
        self.modules[path] = kind
        return self.call("linear", value, self.keep(f"{path}.weight", (out, into)), within=path, shape=(2, 4, out))

    def embedding(self, path: str, value: str) -> str:
        self.modules[path] = "Embedding"
        return self.call("embedding", self.keep(f"{path}.weight", (100, 8)), value, within=path)

    def norm(self, path: str, value: str) -> str:
        """A normalisation of several calls, as transformers writes it."""
        self.modules[path] = "RMSNorm"
        same = self.call("to", value, within=path)
        power = self.call("pow", same, within=path, numbers=(2,))
        mean = self.call("mean", power, within=path, shape=(2, 4, 1))
        scaled = self.call("mul", same, self.call("rsqrt", mean, within=path, shape=(2, 4, 1)), within=path)
        return self.call("mul", self.keep(f"{path}.weight", (8,)), scaled, within=path)

    def calls(self, *outputs: str) -> Calls:
        return Calls(self.inputs, self.kept, self.found, outputs, self.modules, self.tensors)


def rope(tape: Tape, value: str, cos: str, sin: str, within: str) -> str:
    straight = tape.call("mul", value, cos, within=within)
    first = tape.call("slice", value, within=within, shape=(2, 4, 4))
    second = tape.call("slice", value, within=within, shape=(2, 4, 4))
    turned = tape.call("cat", tape.call("neg", second, within=within, shape=(2, 4, 4)), first, within=within)
    return tape.call("add", straight, tape.call("mul", turned, sin, within=within), within=within)


def decoder(layers: int = 6, *, odd: int | None = None, kind: str = "DecoderLayer") -> Calls:
    """A decoder of a few layers; layer `odd` has a wider feed-forward."""
    tape = Tape("Decoder")
    tape.modules |= {"model": "Body", "model.layers": "ModuleList"}
    value = tape.embedding("model.embed", tape.input("tokens"))
    positions = tape.call("arange", within="model", shape=(4,), dtype="int64")
    cos = tape.call("cos", positions, within="model", shape=(4, 8))
    mask = tape.call("le", positions, positions, within="model", shape=(4, 4), dtype="bool")
    for number in range(layers):
        path = f"model.layers.{number}"
        tape.modules |= {path: kind, f"{path}.attn": "Attention", f"{path}.mlp": "MLP"}
        normed = tape.norm(f"{path}.norm1", value)
        q, k, v = (tape.linear(f"{path}.attn.{each}_proj", normed) for each in "qkv")
        q, k = (rope(tape, each, cos, cos, f"{path}.attn") for each in (q, k))
        attended = tape.call("scaled_dot_product_attention", q, k, v, mask, within=f"{path}.attn")
        attended = tape.call("reshape", tape.call("transpose", attended, within=f"{path}.attn"), within=f"{path}.attn")
        value = tape.call("add", value, tape.linear(f"{path}.attn.o_proj", attended), within=path)
        wide = 24 if number == odd else 16
        normed = tape.norm(f"{path}.norm2", value)
        gate, up = (tape.linear(f"{path}.mlp.{each}", normed, wide) for each in ("gate", "up"))
        tape.modules[f"{path}.mlp.act"] = "SiLU"
        gate = tape.call("silu", gate, within=f"{path}.mlp.act", shape=(2, 4, wide))
        product = tape.call("mul", gate, up, within=f"{path}.mlp", shape=(2, 4, wide))
        value = tape.call("add", value, tape.linear(f"{path}.mlp.down", product, 8, wide), within=path)
    value = tape.norm("model.norm", value)
    return tape.calls(tape.linear("lm_head", value, 100))


def stack(*, shortcut: bool) -> Calls:
    """The five-layer network, with and without shortcuts."""
    tape = Tape("FiveLayers")
    value = tape.input("x", (2, 4, 8), "float32")
    for number in range(5):
        path = f"layers.{number}"
        tape.modules |= {path: "Sequential", f"{path}.1": "GELU"}
        made = tape.call("gelu", tape.linear(f"{path}.0", value), within=f"{path}.1")
        value = tape.call("add", value, made) if shortcut and number < 4 else made
    return tape.calls(value)
