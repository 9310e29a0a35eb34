"""The feed-forward part of a layer, plain or gated, and the width of experts."""

from __future__ import annotations

from collections.abc import Mapping

from modelscope_cli.analysis.architecture_weights import Architecture, is_dense, last_part
from modelscope_cli.analysis.beneath import Beneath
from modelscope_cli.analysis.expert_facts import expert_facts
from modelscope_cli.core.tensor import Shape

GATES = ("gate_proj", "w1", "wi_0", "ffn_gate")
UPS = ("up_proj", "w3", "wi_1", "ffn_up")
FIRST_MLP = (
    "linear1",
    "fc1",
    "c_fc",
    "dense_h_to_4h",
    "fc_in",
    "up_proj",
    "w_1",
    "lin1",
    "intermediate.dense",
    "ff.layers.0",
    "mlp.0",
    "fc",
    "wi",
    "ffn_up",
)
LAST_MLP = (
    "linear2",
    "fc2",
    "c_proj",
    "dense_4h_to_h",
    "fc_out",
    "down_proj",
    "w_2",
    "lin2",
    "output.dense",
    "ff.layers.2",
    "mlp.2",
    "w2",
    "wo",
    "ffn_down",
)
FUSED_GATED = ("gate_up_proj",)


def feed_forward_facts(found: Architecture, path: str, layer: dict[str, Shape]) -> None:
    dense = {name: shape for name, shape in layer.items() if is_dense(name, shape)}
    if any(".experts." in f".{name}" or last_part(name) == "ffn_gate_inp" for name in layer):
        dense = next((inside for inside in found.layers(path) if ending_in(inside, GATES) or ending_in(inside, FIRST_MLP)), {})
    gate = ending_in(dense, GATES)
    up = ending_in(dense, UPS)
    fused = ending_in(dense, FUSED_GATED)
    first, last = ending_in(dense, FIRST_MLP), ending_in(dense, LAST_MLP)
    if gate and up and gate[1] == up[1]:
        found.add(
            "feed_forward",
            "Feed-forward",
            gate[1][0],
            f"{gate[1][0]:,}, gated MLP",
            f"{gate[0]} and {last_part(up[0])}: {gate[1][1]:,} → {gate[1][0]:,}",
        )
    elif fused:
        found.add(
            "feed_forward",
            "Feed-forward",
            fused[1][0] // 2,
            f"{fused[1][0] // 2:,}, gated MLP",
            f"{fused[0]} holds both halves",
        )
    elif first and last and first[1][0] == 2 * last[1][1]:
        found.add(
            "feed_forward",
            "Feed-forward",
            last[1][1],
            f"{last[1][1]:,}, gated MLP",
            f"{first[0]} gives {first[1][0]:,} = 2 × the {last[1][1]:,} that {last_part(last[0])} takes",
        )
    elif first and last and (first[1][0] == last[1][1] or first[1][1] == last[1][0]):
        size = max(first[1])
        found.add("feed_forward", "Feed-forward", size, f"{size:,}", f"{first[0]} and {last_part(last[0])}")


def experts(found: Architecture) -> None:
    """Routed experts: how many a layer has, how many a token uses and how many parameters, where config.json tells."""
    gates = Beneath([name for name in found.cubes if "ffn_gate_exps" in name])
    expert_facts(
        found.ledger, found.outline, found.weights, lambda path, first: _expert_width(found, gates, path, first), found.add
    )


def _expert_width(found: Architecture, gates: Beneath, path: str, expert: str) -> str:
    """The feed-forward size of one expert; `expert` names it where they are modules of their own, `gates` the cubes that are gates."""
    weights, first = found.weights, f"{path}.{expert}" if expert else path
    inside = {name[len(first) + 1 :]: weights[name] for name in found.beneath(first) if len(weights[name]) == 2}
    gate = ending_in(inside, GATES)
    cube = next((found.cubes[name] for name in gates(first)), None)
    width = gate[1][0] if gate else cube[1] if cube else None
    return f", each a gated MLP of {width:,}" if width else ""


def ending_in(layer: Mapping[str, Shape], names: tuple[str, ...]) -> tuple[str, Shape] | None:
    """The first weight whose path ends in one of the names, in the order of the names."""
    for wanted in names:
        for name, shape in layer.items():
            if name == wanted or name.endswith("." + wanted):
                return name, shape
    return None
