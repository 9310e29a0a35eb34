"""Which part of a file a diagram shows: the weights, some levels, one module; and when there is too much or nothing to draw."""

from __future__ import annotations

import math
import re

import pytest

from modelscope_cli.analysis.diagram import MOST_LINES
from modelscope_cli.errors import DrawingError
from tests.drawn import check_sums, diagram_of, labels, lines, paths
from tests.families import FAMILIES, Shapes, gpt2, llama
from tests.opened import opened
from tests.snapshots.checkpoints import CHECKPOINTS
from tests.tables import checkpoint_of

# Files that hold more --------------------------------------------------------------------------------------------------


def training() -> tuple[Shapes, list[tuple[int, str]]]:
    state = {f"optimizer.state.{number}.exp_avg": (8, 8) for number in range(4)}
    weights = gpt2()
    model = {f"model.{name}": shape for name, shape in weights.items()}
    copy = {f"ema.{name}": shape for name, shape in weights.items()}
    return {**model, **copy, **state}, [(0, ""), (0, "model"), (len(model), "ema"), (2 * len(model), "optimizer")]


def test_of_a_training_checkpoint_the_weights_are_drawn():
    shapes, made = training()
    diagram = diagram_of(shapes, groups=made)
    assert not [path for path in paths(diagram) if path.startswith(("ema", "optimizer"))]
    check_sums(diagram, 3_240)


def test_the_strip_adds_up_to_the_file():
    shapes, made = training()
    checkpoint = checkpoint_of(shapes, groups=made)
    strip = diagram_of(checkpoint).strip
    assert [part.label for part in strip] == ["weights", "optimizer state", "EMA copy", "metadata and container"]
    assert sum(part.nbytes for part in strip) == checkpoint.nbytes
    assert math.fsum(part.share for part in strip) == pytest.approx(1, abs=1e-9)


def test_the_strip_of_a_file_adds_up_to_its_size(tmp_path):
    path = tmp_path / CHECKPOINTS["training"](tmp_path)
    diagram = diagram_of(opened(path.read_bytes(), path.name))
    assert sum(part.nbytes for part in diagram.strip) == path.stat().st_size
    assert {"weights", "optimizer state", "EMA copy"} <= {part.label for part in diagram.strip}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_of_weights_has_no_strip(family):
    assert list(diagram_of(FAMILIES[family]).strip) == []


# Options ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("levels", "wanted"), [(1, 2), (2, 4), (3, 7), (4, 12), (9, 12)])
def test_depth(levels, wanted):
    assert len(lines(diagram_of(llama(), levels=levels))) == wanted
    assert labels(diagram_of(llama(), levels=9)) == labels(diagram_of(llama()))


def test_depth_one_is_the_outermost_modules():
    diagram = diagram_of(llama(), levels=1)
    assert labels(diagram) == ["model", "lm_head"]
    assert lines(diagram)[0][0].detail == "38 tensors"


def test_root_draws_one_module():
    diagram = diagram_of(llama(), root="model.layers.2")
    assert diagram.title.startswith("model.layers.2  in ")
    assert len(lines(diagram)) == 9
    assert diagram.facts[0][0].startswith("1,040 of 4,968 parameters")
    check_sums(diagram, 1_040)


def test_root_may_be_a_leaf():
    (only,) = lines(diagram_of(llama(), root="lm_head"))
    assert only[0].parameters == 400


@pytest.mark.parametrize(
    ("root", "hint"),
    [
        ("model.layer", "did you mean 'model.layers'?"),
        ("lmhead", "did you mean 'lm_head'?"),
        ("zzz", "at the top are lm_head, model"),
    ],
)
def test_a_root_that_is_not_there(root, hint):
    with pytest.raises(DrawingError, match=re.escape(repr(root))) as told:
        diagram_of(llama(), root=root)
    assert told.value.hint == hint


# Refusals --------------------------------------------------------------------------------------------------------------


def irregular(fold: bool = True) -> Shapes:
    """A thousand lines and more at every level but the first ones."""
    return {f"tower{i}.stage{j}.unit{k}.weight": (2 + i, 2 + k) for i in range(30) for j in range(12) for k in range(8)}


@pytest.mark.parametrize("fold", [True, False])
def test_a_drawing_that_is_too_large_is_refused_with_advice_that_works(fold):
    with pytest.raises(DrawingError, match=f"the most is {MOST_LINES:,}") as told:
        diagram_of(irregular(), fold=fold)
    assert told.value.path == "model.pt"
    hint = told.value.hint
    assert "-f html" in hint
    depth = re.search(r"--depth (\d+) draws ([\d,]+)", hint)
    assert (
        0 < len(lines(diagram_of(irregular(), fold=fold, levels=int(depth[1])))) <= int(depth[2].replace(",", "")) <= MOST_LINES
    )
    root = re.search(r"--root (\S+) draws ([\d,]+)", hint)
    assert 0 < len(lines(diagram_of(irregular(), fold=fold, root=root[1]))) <= int(root[2].replace(",", "")) <= MOST_LINES


def test_the_root_that_is_advised_is_no_fold_and_holds_the_most():
    shapes = {f"all.{'wide' if n % 2 else 'thin'}{n}.part{m}.weight": (2 + n % 2 * 9, 2) for n in range(40) for m in range(40)}
    with pytest.raises(DrawingError) as told:
        diagram_of(shapes)
    root = re.search(r"--root (\S+) draws", told.value.hint)[1]
    assert re.fullmatch(r"all\.wide\d+", root)
    assert len(lines(diagram_of(shapes, root=root))) == 40


def test_the_most_that_can_be_read_is_drawn():
    assert len(lines(diagram_of({f"m{n}.weight": (2, 2) for n in range(MOST_LINES)}))) == MOST_LINES
    with pytest.raises(DrawingError):
        diagram_of({f"m{n}.weight": (2, 2) for n in range(MOST_LINES + 1)})


def test_a_flat_file_of_very_many_modules_is_refused():
    with pytest.raises(DrawingError, match=r"50,000 lines would be drawn") as told:
        diagram_of({f"m{number}.weight": (1,) for number in range(50_000)})
    assert "-f html" in told.value.hint


def test_very_many_equal_layers_are_no_problem():
    diagram = diagram_of({f"layers.{n}.{part}.weight": (2, 2) for n in range(20_000) for part in ("a", "b")})
    assert [(found.label, copies) for found, copies in lines(diagram)] == [("a", 20_000), ("b", 20_000)]


@pytest.mark.parametrize(
    ("shapes", "made", "what"),
    [
        ({}, [(0, "")], "no tensors"),
        ({f"optimizer.state.{number}.exp_avg": (8, 8) for number in range(4)}, [(0, "optimizer")], "optimizer state only"),
    ],
)
def test_a_file_without_a_model_is_refused(shapes, made, what):
    with pytest.raises(DrawingError, match=what) as told:
        diagram_of(shapes, groups=made)
    assert "mscope inspect" in told.value.hint


@pytest.mark.parametrize(
    "shapes", [{"w": (0,)}, {"m.mask": (2, 2)}, {"bn.running_mean": (3,)}, {"steps:int64": ()}, {"": (2,)}]
)
def test_tensors_without_parameters_are_drawn(shapes):
    assert len(lines(diagram_of(shapes))) == 1
