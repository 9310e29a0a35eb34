"""What nobody foresaw, put into the program by hand: it is told in a sentence, and costs no more than the file that brought it up."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from modelscope_cli.analysis import safety
from modelscope_cli.formats import safetensors, scanning
from tests.builders.attacks import ATTACKS
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.command import mscope

PLACE = "TypeError in {}.py line "
ADVICE = "please report it, with the file if you can; MSCOPE_TRACEBACK=1 shows how it came to it"


def mistaken(*arguments: object, **options: object) -> None:
    """Stands in for a function that has a mistake."""
    raise TypeError("object of type 'Mapping'\x1b[31m has no len()" + "!" * 1_000)


@pytest.fixture
def told(monkeypatch):
    """Mistakes are told, as they are to everybody else."""
    monkeypatch.delenv("MSCOPE_TRACEBACK")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.bin").write_bytes(ATTACKS["reduce"][0])
    (tmp_path / "one.pt").write_bytes(SAMPLES["training.ckpt"])
    (tmp_path / "two.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (2, 3))}))
    return tmp_path


@pytest.mark.parametrize("command", ["inspect", "report", "check --forbid-unsafe", "scan"])
def test_a_mistake_in_a_reader_costs_one_file(told, folder, monkeypatch, command):
    monkeypatch.setattr(safetensors, "byte_map", mistaken)
    done = mscope(*command.split(), "two.safetensors", "one.pt")
    assert done.code == 3
    assert f"mscope: two.safetensors: mscope made a mistake: {PLACE.format('formats/safetensors')}" in done.err
    assert (ADVICE in done.err, "Traceback" in done.err, "\x1b" in done.err, "!" * 200 in done.err) == (True, False, False, False)
    assert "one.pt" in done.out


def test_a_mistake_while_a_file_is_scanned_loses_nothing_that_was_found(told, folder, monkeypatch):
    monkeypatch.setattr(scanning.Walk, "_container", mistaken)
    done = mscope("scan", "evil.bin", "two.safetensors", "-f", "json")
    assert done.code == 1
    found = {one["path"]: one["verdict"] for one in json.loads(done.out)["checkpoints"][0]["files"]}
    assert found == {"evil.bin": "dangerous", "two.safetensors": "not read"}
    assert done.err.count("mscope made a mistake") == 2


def test_a_mistake_in_judging_costs_one_file(told, folder, monkeypatch):
    monkeypatch.setattr(safety, "shown_call", mistaken)
    done = mscope("scan", ".", "-f", "json")
    assert done.code == 3
    report = json.loads(done.out)["checkpoints"][0]
    assert {one["path"]: one["verdict"] for one in report["files"]} == {
        "./evil.bin": "unknown", "./one.pt": "unknown", "./two.safetensors": "safe"
    }  # fmt: skip
    assert {one["code"] for one in report["findings"]} == {"own-mistake"}
    assert "Report it" in mscope("scan", "evil.bin").out


def test_what_could_not_be_judged_is_not_let_pass(told, folder, monkeypatch):
    monkeypatch.setattr(safety, "shown_call", mistaken)
    done = mscope("check", "--forbid-unsafe", "one.pt", "two.safetensors")
    assert done.code == 3
    assert "✗ forbid-unsafe" in done.out
    assert "✓ forbid-unsafe" in done.out


def in_a_process(folder, **environment: str) -> subprocess.CompletedProcess[str]:
    """A scan in a process of its own, with a mistake where all files come together."""
    script = folder / "mistaken.py"
    script.write_text(
        "from modelscope_cli.cli import scan\n"
        "def title_of(paths): return {}[paths[0]]\n"
        "scan.title_of = title_of\n"
        "from modelscope_cli.__main__ import main\n"
        "main()\n"
    )
    command = [sys.executable, str(script), "scan", "two.safetensors"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": ":".join(sys.path), **environment})


def test_a_mistake_beyond_the_files_is_told_as_well(folder):
    done = in_a_process(folder)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"mscope: mscope made a mistake: KeyError in cli/scan.py line {done.stderr.split()[9]} 'two.safetensors' - {ADVICE}\n"


def test_whoever_asks_gets_the_traceback(folder, monkeypatch):
    done = in_a_process(folder, MSCOPE_TRACEBACK="1")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("KeyError: 'two.safetensors'\n")
