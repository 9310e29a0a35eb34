"""Folders that lead in circles or outside, hold what is no file, or are very large: answered in words, with all bytes told once."""

from __future__ import annotations

import json
import os
import stat
import sys

import pytest

from modelscope_cli.core.limits import DEFAULT_LIMITS, Limits
from modelscope_cli.formats.folder_walk import walk
from modelscope_cli.formats.locate import locate
from tests.builders.folders import CONFIG, Link, diffusers, pickled, safe, text, trainer, write
from tests.command import mscope
from tests.test_folder import contents, disk_usage, told, used

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and special files of POSIX")


def few(entries: int) -> Limits:
    return DEFAULT_LIMITS._replace(folder_entries=entries)


def test_links_in_a_circle(tmp_path):
    write(tmp_path, {"model.safetensors": safe(), "loop": Link("."), "a/up": Link("../.."), "b/c": Link("../a")})
    (tmp_path / "x").symlink_to("y")
    (tmp_path / "y").symlink_to("x")
    assert used(tmp_path) == ["model.safetensors"]
    assert contents(tmp_path).nbytes == disk_usage(tmp_path) == len(safe())
    said = told(tmp_path)
    assert said["loop"] == ("other", "a link to a folder, not followed")
    assert said["x"][0] == said["y"][0] == "other"


def test_a_folder_that_is_nothing_but_a_circle(tmp_path):
    write(tmp_path, {"a/loop": Link("../b"), "b/loop": Link("../a")})
    (problem,) = locate([str(tmp_path)]).problems
    assert "without a model file" in problem.message


def test_a_link_outside_counts_with_what_it_leads_to(tmp_path):
    outside = write(tmp_path / "outside", {"weights": safe(9), "folder/model.safetensors": safe(8)})
    inside = write(tmp_path / "inside", {"model.safetensors": Link("../outside/weights"), "far": Link("../outside/folder")})
    assert used(inside) == ["model.safetensors"]
    assert contents(inside).nbytes == os.path.getsize(outside / "weights")


