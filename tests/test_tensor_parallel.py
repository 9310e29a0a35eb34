"""Tensor-parallel slices: joined by what tells how, copies counted once, and the evidence said."""

from __future__ import annotations

import os

import pytest

import modelscope_cli
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.formats.locate import locate
from modelscope_cli.formats.registry import read_target
from modelscope_cli.formats.slices import COLUMNS, COPY, ROWS, Hidden, Joint, hidden_size, joint
from tests.builders.dcp_folder import write
from tests.builders.pickle_code import instance
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.sets import LLAMA, llama_slices, state_file
from tests.property.reading import check_analyses

WIDE = Hidden(8, "norms of 8")


def notes(checkpoint, *codes):
    return [note.message for note in checkpoint.notes if note.code in codes]


def whole_shapes():
    """What the slices of LLAMA add up to in two files."""
    cut = dict.fromkeys(LLAMA, ROWS)
    cut |= {name: COLUMNS for name in LLAMA if name.startswith("tok_emb") or ".wo." in name or ".w2." in name}
    cut |= {name: COPY for name in LLAMA if "norm" in name or "freqs" in name or "gate" in name}
    return {
        name: shape if cut[name] == COPY else tuple(2 * n if axis == cut[name] else n for axis, n in enumerate(shape))
        for name, shape in LLAMA.items()
    }


def test_slices_of_llama_are_one_model(tmp_path):
    checkpoint = modelscope_cli.read(str(write(tmp_path, llama_slices())))
    assert dict(zip(checkpoint.tensors.names, checkpoint.tensors.shapes, strict=True)) == whole_shapes()
    assert not [note for note in checkpoint.notes if note.severity != "info"]
    check_analyses(checkpoint)
    ledger = Ledger(checkpoint)
    sizes = {name: shape[0] * (shape[1] if len(shape) > 1 else 1) for name, shape in whole_shapes().items()}
    assert ledger.total_parameters() == sum(size for name, size in sizes.items() if name != "rope.freqs")
    assert dict(zip(ledger.names, ledger.nbytes, strict=True))["norm.weight"] == 2 * 8 * 4


def test_pieces_begin_where_the_slice_before_ends(tmp_path):
    checkpoint = modelscope_cli.read(str(write(tmp_path, llama_slices())))
    origins = {info.name: [piece.origin for piece in info.pieces] for info in checkpoint.tensors}
    assert origins["layers.0.attention.wq.weight"] == [(0, 0), (4, 0)]
    assert origins["layers.0.attention.wo.weight"] == [(0, 0), (0, 4)]
    assert origins["tok_embeddings.weight"] == [(0, 0), (0, 4)]
    assert origins["norm.weight"] == [(0,)]


def test_evidence_is_said(tmp_path):
    (said,) = notes(modelscope_cli.read(str(write(tmp_path, llama_slices()))), "slices")
    for words in ("2 files", "3 by rows (wq, w1, output; by shapes)", "3 by columns (tok_embeddings, wo, w2", "norms of 8",
                  "the same in every file, counted once", "equal bytes"):  # fmt: skip
        assert words in said
    (said,) = notes(modelscope_cli.read(str(write(tmp_path, llama_slices(params={"dim": 8})))), "slices")
    assert "dim 8 in params.json" in said


def test_embeddings_of_llama_3_are_cut_by_rows(tmp_path):
    shapes = {**LLAMA, "tok_embeddings.weight": (5, 8)}
    checkpoint = modelscope_cli.read(str(write(tmp_path, llama_slices(shapes=shapes))))
    assert checkpoint.tensors["tok_embeddings.weight"].shape == (10, 8)


def test_missing_slice_in_the_middle(tmp_path):
    files = llama_slices(4, shapes={**LLAMA, "tok_embeddings.weight": (10, 2)})
    del files["consolidated.02.pth"]
    checkpoint = modelscope_cli.read(str(write(tmp_path, files)))
    (problem,) = [note for note in checkpoint.notes if note.severity == "error"]
    assert problem.where == "consolidated.02.pth"
    ledger = Ledger(checkpoint)
    at = ledger.names.index("layers.0.attention.wq.weight")
    assert checkpoint.tensors.shapes[at] == (16, 8)
    assert (ledger.elements[at], ledger.owned[at]) == (128, 96)
    assert [piece.origin for piece in checkpoint.tensors[at].pieces] == [(0, 0), (4, 0), (12, 0)]


