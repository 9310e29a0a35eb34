"""What a hostile configuration or a folder of downloads may cost, or run."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from modelscope_cli.bridges.models.bounds import bounded
from modelscope_cli.bridges.models.failing import FailedOnTheseError, first_that_works, said
from modelscope_cli.bridges.models.from_config import harmless
from modelscope_cli.bridges.models.making import may_be_real
from modelscope_cli.bridges.models.recipe import Recipe
from modelscope_cli.errors import DrawingError
from modelscope_cli.formats.registry import read
from tests.builders.safetensors_file import safetensors_bytes

pytestmark = pytest.mark.usefixtures("forgotten")
NO_SIGNALS = pytest.mark.skipif(sys.platform == "win32", reason="no interval timers there")


@NO_SIGNALS
def test_work_that_takes_too_long_ends():
    def forever() -> None:
        with bounded("the work", 0.3, 1 << 40):
            while time.monotonic() - started < 20:
                pass

    started = time.monotonic()
    with pytest.raises(DrawingError, match="the work is not done after 0 seconds"):
        forever()
    assert time.monotonic() - started < 10


GREEDY = """
import time
from modelscope_cli.bridges.models.bounds import bounded
from modelscope_cli.errors import DrawingError
taken = []
try:
    with bounded("the work", 60, 200 << 20):
        for number in range(400):
            taken.append(bytes([number % 255 + 1]) * (4 << 20))
            time.sleep(0.005)
except DrawingError as problem:
    print(problem)
"""


@NO_SIGNALS
def test_work_that_takes_too_much_memory_ends():
    """In a process of its own: what counts is the peak, and this one may have had a higher."""
    done = subprocess.run([sys.executable, "-c", GREEDY], capture_output=True, text=True, check=True)
    assert done.stdout == "the work takes more than 0.2 GiB of memory\n"


@NO_SIGNALS
def test_afterwards_there_is_no_bound():
    import signal

    before = signal.getsignal(signal.SIGALRM)
    with bounded("the work", 0.1, 1 << 40):
        pass
    time.sleep(0.4)
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_message_that_cannot_be_written_is_no_second_problem():
    class MuteError(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert said(MuteError()) == "MuteError"
    assert (
        said(ValueError("Validation error for field 'x':\n  it is wrong"))
        == "ValueError: Validation error for field 'x': it is wrong"
    )


def test_ways_are_tried_until_one_works_and_other_problems_end_it():
    tried: list[str] = []

    def attempt(on: str) -> str:
        tried.append(on)
        if on != "c":
            raise FailedOnTheseError(f"not on {on}")
        return on

    assert first_that_works(("a", "b", "c"), attempt) == "c"
    assert tried == ["a", "b", "c"]
    with pytest.raises(FailedOnTheseError, match="not on b"):
        first_that_works(("a", "b"), attempt)

    def hopeless(on: str) -> str:
        tried.append(on)
        raise DrawingError("no")

    tried.clear()
    with pytest.raises(DrawingError, match="no"):
        first_that_works(("a", "b"), hopeless)
    assert tried == ["a"]


def test_a_configuration_chooses_no_code_to_run_with():
    written = {
        "_attn_implementation": "org/kernel",
        "hidden_size": 8,
        "text_config": {"attn_implementation": "x", "use_kernels": True, "n": 1},
    }
    assert harmless(written) == {"hidden_size": 8, "text_config": {"n": 1}}


@pytest.fixture
def tiny(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes({"weight": ("F32", (2, 2)), "bias": ("F32", (2,))}))
    return tmp_path


def test_a_model_of_a_configuration_is_never_made_with_values(tiny):
    (tiny / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 1 << 30}))
    checkpoint = read(str(tiny / "model.safetensors"))
    assert not may_be_real(checkpoint, None)
    assert not may_be_real(checkpoint, Recipe(inputs=("int64[1,8]<4",)))


def test_a_factory_may_use_values_where_its_model_is_small(tiny, monkeypatch):
    (tiny / "nets.py").write_text(
        "from torch import nn\ndef small(): return nn.Linear(2, 2)\ndef large(): return nn.Linear(1 << 16, 1 << 14)\n"
    )
    checkpoint = read(str(tiny / "model.safetensors"))
    assert may_be_real(checkpoint, Recipe(f"{tiny / 'nets.py'}:small", ("float32[1,2]",)))
    assert not may_be_real(checkpoint, Recipe(f"{tiny / 'nets.py'}:large", ("float32[1,2]",)))
    assert not may_be_real(checkpoint, Recipe(f"{tiny / 'nets.py'}:small", ("float32[30000,30000]",)))


PLANTED = ("torch", "transformers", "torchviz", "json", "graphviz", "timm", "netron", "svglib")


def test_modules_that_lie_in_the_working_folder_are_not_imported_in_place_of_installed_ones(tiny):
    """A folder of downloads may hold a torch.py."""
    for name in PLANTED:
        (tiny / f"{name}.py").write_text(f"open('{name}.fired', 'w').close()\n")
    picture = ["model.safetensors", "--engine", "torchviz", "-o", "x.svg", "--input", "float32[1,2]"]
    for command in (
        [
            "-m",
            "modelscope_cli",
            "visualize",
            *picture,
            "--model",
            "torch.nn:Linear",
            "--config",
            '{"in_features": 2, "out_features": 2}',
        ],
        ["-m", "modelscope_cli", "inspect", "model.safetensors"],
    ):
        done = subprocess.run([sys.executable, *command], cwd=tiny, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert [file.name for file in tiny.glob("*.fired")] == []
    assert (tiny / "x.svg").exists()
