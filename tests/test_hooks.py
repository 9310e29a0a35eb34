"""The hook for pre-commit: what it runs, on which files."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.shards import sharded_folder
from tests.command import Done, mscope

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).resolve().parent.parent
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))


def committed(*names: str) -> Done:
    """What pre-commit makes of a commit with these files: the entry, the arguments, and the files that the pattern takes."""
    program, *words = shlex.split(HOOK["entry"])
    assert program == "mscope"
    return mscope(*words, *HOOK["args"], *[name for name in names if re.search(HOOK["files"], name)])


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository in which models of up to 10 parameters are fine."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "mscope.toml").write_text("max-parameters = 10")
    (tmp_path / "notes.md").write_text("# no model")
    for name, parameters in (("good.safetensors", 10), ("large.safetensors", 11)):
        (tmp_path / name).write_bytes(safetensors_bytes({"w": ("F32", (parameters,))}))
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [
        "weights.pth",
        "a/b c/weights.pt",
        "last.ckpt",
        "model-00001-of-00002.safetensors",
        "pytorch_model.bin",
        "x/pytorch_model-00001-of-00002.bin",
        "adapter_model.bin",
        "model.safetensors.index.json",
        "x/pytorch_model.bin.index.json",
    ],
)
def test_it_takes_model_files(path):
    assert re.search(HOOK["files"], path)


@pytest.mark.parametrize(
    "path",
    [
        "firmware.bin",
        "model/firmware.bin",
        "train.py",
        "safetensors",
        "weights.pth.md",
        "index.json",
        "safetensors.index.json",
        "firmware.bin.json",
        "model.safetensors.index.json.md",
        "model.baseline.json",
        "mscope.toml",
        "weights.pths",
    ],
)
def test_it_leaves_other_files(path):
    assert not re.search(HOOK["files"], path)


def test_it_takes_the_suffixes_of_all_formats_with_one_of_their_own():
    from modelscope_cli.formats.registry import FORMATS

    suffixes = {suffix for row in FORMATS for suffix in row.suffixes} - {".pkl", ".pickle", ".baseline.json"}
    assert suffixes
    assert all(re.search(HOOK["files"], f"x{suffix}") for suffix in suffixes)


def test_a_commit_with_models_that_keep_the_rules(repository):
    done = committed("good.safetensors", "notes.md")
    assert (done.code, done.err) == (0, "")
    assert "1 rule passed" in done.out


def test_a_commit_with_one_that_breaks_them(repository):
    done = committed("good.safetensors", "large.safetensors", "notes.md")
    assert done.code == 1
    assert "11 parameters, 1 above 10" in done.out


@pytest.mark.parametrize("changed", ["*", "*.json", "*1-of*"])
def test_a_set_is_checked_once_and_whole(repository, changed):
    (repository / "set").mkdir()
    sharded_folder(repository / "set")
    done = committed(*[str(path.relative_to(repository)) for path in (repository / "set").glob(changed)])
    assert done.code == 1
    assert done.out.count("parameters, 66 above 10") == done.out.count("Set  ") == 1
    assert HOOK["require_serial"] is True, "else pre-commit gives the files of a set to several processes"


def test_a_pointer_is_not_the_model(repository):
    (repository / "good.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    done = committed("good.safetensors")
    assert done.code == 3
    assert "LFS" in done.err


def test_without_rules_nothing_is_waved_through(repository):
    (repository / "mscope.toml").unlink()
    done = committed("good.safetensors")
    assert done.code == 2
    assert "no rule" in done.err


@pytest.mark.parametrize("name", ["-ox.safetensors", "--allow-none.safetensors", "--list-rules=x.pth"])
def test_the_name_of_a_file_is_no_option(repository, name):
    (repository / "large.safetensors").rename(repository / name)
    before = sorted(repository.iterdir())
    assert committed(name).code == 1
    assert sorted(repository.iterdir()) == before


def test_it_can_be_installed():
    """`language: python` is a pip install of the repository; the entry must be one of its programs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert HOOK["language"] == "python"
    assert project["scripts"][shlex.split(HOOK["entry"])[0]] == "modelscope_cli.__main__:main"
