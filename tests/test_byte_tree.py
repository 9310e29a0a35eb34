"""The tree of bytes: exact in sum, complete in names, and equal modules stored once."""

from __future__ import annotations

import os

import pytest

import modelscope_cli
from modelscope_cli.analysis.byte_tree import byte_tree
from modelscope_cli.analysis.overview import inspect
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.report.treemap import Node, Treemap
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.opened import opened
from tests.snapshots.checkpoints import CHECKPOINTS
from tests.tables import checkpoint_of, linear, transformer


def grown(checkpoint: Checkpoint) -> Treemap:
    return byte_tree(inspect(checkpoint))


def at(treemap: Treemap, path: str) -> Node:
    """The node at a path of names without dots."""
    node = treemap.root
    for name in path.split("."):
        node = dict(treemap.children(node))[name]
    return node


def check(checkpoint: Checkpoint) -> Treemap:
    """The tree, after holding it against the ledger line by line."""
    overview = inspect(checkpoint)
    ledger, treemap = overview.ledger, byte_tree(overview)
    root = treemap.root
    assert (root.parameters, root.nbytes, root.tensors) == (overview.parameters, checkpoint.nbytes, len(ledger))
    shown = sorted((name, node.shape, node.dtype, node.role, node.parameters, node.nbytes) for name, node in treemap.tensors())
    dtypes = [dtype.name for dtype in ledger.dtypes]
    columns = (ledger.names, ledger.shapes, dtypes, ledger.roles, ledger.parameters, ledger.nbytes)
    assert shown == sorted(zip(*columns, strict=True))
    assert treemap.ties == {ledger.names[line]: ledger.names[other] for line, other in ledger.tied.items()}
    for position, node in enumerate(treemap.nodes):
        inside = [treemap.nodes[child] for child in node.children]
        assert all(child < position for child in node.children)
        if inside:
            sums = [sum(getattr(child, figure) for child in inside) for figure in ("parameters", "nbytes", "tensors")]
            assert sums == [node.parameters, node.nbytes, node.tensors]
    return treemap


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_sort_of_checkpoint_is_told_exactly(name, tmp_path):
    check(modelscope_cli.read(str(tmp_path / CHECKPOINTS[name](tmp_path))))


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_is_told_exactly(name):
    check(opened(SAMPLES[name], name))


def test_equal_modules_are_one_node():
    treemap = check(checkpoint_of(transformer(48, 8)))
    layers = at(treemap, "model.layers")
    assert layers.names == tuple(map(str, range(48)))
    assert len(set(layers.children)) == 1
    assert len(treemap.nodes) < 30


def test_numbered_modules_and_tensors_come_by_number():
    shapes = {f"{where}.{n}{rest}": (4,) for n in (10, 9, 0, 2) for where, rest in (("blocks", ".weight"), ("scales", ""))}
    treemap = check(checkpoint_of(shapes, ordered=False))
    assert at(treemap, "blocks").names == at(treemap, "scales").names == ("0", "2", "9", "10")


def test_bytes_outside_the_tensors_stand_at_the_root():
    treemap = check(opened(safetensors_bytes({"w": ("F32", (2, 2))}), "m.safetensors"))
    outside = {name: node for name, node in treemap.children(treemap.root) if node.category == "outside"}
    assert set(outside) == {"[header]", "[padding]"}
    assert sum(node.nbytes for node in outside.values()) == treemap.root.nbytes - 16


def test_a_training_checkpoint_is_coloured_by_what_is_counted(tmp_path):
    treemap = check(modelscope_cli.read(str(tmp_path / CHECKPOINTS["training"](tmp_path))))
    top = dict(treemap.children(treemap.root))
    assert top["model"].parameters == treemap.root.parameters > 0
    assert {node.category for node in below(treemap, top["ema"])} == {"copy"}
    assert {node.category for node in below(treemap, top["optimizer"])} == {"optimizer"}
    assert top["ema"].parameters == top["optimizer"].parameters == 0


def below(treemap: Treemap, node: Node) -> list[Node]:
    found = [node]
    for _, inside in treemap.children(node):
        found += below(treemap, inside)
    return found


def test_linear_layers_take_the_category_of_what_they_serve():
    treemap = check(checkpoint_of(transformer(2, 8)))
    layer = "model.layers.0"
    assert at(treemap, f"{layer}.self_attn.q_proj").category == "attention"
    assert at(treemap, f"{layer}.mlp.up_proj.weight").category == "mlp"
    assert at(treemap, "lm_head").category == "head"


def test_tied_tensors_have_no_bytes_of_their_own():
    treemap = check(
        checkpoint_of(
            linear("embed", 8, 4, bias=False) | linear("head", 8, 4, bias=False), ties={"head.weight": "embed.weight"}
        )
    )
    assert treemap.ties == {"head.weight": "embed.weight"}
    assert at(treemap, "head").nbytes == 0


def test_weights_and_optimizer_state_below_one_name_are_one_module():
    shapes = {"run.model.weight": (4, 4), "run.optimizer.state.0.exp_avg": (4, 4), "run.optimizer.state.10.exp_avg": (4, 4)}
    treemap = check(checkpoint_of(shapes))
    assert at(treemap, "run").names == ("model", "optimizer")
    assert at(treemap, "run.optimizer.state").names == ("0", "10")


@pytest.mark.parametrize("name", [".x", ".", "..", "a..b", "a.", "", "a.b" * 900, "." * 3000, "x." * 70 + "w"])
def test_names_that_are_no_paths_are_told_too(name):
    check(checkpoint_of({name: (2,), "a.w": (3,)}))


def test_many_deep_names_need_no_deep_recursion():
    check(checkpoint_of({f"{'a.' * 300}b{number}.weight": (2,) for number in range(300)}))


def test_equal_tensors_compressed_to_unequal_sizes_are_kept_apart():
    root = ordered({f"layers.{number}.weight": tensor(str(number), (16, 16)) for number in range(3)})
    check(opened(torch_zip_bytes(root, {"0": os.urandom(1024), "1": 1024, "2": 1024}, deflate=True)))


def test_the_rows_of_equal_tensors_compressed_to_unequal_sizes_add_up():
    root = ordered({f"layers.{number}.weight": tensor(str(number), (16, 16)) for number in range(3)})
    checkpoint = opened(torch_zip_bytes(root, {"0": os.urandom(1024), "1": 1024, "2": 1024}, deflate=True))
    assert sum(row.nbytes for row in inspect(checkpoint).rows) == checkpoint.nbytes


def test_the_title_of_a_file_with_a_common_name_is_that_of_its_folder(tmp_path):
    folder = tmp_path / "tiny-llama"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (2,))}))
    treemap = grown(modelscope_cli.read(str(folder / "model.safetensors")))
    assert treemap.title == "tiny-llama/model.safetensors"
    assert treemap.facts == ["safetensors", "float32"]
