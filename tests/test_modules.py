"""The module tree: equal numbered siblings fold, nested folds too, irregular and tied layers stay apart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.analysis.folding import fold_label
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import ModuleTree, kind_totals
from modelscope_cli.analysis.size_row import total
from tests.tables import checkpoint_of, linear, transformer


def tree(shapes, *, fold=True, **rest) -> ModuleTree:
    return ModuleTree(Ledger(checkpoint_of(shapes, **rest)), fold=fold)


def shown(rows) -> list:
    """Labels with folds, nested."""
    found = []
    for row in rows:
        label = f"{row.label} ×{row.fold}" if row.fold > 1 else row.label
        found.append((label, shown(row.children)) if row.children else label)
    return found


def test_equal_layers_fold():
    rows = tree({f"layers.{n}.weight": (4, 4) for n in range(5)}).rows
    assert shown(rows) == ["layers.0–4 ×5"]
    assert (rows[0].parameters, rows[0].tensors, rows[0].nbytes, rows[0].copies) == (80, 5, 320, 5)


def test_unequal_layers_do_not_fold():
    assert shown(tree({"layers.0.weight": (4, 4), "layers.1.weight": (4, 5)}).rows) == [("layers", ["0", "1"])]


def test_runs_of_equal_layers_fold_by_themselves():
    shapes = {f"layers.{n}.weight": (4, 4) if n < 3 else (8, 8) for n in range(6)}
    assert shown(tree(shapes).rows) == [("layers", ["0–2 ×3", "3–5 ×3"])]


def test_alternating_layers_fold_when_they_are_many():
    shapes = {f"layers.{n}.weight": (4, 4 + n % 2) for n in range(8)}
    assert shown(tree(shapes).rows) == [("layers", ["0,2,4,6 ×4", "1,3,5,7 ×4"])]


def test_dtypes_and_names_keep_layers_apart():
    assert shown(tree({"l.0.weight": (4,), "l.1.weight:float16": (4,)}).rows) == [("l", ["0", "1"])]
    assert shown(tree({"l.0.weight": (4,), "l.1.scale": (4,)}).rows) == [("l", ["0", "1"])]


def test_folds_inside_folds():
    shapes = {}
    for layer in range(3):
        for expert in range(4):
            shapes |= linear(f"layers.{layer}.experts.{expert}.up", 8, 4, bias=False)
            shapes |= linear(f"layers.{layer}.experts.{expert}.down", 4, 8, bias=False)
    rows = tree(shapes).rows
    assert shown(rows) == [("layers.0–2 ×3", [("experts.0–3 ×4", ["up", "down"])])]
    inner = rows[0].children[0]
    assert (inner.fold, inner.copies, inner.parameters) == (4, 12, 12 * 64)
    assert inner.children[0].copies == 12


def test_without_folding_every_module_has_a_row():
    assert shown(tree({f"layers.{n}.weight": (4, 4) for n in range(3)}, fold=False).rows) == [("layers", ["0", "1", "2"])]


def test_tied_layers_stay_apart():
    shapes = {f"layers.{n}.weight": (4, 4) for n in range(4)}
    rows = tree(shapes, ties={"layers.3.weight": "layers.0.weight"}).rows
    assert shown(rows) == [("layers", ["0–2 ×3", "3"])]
    last = rows[0].children[1]
    assert (last.parameters, last.tied) == (0, "layers.0.weight")


def test_single_children_are_merged_into_one_row():
    assert shown(tree({"model.body.fc.weight": (2, 2), "model.body.fc.bias": (2,)}).rows) == ["model.body.fc"]


def test_tensors_beside_modules_have_rows():
    rows = tree({"cls_token": (1, 1, 4), "fc.weight": (2, 2), "fc.bias": (2,)}).rows
    assert shown(rows) == ["cls_token", "fc"]
    assert rows[0].kind.name == "Parameter"


def test_numbers_are_ordered_as_numbers():
    shapes = {f"layers.{n}.weight": (n + 1, 2) for n in (10, 9, 1, 0)}
    assert shown(tree(shapes).rows) == [("layers", ["0", "1", "9", "10"])]


def test_lost_order_becomes_that_of_execution():
    names = sorted(transformer(1))
    rows = tree({name: transformer(1)[name] for name in names}, ordered=False).rows
    assert [row.label for row in rows] == ["model", "lm_head"]
    inside = [row.label for row in rows[0].children]
    assert (inside[0], inside[-1]) == ("embed_tokens", "norm")


def test_order_of_the_file_is_kept():
    rows = tree({"z.weight": (2,), "a.weight": (2,), "m.weight": (2,)}).rows
    assert shown(rows) == ["z", "a", "m"]


def test_recorded_classes_are_the_kinds():
    rows = tree(
        {"fc.weight": (2, 2)},
        classes={"": "shop.M", "fc": "torch.nn.modules.linear.Linear", "drop": "torch.nn.modules.dropout.Dropout"},
    ).rows
    assert [(row.label, row.kind.name, row.kind.inferred) for row in rows] == [("fc", "Linear", False)]


def test_modules_without_parameters_on_demand():
    ledger = Ledger(checkpoint_of({"fc.weight": (2, 2)}, classes={"fc": "a.Linear", "drop": "a.Dropout"}))
    assert [row.label for row in ModuleTree(ledger, empty=True).rows] == ["fc", "drop"]


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (["0"], "0"),
        ([""], "(unnamed)"),
        (["0", "1", "2"], "0–2"),
        (["0", "2"], "0,2"),
        (["0", "1", "5", "6"], "0–1,5–6"),
        ([str(2 * n) for n in range(9)], "0,2,4,…,16"),
    ],
)
def test_labels_of_folds(names, label):
    assert fold_label(names) == label


def test_kinds_add_up():
    found = tree(transformer(3))
    kinds = kind_totals(found.rows)
    assert sum(row.parameters for row in kinds.values()) == total(found.rows).parameters
    assert set(kinds) == {"Embedding", "Linear", "RMSNorm"}


def test_labels_of_lines():
    found = tree(transformer(3)).labels()
    assert found[0][0] == "model.embed_tokens"
    assert found[1][0] == "model.layers.0–2.input_layernorm"


def test_outline_has_one_of_every_fold():
    outline = tree(transformer(5)).outline()
    assert outline.stacks["model.layers"].size == 5
    assert len(outline.lines) == 3 + 9


ODD_NAMES = [
    "",
    ".",
    "..",
    "...",
    ".weight",
    "..weight",
    "a..b",
    "a.",
    "a..",
    ".a.b",
    "._.w",
    "0",
    "0.0",
    "1.weight",
    "²",
    "a.²",
    "٣.w",
    "a" * 300,
    ".".join("abc" * 60),
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_counted_like_others(name):
    rows = tree({name: (3,), "fc.weight": (2,)}).rows
    assert total(rows).parameters == 5
    assert total(rows).tensors == 2


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["", "0", "1", "2", "a", "weight", "bias"]), max_size=5).map(".".join),
        unique=True,
        min_size=1,
        max_size=8,
    )
)
def test_any_names_add_up(names):
    found = tree({name: (number + 1,) for number, name in enumerate(names)})
    assert total(found.rows).elements == sum(range(1, len(names) + 1))
    assert len(found.labels()) == len(names)
