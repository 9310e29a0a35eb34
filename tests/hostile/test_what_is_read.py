"""Which files a command opens: what was named, what belongs to it, the settings and the policy that they name, and no others."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.builders.pickle_code import instance, pickled
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES

WATCHED = """
import os, sys
kept = os.open(os.environ["OPENED"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
sys.addaudithook(lambda event, about: event == "open" and os.write(kept, os.fsencode(str(about[0])) + b"\\n"))
from modelscope_cli.__main__ import main
main()
"""


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Runs a command in `work/`, and gives the files of `tmp_path` that it opened."""
    work = tmp_path / "work"
    (work / "m").mkdir(parents=True)
    (work / "m" / "model.pt").write_bytes(SAMPLES["state_dict.pt"])
    (work / "m" / "config.json").write_text('{"model_type": "llama"}')
    (work / "m" / "other.pkl").write_bytes(pickled(instance("shop.Net")))
    (work / "m" / "secret.txt").write_text("secret")
    (work / "m" / "modeling.py").write_text("import os\n")
    (work / "secret.json").write_text("{}")
    (work / "weights.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (2,))}))
    (tmp_path / "secret.toml").write_text("[scan]\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / "mscope.toml").write_text('[scan]\npolicy = "ours.toml"\n')
    (tmp_path / "ours.toml").write_text('[[deny]]\nnames = ["shop.*"]\nreason = "ours"\n')

    def run(*arguments: str) -> set[str]:
        told = tmp_path.parent / "opened.json"
        environment = {**os.environ, "OPENED": str(told), "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        subprocess.run(
            [sys.executable, "-c", WATCHED, *arguments], cwd=work, env=environment, capture_output=True, check=False, timeout=60
        )
        below = [os.path.join(work, path) for path in told.read_text().splitlines()]
        files = {os.path.relpath(os.path.realpath(path), os.path.realpath(tmp_path)) for path in below if os.path.isfile(path)}
        return {file for file in files if not file.startswith(os.pardir)}

    return run


SETTINGS = {"mscope.toml", "ours.toml"}
MODEL = os.path.join("work", "m", "model.pt")


def test_scan_of_a_file_reads_it_and_the_settings(opened):
    assert opened("scan", "m/model.pt") == {MODEL, *SETTINGS}


@pytest.mark.parametrize("command", [("check", "--forbid-unsafe"), ("report",)])
def test_the_other_judges_read_the_configuration_beside_it_too(opened, command):
    read = opened(*command, "m/model.pt")
    assert read <= {MODEL, os.path.join("work", "m", "config.json"), *SETTINGS}
    assert read >= {MODEL, *SETTINGS}
    assert opened(*command, "m/model.pt", "--no-config") == read - SETTINGS


def test_inspect_reads_no_settings(opened):
    assert opened("inspect", "m/model.pt") <= {MODEL, os.path.join("work", "m", "config.json")}


def test_scan_of_a_folder_reads_what_is_below_it(opened):
    below = {os.path.join("work", "m", name) for name in ("model.pt", "config.json", "other.pkl", "secret.txt", "modeling.py")}
    assert opened("scan", "m") == below | SETTINGS