def test_missing_last_slice_shows_in_the_embeddings(tmp_path):
    files = llama_slices(3, shapes={"tok_embeddings.weight": (10, 2), "norm.weight": (8,)})
    checkpoint = modelscope_cli.read(str(write(tmp_path, files)))
    (said,) = notes(checkpoint, "slices-missing")
    assert said == "tok_embeddings.weight has 6 columns in all, norms of 8 says 8: slices are missing"


def test_one_file_alone_is_a_whole_model(tmp_path):
    write(tmp_path, llama_slices(1))
    checkpoint = modelscope_cli.read(str(tmp_path))
    assert checkpoint.notes == []
    assert checkpoint.tensors["norm.weight"].pieces == ()


def test_any_slice_leads_to_the_set_but_for_only(tmp_path):
    write(tmp_path, llama_slices())
    path = str(tmp_path / "consolidated.01.pth")
    assert modelscope_cli.read(path).tensors["output.weight"].shape == (10, 8)
    (target,) = locate([path], only=True).found
    alone = read_target(target)
    assert alone.tensors["output.weight"].shape == (5, 8)
    assert [note.code for note in alone.notes] == ["slice"]


def test_slices_in_safetensors(tmp_path):
    tensors = {"wq.weight": ("F16", (4, 8)), "norm.weight": ("F16", (8,))}
    write(tmp_path, {f"consolidated.{rank:02}.safetensors": safetensors_bytes(tensors) for rank in range(3)})
    checkpoint = modelscope_cli.read(str(tmp_path))
    assert checkpoint.format == "safetensors"
    assert [(info.name, info.shape) for info in checkpoint.tensors] == [("wq.weight", (12, 8)), ("norm.weight", (8,))]


def test_a_copy_of_the_model_beside_its_slices_is_one_model(tmp_path):
    write(tmp_path, {**llama_slices(), "model.safetensors": safetensors_bytes({"w": ("F32", (2,))})})
    (target,) = locate([str(tmp_path)]).found
    assert target.path.endswith("model.safetensors")
    assert "consolidated.00.pth" in target.notes[0].message


# Megatron-LM -------------------------------------------------------------------------------------------------------------

MEGATRON = {
    "embedding.word_embeddings.weight": (10, 8),
    "decoder.layers.0.self_attention.linear_qkv.weight": (12, 8),
    "decoder.layers.0.self_attention.linear_qkv.bias": (12,),
    "decoder.layers.0.self_attention.linear_proj.weight": (8, 4),
    "decoder.layers.0.self_attention.linear_proj.bias": (8,),
    "decoder.layers.0.mlp.linear_fc1.weight": (16, 8),
    "decoder.layers.0.mlp.linear_fc2.weight": (8, 16),
    "decoder.final_layernorm.weight": (8,),
}


def megatron(folders):
    around = {"args": instance("argparse.Namespace", {"hidden_size": 8, "tensor_model_parallel_size": 2}), "iteration": 7}
    return {folder: state_file(MEGATRON, "HalfStorage", fill=number, around=around) for number, folder in enumerate(folders, 1)}


def test_megatron_folders(tmp_path):
    for folder, data in megatron(["mp_rank_00", "mp_rank_01"]).items():
        write(tmp_path / folder, {"model_optim_rng.pt": data})
    checkpoint = modelscope_cli.read(str(tmp_path))
    check_analyses(checkpoint)
    shapes = {
        name.removeprefix("model."): shape
        for name, shape in zip(checkpoint.tensors.names, checkpoint.tensors.shapes, strict=True)
    }
    assert shapes == {
        "embedding.word_embeddings.weight": (20, 8),
        "decoder.layers.0.self_attention.linear_qkv.weight": (24, 8),
        "decoder.layers.0.self_attention.linear_qkv.bias": (24,),
        "decoder.layers.0.self_attention.linear_proj.weight": (8, 8),
        "decoder.layers.0.self_attention.linear_proj.bias": (8,),
        "decoder.layers.0.mlp.linear_fc1.weight": (32, 8),
        "decoder.layers.0.mlp.linear_fc2.weight": (8, 32),
        "decoder.final_layernorm.weight": (8,),
    }
    assert checkpoint.metadata["iteration"] == 7
    inside = str(tmp_path / "mp_rank_01" / "model_optim_rng.pt")
    assert len(modelscope_cli.read(inside).files) == 2