def test_a_fifo_under_the_name_of_a_model(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")
    done = mscope("inspect", tmp_path)
    assert done.code == 3
    assert "FIFO" in done.err
    write(tmp_path, {"pytorch_model.bin": pickled()})
    assert used(tmp_path) == ["pytorch_model.bin"]
    assert told(tmp_path)["model.safetensors"] == ("other", "a FIFO (named pipe)")


def test_a_folder_under_the_name_of_a_model(tmp_path):
    write(tmp_path, {"model.safetensors/readme.txt": b"x", "pytorch_model.bin": pickled()})
    assert used(tmp_path) == ["pytorch_model.bin"]


def test_a_folder_in_it_that_cannot_be_listed(tmp_path, monkeypatch):
    write(tmp_path, {"model.safetensors": safe(), "secret/model.safetensors": safe(5)})
    listed = os.scandir

    def scandir(path):
        if os.path.basename(path) == "secret":
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    done = mscope("inspect", tmp_path)
    assert done.code == 0
    assert "secret: the folder cannot be listed: no permission to read it" in " ".join(done.out.split())
    assert told(tmp_path)["secret/"] == ("unreadable", "no permission to read it")


def test_names_that_try_to_be_more_than_names(tmp_path):
    names = ["a\nTOTAL 0 B.txt", "\x1b[2Jb.png", "=SUM(A1).md", "<b>x</b>.json", "[bold]y[/].yaml", "\u202ez.py"]
    write(tmp_path, {"model.safetensors": safe(), **dict.fromkeys(names, b"12345")})
    os.mkfifo(os.fsencode(tmp_path) + b"/\xff\xfe.bin")
    for format in ("table", "json", "markdown", "html", "csv"):
        done = mscope("inspect", tmp_path, "-f", format)
        assert done.code == 0 if format != "table" else done.code in (0, 3)
        assert "\x1b" not in done.out
        assert "\u202e" not in done.out
        assert "<b>x</b>" not in done.out or format != "html"
    table = mscope("inspect", tmp_path).out.splitlines()
    assert sum(line.startswith("TOTAL") for line in table) == 2


def test_indexes_that_lead_outside(tmp_path):
    write(tmp_path, {"secret.safetensors": safe(9)})
    index = {"weight_map": {"a": "../secret.safetensors", "b": "/etc/passwd", "c": "model.safetensors/../x", "d": 5}}
    inside = write(tmp_path / "in", {"model.safetensors.index.json": text(index), "own.safetensors": safe()})
    assert contents(inside).nbytes == disk_usage(inside)
    done = mscope("inspect", inside)
    assert done.code == 3
    assert "Traceback" not in done.err


@pytest.mark.parametrize("best", ["../../etc", "", "/", "checkpoint-500/../../x", "\x00", "checkpoint-500\n"])
def test_a_best_step_that_leads_outside(best, tmp_path):
    assert used(write(tmp_path, trainer((500, 1000), best))) == ["checkpoint-1000/model.safetensors"]


@pytest.mark.parametrize("state", [b"[" * 100_000, b"[]", b'{"best_model_checkpoint": 7}', b"\xff"])
def test_a_trainer_state_that_is_none(state, tmp_path):
    files = {**trainer((500, 1000)), "checkpoint-1000/trainer_state.json": state}
    assert used(write(tmp_path, files)) == ["checkpoint-1000/model.safetensors"]


@pytest.mark.parametrize("main", [b"../../x", b"", b"\x00", b"x" * 100_000, b"0" * 40 + b"\nmore"])
def test_a_reference_to_no_revision(main, tmp_path):
    revision = "a" * 40
    write(tmp_path, {f"snapshots/{revision}/model.safetensors": safe(), "refs/main": main, "blobs/x": CONFIG})
    assert used(tmp_path) == [f"snapshots/{revision}/model.safetensors"]


@pytest.mark.parametrize(
    "names", [["unet"] * 3, ["../up", ".", "..", "/", "", "unet/../unet", "un\x00et"]], ids=["again", "paths"]
)
def test_components_that_are_no_folders_of_it(names, tmp_path):
    index = "{" + ", ".join(f"{json.dumps(name)}: []" for name in names) + ', "vae": ["diffusers", "X"]}'
    write(tmp_path, {**diffusers(), "model_index.json": index.encode()})
    expected = [
        *(["unet/diffusion_pytorch_model.safetensors"] if "unet" in names else []),
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert used(tmp_path) == expected


def test_one_broken_component_does_not_lose_the_others(tmp_path):
    for broken in ("unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"):
        folder = write(tmp_path / broken[:3], {**diffusers(), broken: b"\xff" * 40})
        done = mscope("inspect", folder, "-f", "json")
        assert done.code == 3
        shown = json.loads(done.out)
        assert len(shown["checkpoints"]) == 2
        assert ["in_folder" in checkpoint for checkpoint in shown["checkpoints"]] == [False, True]
        rows = shown["checkpoints"][-1]["in_folder"]
        assert rows[-1]["bytes"] == disk_usage(folder) == sum(row["bytes"] for row in rows[:-1])


def test_broken_weights_name_the_copies_beside_them(tmp_path):
    write(tmp_path, {"model.safetensors": b"\xff" * 40, "pytorch_model.bin": pickled()})
    done = mscope("inspect", tmp_path)
    assert done.code == 3
    assert "the folder holds the same model again: pytorch_model.bin" in done.err


def test_limits_are_said_where_they_are_met(tmp_path):
    write(tmp_path, {"model.safetensors": safe(), f"{'d/' * 40}x.txt": b"1", **{f"n{number}": b"" for number in range(50)}})
    assert "32 deep" in contents(tmp_path).cut
    (problem,) = locate([str(write(tmp_path / "empty", {"a": b"", "b": b""}))], limits=few(1)).problems
    assert "only the first 1 entries" in problem.hint
    assert "only the first 60 entries" in mscope("inspect", tmp_path, "--limit", "folder_entries=60").out
    shallow = walk(str(tmp_path), DEFAULT_LIMITS._replace(folder_depth=1))
    assert "1 deep" in shallow.cut


def test_ten_thousand_files_are_listed_at_once(bounded, tmp_path):
    folder = write(tmp_path / "bomb", {f"image_{number}.png": b"x" for number in range(10_000)})
    write(folder, {"model.safetensors": safe(), **{f"deep/er/{number}.what": b"y" for number in range(2_000)}})
    assert bounded(b"", "bomb").code == 0
    assert contents(folder).nbytes == disk_usage(folder)


def test_ten_thousand_steps(bounded, tmp_path):
    write(tmp_path / "bomb", {f"epoch_{number}.pth": b"x" for number in range(10_000)} | {"best.pth": pickled()})
    assert bounded(b"", "bomb").code == 0


def test_ten_thousand_links_to_one_file(bounded, tmp_path):
    folder = write(tmp_path / "bomb", {"model.safetensors": safe()})
    write(folder, {f"step_{number}.pth": Link("model.safetensors") for number in range(10_000)})
    assert bounded(b"", "bomb").code == 0
    assert contents(folder).nbytes == len(safe())


def test_nothing_in_the_folder_is_changed(tmp_path):
    folder = write(tmp_path, {**diffusers(), "strange": b"\x80\x02."})
    before = {path: (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) for path in folder.rglob("*") if path.is_file()}
    assert mscope("inspect", folder).code == 0
    assert before == {
        path: (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) for path in folder.rglob("*") if path.is_file()
    }
