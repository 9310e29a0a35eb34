"""A quantised model against the plain one, or against itself in another layout: the same tensors, kept otherwise."""

from __future__ import annotations

import itertools

import pytest

from modelscope_cli.analysis.diff import compare
from modelscope_cli.analysis.diff_report import to_report
from modelscope_cli.analysis.diff_row import walk
from modelscope_cli.analysis.diff_tables import tensor_table
from modelscope_cli.report.document import READABLE, BytesChange
from tests.builders.quantised import LAYERS, LAYOUTS, LINEARS, PLAIN, gptq, packed_ints, quantised_tensors
from tests.builders.safetensors_file import safetensors_bytes
from tests.opened import opened

PAIRS = len(LAYERS) * len(LINEARS)


def checkpoint(tensors, said=None, **config):
    found = opened(safetensors_bytes(tensors), "model.safetensors")
    found.config = {**config, **({} if said is None else {"quantization_config": said})}
    return found


@pytest.fixture
def plain():
    return checkpoint({name: ("F16", shape) for name, shape in PLAIN.items()})


def texts(diff) -> dict[str, str]:
    """label → what happened, of the rows of tensors."""
    rows = [row for row in walk(diff.tree.rows) if not row.children]
    return {
        row.label: "".join(f"{int(part):+,}" if isinstance(part, BytesChange) else part for part in row.text) for row in rows
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_against_the_plain_model(name, plain):
    """Nothing of the model comes or goes: its weights are quantised, and helpers come with them."""
    linear, said, *_ = LAYOUTS[name]
    quantised = checkpoint(quantised_tensors(linear), said)
    for old, new, word, verb in ((plain, quantised, "quantised", "added"), (quantised, plain, "dequantised", "removed")):
        diff = compare(old, new)
        helpers = diff.tensors.change if verb == "added" else -diff.tensors.change
        assert dict(diff.aspects) == {word: PAIRS, **({f"helpers {verb}": helpers} if helpers else {})}
        assert diff.parameters.change == 0
        assert diff.differs()
        assert {change.nbytes < 0 for change in diff.changes if change.aspects == (word,)} == {verb == "added"}
        shown = texts(diff)
        assert all(label.endswith(".weight") and "reshaped" not in text for label, text in shown.items())
        assert sum(row.nbytes_change for row in diff.tree.rows) == sum(change.nbytes for change in diff.changes)
        to_report(diff)


def test_what_a_row_says(plain):
    linear, said, *_ = LAYOUTS["pack-quantized"]
    shown = texts(compare(plain, checkpoint(quantised_tensors(linear), said)))
    scales = len(LAYERS) * (256 * 256 // 128 * 2 + 16)
    assert shown["q_proj.weight"] == f"float16 → 4 bits (compressed-tensors), helpers +{scales:,}"


def test_helpers_are_one_line_of_the_tensors(plain):
    linear, said, *_ = LAYOUTS["pack-quantized"]
    diff = compare(plain, checkpoint(quantised_tensors(linear), said))
    rows = tensor_table(diff, READABLE, []).rows
    helpers = sum(change.nbytes for change in diff.changes if change.old is None)
    assert [(row.cells[0], row.cells[2], row.cells[4]) for row in rows if row.mark == "more"] == [
        ("(their helpers)", 2 * PAIRS, helpers)
    ]
    assert sum(row.cells[4] for row in rows) == sum(change.nbytes for change in diff.changes)


@pytest.mark.parametrize(
    ("first", "second"), list(itertools.pairwise(["gptq 4", "gptq 8", "awq", "bitsandbytes nf4", "hqq 4", "mlx", "exl3"]))
)
def test_one_layout_against_another(first, second):
    sides = [checkpoint(quantised_tensors(LAYOUTS[name][0]), LAYOUTS[name][1]) for name in (first, second)]
    diff = compare(*sides)
    assert diff.aspects["quantised otherwise"] == PAIRS
    assert diff.parameters.change == 0
    assert not {"added", "removed"} & diff.aspects.keys()


@pytest.mark.parametrize(
    ("sizes", "text"),
    [(((4, 128), (8, 128)), "4 bits → 8 bits (compressed-tensors)"),
     (((4, 128), (4, 64)), "4 bits, groups of 128 → 4 bits, groups of 64 (compressed-tensors)")],
)  # fmt: skip
def test_only_what_differs_is_told(sizes, text):
    sides = []
    for bits, group in sizes:
        said = {
            "quant_method": "compressed-tensors",
            "config_groups": {"a": {"targets": ["Linear"], "weights": {"num_bits": bits, "group_size": group}}},
        }
        sides.append(
            checkpoint(quantised_tensors(lambda out, into, bits=bits, group=group: packed_ints(bits, group, out, into)), said)
        )
    shown = texts(compare(*sides))["q_proj.weight"]
    assert shown.partition(", helpers")[0] == text


def test_another_size_is_told_too():
    """A quantised weight of another shape is quantised and reshaped, in the sizes of the model."""
    tensors = {f"a.{leaf}": held for leaf, held in gptq(4, 128, 256).items()}
    diff = compare(checkpoint({"a.weight": ("F16", (128, 128))}), checkpoint(tensors))
    assert diff.aspects["quantised"] == diff.aspects["reshaped"] == 1
    assert texts(diff)["a.weight"].startswith("128 × 128 float16 → 128 × 256 4 bits (GPTQ), helpers +")
    assert diff.parameters.change == 128 * 128


def test_float8_and_its_scales_are_one_row():
    old = checkpoint({"a.weight": ("BF16", (64, 64)), "b.weight": ("BF16", (64,))})
    new = checkpoint({"a.weight": ("F8_E4M3", (64, 64)), "a.weight_scale": ("F32", ()), "b.weight": ("BF16", (64,))})
    assert texts(compare(old, new)) == {"a.weight": "bfloat16 → float8_e4m3fn, helpers +4"}
    assert dict(compare(old, new).aspects) == {"retyped": 1, "helpers added": 1}


def test_experts_in_blocks():
    """gpt-oss: [experts, in, out] in the model, [experts, out, blocks, bytes] in the file."""
    old = checkpoint({"experts.gate_up_proj": ("BF16", (4, 96, 128)), "experts.gate_up_proj_bias": ("BF16", (4, 128))})
    new = checkpoint(
        {"experts.gate_up_proj_blocks": ("U8", (4, 128, 3, 16)), "experts.gate_up_proj_scales": ("U8", (4, 128, 3)),
         "experts.gate_up_proj_bias": ("BF16", (4, 128))},
    )  # fmt: skip
    assert texts(compare(old, new)) == {"experts.gate_up_proj": f"bfloat16 → 4 bits (MXFP4), helpers +{4 * 128 * 3:,}"}


def test_the_same_file_is_the_same_whatever_the_configuration_calls_it():
    tensors = quantised_tensors(lambda out, into: gptq(4, out, into))
    assert not compare(checkpoint(tensors), checkpoint(tensors, {"quant_method": "gptq", "bits": 4, "group_size": 128})).changes


def test_a_module_that_is_new_is_new():
    """No weight on the other side: a helper of it is no news of its own."""
    tensors = {f"a.{leaf}": held for leaf, held in gptq(4, 128, 256).items()}
    diff = compare(checkpoint({"b.weight": ("F16", (4,))}), checkpoint({"b.weight": ("F16", (4,)), **tensors}))
    assert dict(diff.aspects) == {"added": 4}
    assert [row.whole for row in diff.tree.rows] == [True]
