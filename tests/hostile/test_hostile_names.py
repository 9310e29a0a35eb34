"""Names from files are shown, never sent: no escape sequence, control or direction override reaches the terminal."""

from __future__ import annotations

import json
import unicodedata

import pytest

from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.torch_code import module, parameter, tensor
from tests.builders.torch_file import torch_zip_bytes

NASTY = {
    "clear screen": "\x1b[2J\x1b[H",
    "title": "\x1b]0;owned\x07",
    "carriage return": "safe\rrm -rf",
    "newlines": "a\nb\nTOTAL 0",
    "C1": "\x9b31m",
    "right to left": "\u202egnp.exe",
    "isolate": "\u2066abc\u2069",
    "zero width": "we\u200bight",
    "byte order mark": "\ufeffweight",
    "markup": "[bold red]weight[/bold red] [link=http://x]y[/link] \\[",
    "surrogate": "w\ud800x",
    "backspace": "abc\b\b\bxyz",
    "tag": "w\U000e0041",
}


def check(shown: str) -> None:
    for character in shown:
        assert character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), repr(shown)


@pytest.mark.parametrize(
    "options", [(), ("-f", "tree"), ("--by", "tensor"), ("--by", "storage", "--color", "never")], ids=" ".join
)
def test_names_in_torch_files(inspect, tmp_path, options):
    for number, nasty in enumerate(NASTY.values()):
        layer = module(f"shop.{nasty}" if nasty.isascii() and "\n" not in nasty else "shop.M", {nasty: parameter(tensor())})
        root = {nasty: layer, "plain": nasty, f"{nasty}.weight": tensor("1", (3,))}
        (tmp_path / f"{number}.pt").write_bytes(torch_zip_bytes(root, {"0": 24, "1": 12}))
    done = inspect(*sorted(tmp_path.iterdir()), *options)
    assert done.returncode == 0, done.stderr
    check(done.stdout)
    check(done.stderr)


def test_names_in_safetensors_files_and_of_files(inspect, tmp_path):
    for nasty in NASTY.values():
        if "\ud800" not in nasty:
            header = {f"{nasty}.weight": ("F32", (2,))}
            metadata = {nasty: nasty, f"{nasty}.head": f"{nasty}.weight"}
            (tmp_path / f"{nasty.replace('/', '')}.safetensors").write_bytes(safetensors_bytes(header, metadata))
    done = inspect(*sorted(tmp_path.iterdir()))
    assert done.returncode == 0, done.stderr
    check(done.stdout)


def test_names_in_errors(inspect, tmp_path):
    for number, nasty in enumerate(NASTY.values()):
        (tmp_path / f"{number}.pt").write_bytes(torch_zip_bytes({nasty: tensor("missing")}, {}))
    done = inspect(*sorted(tmp_path.iterdir()))
    assert done.returncode == 3
    assert done.stderr.count("\n") == len(NASTY)
    check(done.stderr)


def test_json_keeps_names_as_they_are(inspect, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes({NASTY["title"]: ("F32", (2,))}))
    done = inspect(path, "-f", "json")
    assert NASTY["title"] in json.dumps(json.loads(done.stdout), ensure_ascii=False).replace("\\u001b", "\x1b").replace(
        "\\u0007", "\x07"
    )
    check(done.stdout)


def test_long_names_do_not_flood_the_page(inspect, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes({"n" * 100_000: ("F32", (2,)), "é" * 100: ("F32", (2,))}))
    done = inspect(path)
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 160
