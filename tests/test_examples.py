"""The example scripts make what the documentation says they make. They run real torch, each in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import modelscope_cli
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.overview import inspect
from modelscope_cli.analysis.size_row import SizeRow
from modelscope_cli.analysis.size_table import walk
from tests.command import mscope

pytest.importorskip("torch")
pytestmark = pytest.mark.oracle
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
ROOM = 4 << 30  # free bytes on the disk from which the large models are made


def run(script: str, folder: Path, *options: str) -> None:
    command = [sys.executable, str(EXAMPLES / f"{script}.py"), str(folder), *options]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
    }  # threads that wait for each other on busy cores take ten times as long
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert all(Path(line).is_file() for line in done.stdout.split()), done.stdout


def ledger(path: Path) -> Ledger:
    return Ledger(modelscope_cli.read(str(path)))


def rows(path: Path) -> Iterable[SizeRow]:
    """All rows of the module table."""
    return walk(inspect(modelscope_cli.read(str(path))).rows)


def shown(path: Path, start: str) -> list[str]:
    """The words of the first line of the report that begins so."""
    return next(line for line in mscope("inspect", path).out.split("\n") if line.startswith(start)).split()


# What the scripts make ------------------------------------------------------------------------------------------------


def test_the_committed_decoder():
    path = EXAMPLES / "decoder_small.pth"
    books = ledger(path)
    assert path.stat().st_size == books.checkpoint.nbytes == 1_303_775
    assert books.total_parameters() == 316_556
    assert len(books) == 111
    assert {"126,624", "40.0", "494.6"} <= set(shown(path, "embedding"))


def test_the_small_decoder_again(tmp_path):
    run("decoder_small", tmp_path)
    kept, made = (modelscope_cli.read(str(folder / "decoder_small.pth")) for folder in (EXAMPLES, tmp_path))
    assert [tensor[:4] for tensor in made.tensors] == [tensor[:4] for tensor in kept.tensors]  # name, shape, dtype, role
    assert Ledger(made).total_parameters() == 316_556
    assert Ledger(made).by_role() == Ledger(kept).by_role()


def test_five_layers(tmp_path):
    run("five_layers", tmp_path)
    for name in ("plain", "shortcut"):
        for suffix in ("", "_module"):
            assert ledger(tmp_path / f"five_layers_{name}{suffix}.pth").total_parameters() == 52
    plain, shortcut = (modelscope_cli.read(str(tmp_path / f"five_layers_{name}_module.pth")) for name in ("plain", "shortcut"))
    assert plain.modules[""].class_name == "__main__.FiveLayers"
    assert (plain.modules[""].attributes["use_shortcut"], shortcut.modules[""].attributes["use_shortcut"]) == (False, True)


def test_training_checkpoint(tmp_path):
    run("training_checkpoint", tmp_path)
    books = ledger(tmp_path / "training_checkpoint.pt")
    assert books.total_parameters() == 316_556
    elements = {role: figures[1] for role, figures in books.by_role().items()}
    assert elements["ema"] == 316_556
    assert elements["optimizer"] == 2 * 316_556 + 111  # AdamW counts its steps for each tensor by itself


def test_llama2_7b(tmp_path):
    run("llama2_7b", tmp_path)
    for name in ("llama-2-7b-bin/pytorch_model.bin", "llama-2-7b-safetensors/model.safetensors"):
        books = ledger(tmp_path / name)
        assert len(books) == 291
        assert books.total_parameters() == 6_738_415_616
        (layers,) = [row for row in rows(tmp_path / name) if row.fold > 1]
        assert (layers.label, layers.fold) == ("layers.0–31", 32)
        assert layers.parameters == 32 * 202_383_360


def test_chatglm3_6b(tmp_path):
    run("chatglm3_6b", tmp_path)
    books = ledger(tmp_path / "chatglm3-6b")
    assert books.total_parameters() == 6_243_584_000
    assert books.by_role()["buffer"][:2] == (1, 32)
    assert len([file for file in books.checkpoint.files if len(file.tensors)]) == 8
    (layers,) = [row for row in rows(tmp_path / "chatglm3-6b") if row.fold > 1]
    assert layers.fold == 28


@pytest.mark.parametrize(
    ("script", "name", "parameters", "tensors", "folds"),
    [
        ("mixtral", "mixtral-8x7b", 46_702_792_704, 995, {32, 8}),
        ("deepseek_v3", "deepseek-v3", 671_026_419_200, 90_427, {3, 58, 256}),
        ("quantised", "llama-2-7b-gptq", 6_738_415_616, 963, {32}),  # eight weights in one stored integer
        ("lora_adapter", "llama-2-7b-lora", 8_388_608, 128, {32}),
    ],
)
def test_models_at_full_size(tmp_path, script, name, parameters, tensors, folds):
    run(script, tmp_path)
    books = ledger(tmp_path / name)
    assert (books.total_parameters(), len(books)) == (parameters, tensors)
    assert {row.fold for row in rows(tmp_path / name) if row.fold > 1} == folds


# The large ones, which write up to 1.3 GB and clear it away -----------------------------------------------------------


@pytest.fixture
def roomy(tmp_path):
    if shutil.disk_usage(tmp_path).free < ROOM:
        pytest.skip("less than 4 GiB free")
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.parametrize(
    ("vocabulary", "parameters", "tensor_bytes", "share", "printed"),
    [(98_631, 126_320_967, 505_283_868, 39.98, "40.0"), (168_283, 197_714_267, 790_857_068, 43.58, "43.6")],
)
def test_decoder(roomy, vocabulary, parameters, tensor_bytes, share, printed):
    run("decoder", roomy, "--vocabulary", str(vocabulary))
    path = roomy / f"decoder_{vocabulary}.pth"
    books = ledger(path)
    assert books.total_parameters() == parameters
    assert sum(books.nbytes) == tensor_bytes
    (embedding,) = [row for row in rows(path) if row.label == "embedding"]
    assert embedding.parameters == vocabulary * 512
    assert embedding.parameters / parameters * 100 == pytest.approx(share, abs=0.005)
    assert printed in shown(path, "embedding")


@pytest.mark.parametrize(
    ("script", "name", "parameters", "tensors"),
    [
        ("resnet50", "resnet50.pth", 25_557_032, 320),
        ("unet", "unet.pth", 31_037_633, 118),
        ("lstm", "lstm.pth", 50_065_078, 11),
        ("lstm", "lstm_tied.pth", 28_434_378, 11),
    ],
)
def test_small_networks(roomy, script, name, parameters, tensors):
    run(script, roomy)
    books = ledger(roomy / name)
    assert (books.total_parameters(), len(books)) == (parameters, tensors)


def test_gpt2(roomy):
    run("gpt2", roomy)
    for name, parameters in (("untied", 163_009_536), ("tied", 124_412_160)):
        path = roomy / f"gpt2_{name}.pth"
        books = ledger(path)
        assert books.total_parameters() == parameters
        assert books.by_role()["buffer"][:2] == (12, 12_582_912)
        assert books.checkpoint.nbytes == os.path.getsize(path)
    assert [books.names[line] for line in books.tied] == ["out_head.weight"]