def test_stages_of_a_pipeline_are_kept_apart(tmp_path):
    for folder, data in megatron(["mp_rank_00_000", "mp_rank_01_000", "mp_rank_00_001", "mp_rank_01_001"]).items():
        write(tmp_path / folder, {"model_optim_rng.pt": data})
    checkpoint = modelscope_cli.read(str(tmp_path))
    check_analyses(checkpoint)
    assert len(checkpoint.tensors) == 2 * len(MEGATRON)
    assert checkpoint.tensors["stage_1.model.embedding.word_embeddings.weight"].shape == (20, 8)
    assert {os.path.basename(os.path.dirname(piece.file)) for piece in checkpoint.tensors[0].pieces} == {
        "mp_rank_00_000", "mp_rank_01_000",
    }  # fmt: skip


# How slices belong together ----------------------------------------------------------------------------------------------

DECISIONS = {
    "rows by shape": ("x.kernel", [(4, 8)] * 2, False, Joint(ROWS, "shapes")),
    "columns by shape": ("x.kernel", [(8, 4)] * 2, False, Joint(COLUMNS, "shapes")),
    "columns of an embedding": ("tok_embeddings.weight", [(30, 4)] * 2, False, Joint(COLUMNS, "shapes")),
    "rows by name": ("l.wq.weight", [(8, 8)] * 2, False, Joint(ROWS, "names")),
    "columns by name": ("l.wo.weight", [(8, 8)] * 2, False, Joint(COLUMNS, "names")),
    "shape before name": ("l.wq.weight", [(8, 4)] * 2, False, Joint(COLUMNS, "shapes")),
    "a norm": ("l.attention_norm.weight", [(8,)] * 2, False, Joint(COPY, "names")),
    "a layer norm": ("l.input_layernorm.bias", [(8,)] * 2, None, Joint(COPY, "names")),
    "bias of rows": ("l.linear_fc1.bias", [(6,)] * 2, False, Joint(ROWS, "names")),
    "bias of columns": ("l.linear_fc2.bias", [(8,)] * 2, False, Joint(COPY, "names")),
    "unequal rows": ("x", [(4, 8), (3, 8)], False, Joint(ROWS, "shapes that differ")),
    "unequal along a third axis": ("x", [(4, 8, 2), (4, 8, 3)], False, Joint(2, "shapes that differ")),
    "unequal everywhere": ("x", [(4, 8), (3, 7)], False, None),
    "other ranks": ("x", [(4, 8), (4,)], False, None),
    "equal bytes": ("x.gate", [(3, 8)] * 2, True, Joint(COPY, "equal bytes")),
    "a vector that differs": ("x", [(5,)] * 2, False, Joint(ROWS, "bytes that differ")),
    "a vector of nothing but zeros": ("x", [(5,)] * 2, None, None),
    "nothing tells": ("x", [(5, 6)] * 2, False, None),
}


@pytest.mark.parametrize(("name", "shapes", "same", "expected"), DECISIONS.values(), ids=DECISIONS)
def test_decision(name, shapes, same, expected):
    assert joint(name, shapes, len(shapes), WIDE, lambda: same) == expected


def test_without_a_hidden_size_names_are_left():
    assert joint("l.w2.weight", [(8, 4)] * 2, 2, None, lambda: False) == Joint(COLUMNS, "names")
    assert joint("l.kernel", [(8, 4)] * 2, 2, None, lambda: False) is None


def test_sources_of_the_hidden_size():
    tensors = [("a.norm.weight", (8,)), ("b.norm.weight", (8,)), ("norm.weight", (4,)), ("bias", (3,))]
    assert hidden_size({"dim": 16}, {"hidden_size": 12}, tensors) == Hidden(16, "dim 16 in params.json")
    assert hidden_size({}, {"hidden_size": 12}, tensors) == Hidden(12, "hidden_size 12 in the arguments in the files")
    assert hidden_size({"dim": True}, {}, tensors) == Hidden(8, "norms of 8")
    assert hidden_size({}, {}, []) is None


def test_what_nothing_tells_is_listed_slice_by_slice(tmp_path):
    shapes = {"strange.kernel": (5, 6), "norm.weight": (8,)}
    checkpoint = modelscope_cli.read(str(write(tmp_path, llama_slices(shapes=shapes))))
    assert [info.name for info in checkpoint.tensors] == ["slice_0.strange.kernel", "slice_1.strange.kernel", "norm.weight"]
    assert [note.code for note in checkpoint.notes if note.severity == "warning"] == ["slices-apart"]
    check_analyses(checkpoint)
