"""`--by`: under every key, and every pair of keys, the rows add up to the files and to the parameters."""

from __future__ import annotations

import re

import pytest

import modelscope_cli
from modelscope_cli.analysis.grouping import KEYS, SORTS, Grouping, layer_of, sort, trim
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.overview import Options, inspect, to_report
from modelscope_cli.analysis.size_row import total
from modelscope_cli.report.document import Table
from tests.builders.samples import SAMPLES
from tests.builders.shards import sharded_folder
from tests.builders.torch_code import tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.opened import opened
from tests.tables import checkpoint_of, transformer

VIEWS = {"a": tensor("0", (2,), numel=50), "b.weight": tensor("1", (3, 3)), "b.bias": tensor("1", (3,), numel=9, offset=1)}
WASTEFUL = torch_zip_bytes(VIEWS, {"0": 200, "1": 36, "2": 10})


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """One of every sample, a sharded set, a transformer with tied head, storages with waste, nothing at all."""
    folder = sharded_folder(tmp_path_factory.mktemp("set"))
    return {
        **{name: opened(data, name) for name, data in SAMPLES.items()},
        "set": modelscope_cli.read(str(folder)),
        "transformer": checkpoint_of(transformer(), ties={"lm_head.weight": "model.embed_tokens.weight"}),
        "wasteful": opened(WASTEFUL),
        "empty": opened(torch_zip_bytes({})),
    }


WHICH = [*SAMPLES, "set", "transformer", "wasteful", "empty"]


def check_sums(rows, checkpoint, ledger) -> None:
    summed = total(rows)
    assert summed.nbytes == checkpoint.nbytes
    assert summed.parameters == ledger.total_parameters()
    assert summed.tensors == len(ledger)
    check_children(rows)


def check_children(rows) -> None:
    for row in rows:
        if row.children:
            inside = total(row.children)
            assert (inside.nbytes, inside.parameters, inside.tensors) == (row.nbytes, row.parameters, row.tensors), row
            check_children(row.children)


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("first", KEYS)
def test_sums_under_every_key_and_pair_of_keys(checkpoints, which, first):
    checkpoint = checkpoints[which]
    ledger = Ledger(checkpoint)
    grouping = Grouping(ledger)
    check_sums(grouping.rows([first]), checkpoint, ledger)
    for second in KEYS:
        check_sums(grouping.rows([first, second]), checkpoint, ledger)


@pytest.mark.parametrize(
    "keys", [["role", "dtype", "kind"], ["shard", "layer", "module"], ["dtype", "storage", "tensor"], list(KEYS)]
)
def test_sums_under_many_keys(checkpoints, keys):
    for which in WHICH:
        ledger = Ledger(checkpoints[which])
        check_sums(Grouping(ledger).rows(keys), checkpoints[which], ledger)


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "patterns", [("weight", None), (None, "bias|norm"), ("layers", "0"), ("no such name", None), (None, "")]
)
def test_what_is_filtered_out_is_still_counted(checkpoints, which, key, patterns):
    checkpoint = checkpoints[which]
    ledger = Ledger(checkpoint)
    include, exclude = (re.compile(pattern) if pattern is not None else None for pattern in patterns)
    rows = Grouping(ledger, include=include, exclude=exclude).rows([key])
    check_sums(rows, checkpoint, ledger)


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("fold", [True, False])
def test_folding_changes_no_sum(checkpoints, which, fold):
    ledger = Ledger(checkpoints[which])
    check_sums(Grouping(ledger, fold=fold).rows(["module"]), checkpoints[which], ledger)


@pytest.mark.parametrize("by", SORTS)
@pytest.mark.parametrize("reverse", [False, True])
def test_sorting_loses_nothing(checkpoints, by, reverse):
    for which in WHICH:
        ledger = Ledger(checkpoints[which])
        for key in ("module", "tensor"):
            rows = sort(Grouping(ledger).rows([key]), by, reverse=reverse)
            check_sums(rows, checkpoints[which], ledger)
            outside = [row.section for row in rows]
            assert outside == sorted(outside)


def test_sorting_by_size_is_from_large_to_small(checkpoints):
    rows = sort(Grouping(Ledger(checkpoints["transformer"])).rows(["tensor"]), "bytes")
    sizes = [row.nbytes for row in rows if not row.section]
    assert sizes == sorted(sizes, reverse=True)


def test_sorting_by_name_counts():
    ledger = Ledger(checkpoint_of({f"conv{n}.weight": (n + 1,) for n in (10, 2, 1)}))
    rows = sort(Grouping(ledger).rows(["tensor"]), "name")
    assert [row.label for row in rows if not row.section] == ["conv1.weight", "conv2.weight", "conv10.weight"]


@pytest.mark.parametrize("most", [0, 1, 2, 5])
@pytest.mark.parametrize("levels", [1, 2, 9])
def test_trimming_keeps_the_sums(checkpoints, most, levels):
    for which in WHICH:
        ledger = Ledger(checkpoints[which])
        rows = trim(Grouping(ledger).rows(["role", "tensor"]), levels, most)
        check_sums(rows, checkpoints[which], ledger)
        if most:
            assert sum(not row.section for row in rows) <= most + 1


def test_rest_is_one_row():
    ledger = Ledger(checkpoint_of({f"{letter}.weight": (2,) for letter in "abcdef"}))
    rows = trim(Grouping(ledger).rows(["tensor"]), 1, 2)
    assert [row.label for row in rows] == ["a.weight", "b.weight", "(4 more)", "[header]"]
    assert rows[2].nbytes == 4 * 8


def test_unused_bytes_have_a_row(checkpoints):
    rows = Grouping(Ledger(checkpoints["wasteful"])).rows(["module"])
    assert {row.label: row.nbytes for row in rows}["[unused data]"] == 200 - 8 + 10


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.7.mlp.weight", "model.layers.7"),
        ("h.0.1.weight", "h.0"),
        ("embed.weight", "embed"),
        ("weight", "weight"),
        ("a.b.5", "a.b"),
        ("", "(the object itself)"),
    ],
)
def test_layers_end_at_the_first_number(name, layer):
    assert layer_of(name) == layer


def test_labels():
    checkpoint = checkpoint_of({"a.weight": (2,), "b.weight:int64": (3,), "b.bias": (3,)})
    grouping = Grouping(Ledger(checkpoint))
    labels = {key: [row.label for row in grouping.rows([key])] for key in ("dtype", "role", "storage", "section", "shard")}
    assert labels == {
        "dtype": ["float32", "int64", "[header]"],
        "role": ["weight", "bias", "[header]"],
        "storage": ["a.weight", "b.weight", "b.bias", "[header]"],
        "section": ["data", "header"],
        "shard": ["model.pt"],
    }


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("by", [(key,) for key in KEYS])
def test_printed_columns_add_up_to_the_printed_total(checkpoints, which, by):
    report = to_report(inspect(checkpoints[which], Options(by=by)))
    table = next(section for section in report.sections if isinstance(section, Table) and section.key in ("modules", "groups"))
    keys = [column.key for column in table.columns]
    top = [row for row in table.rows if row.level == 0 and row.mark != "total"]
    (last,) = [row for row in table.rows if row.mark == "total"]
    for key in ("parameters", "bytes", "tensors"):
        column = keys.index(key)
        assert sum(row.cells[column] or 0 for row in top) == last.cells[column], key
    assert last.cells[keys.index("bytes")] == checkpoints[which].nbytes
