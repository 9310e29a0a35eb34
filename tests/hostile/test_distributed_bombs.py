"""Distributed checkpoints that ask for much, lead elsewhere, or would do something."""

from __future__ import annotations

import os
import sys

import pytest

from tests.builders.dcp_folder import (
    RANKS,
    Cut,
    Piece,
    Place,
    Thing,
    dcp_files,
    dcp_parts,
    metadata_code,
    whole,
    write,
)
from tests.builders.pickle_code import call, laughs, pickled
from tests.builders.torch_code import tensor


@pytest.fixture
def measured(bounded, tmp_path):
    """Writes a folder, inspects it, and checks that the answer came in time, within memory and in words."""

    def run(files):
        write(tmp_path / "bomb", files)
        return bounded(b"", "bomb")

    return run


def test_chunks_that_all_overlap(measured):
    """Thousands of boxes that each cross all others: their cells are too many to count."""
    pieces = tuple(Piece(RANKS[0], (number, 0), (4_000, number + 1)) for number in range(3_000))
    entries = {"w": Cut((9_000, 9_000), pieces), "v": Cut((9_000, 9_000), pieces)}
    places = [Place(name, piece.origin, RANKS[0], 0, 100) for name in entries for piece in pieces]
    assert measured({".metadata": pickled(metadata_code(entries, places)), RANKS[0]: bytes(200)}).code == 3


def test_more_chunks_than_parts_may_be(measured):
    pieces = tuple(Piece(RANKS[0], (number,), (1,)) for number in range(5_000))
    found = measured({".metadata": pickled(metadata_code({"w": Cut((5_000,), pieces)}, [])), RANKS[0]: b"x"})
    assert found.code == 3
    assert "parts" in found.err


def test_many_entries_at_one_place(measured):
    files, (place,) = dcp_parts({"w": whole((2,))})
    entries = {f"w{number}": whole((2,)) for number in range(20_000)}
    places = [place._replace(name=name) for name in entries]
    assert measured({**files, ".metadata": pickled(metadata_code(entries, places))}).code == 0


def test_many_different_objects(measured):
    entries = {f"o{number}": Thing(RANKS[0], f"value {number}") for number in range(12_000)}
    found = measured(dcp_files({"w": whole((2,)), **entries}))
    assert found.code == 3
    assert "nested files" in found.err


def test_many_files_that_are_not_there(measured):
    entries = {f"w{number}": whole((2,), f"__{number}_0.distcp") for number in range(9_000)}
    places = [Place(name, (0,), entry.pieces[0].file, 0, 100) for name, entry in entries.items()]
    found = measured({".metadata": pickled(metadata_code(entries, places))})
    assert found.code == 3
    assert found.printed < 1 << 20


def test_more_files_than_shards_may_be(measured):
    places = [Place("w", (number,), f"__{number}_0.distcp", 0, 100) for number in range(12_000)]
    found = measured({".metadata": pickled(metadata_code({"w": whole((2,))}, places))})
    assert "shards" in found.err


def test_extents_of_astronomic_size(measured):
    huge = Cut((1 << 61,) * 60, (Piece(RANKS[0], (0,) * 60, (1 << 61,) * 60), Piece(RANKS[1], (1,) * 60, (1 << 60,) * 60)))
    _, (place,) = dcp_parts({"w": whole((2,))})
    files, _ = dcp_parts({"w": whole((2,))})
    places = [place._replace(origin=piece.origin) for piece in huge.pieces]
    assert measured({**files, ".metadata": pickled(metadata_code({"w": huge}, places))}).code == 3


def test_shared_tuples_in_the_keys(measured):
    deep = laughs(40, 2, (0, 0))
    index = metadata_code({"w": whole((2,))}, [], planner_data={"w": deep}, version=deep)
    measured({".metadata": pickled(index), RANKS[0]: b"x"})


def test_index_that_would_run_a_command(measured, inspect, tmp_path):
    canary = tmp_path / "canary"
    index = metadata_code({"w": whole((2,))}, dcp_parts({"w": whole((2,))})[1], version=call("os.system", f"touch {canary}"))
    files, _ = dcp_parts({"w": whole((2,))})
    measured({**files, ".metadata": pickled(index)})
    assert "os.system" in inspect(tmp_path / "bomb").stdout
    assert not canary.exists()


def test_blob_that_would_run_a_command(measured, inspect, tmp_path):
    canary = tmp_path / "canary"
    entries = {f"step {number}": Thing(RANKS[0], number) for number in range(300)}
    entries["evil"] = Thing(RANKS[0], call("os.system", f"touch {canary}"))
    measured(dcp_files({"w": whole((2,)), **entries}))
    assert "os.system" in inspect(tmp_path / "bomb").stdout
    assert not canary.exists()


def test_blob_like_all_others_but_for_its_pickle(measured, inspect, tmp_path):
    """Equal tensors are compared, not parsed: one whose pickle is as long and names something else must not pass."""
    entries = {f"w{number}": whole((600, 4)) for number in range(5)}
    files = dcp_files(entries)
    data = files[RANKS[0]]
    at = data.rfind(b"ctorch._utils\n_rebuild_tensor_v2")
    files[RANKS[0]] = data[:at] + b"cevil.__code\n_rebuild_tensor_v2" + data[at + 31 :]
    assert len(files[RANKS[0]]) == len(data)
    measured(files)
    assert "evil.__code._rebuild_tensor_v2" in inspect(tmp_path / "bomb").stdout


def test_names_with_escapes(measured, inspect, tmp_path):
    name = "model.\x1b[31mred\x1b]0;title\x07\u202eweight"
    measured(dcp_files({name: whole((2,)), "other": Thing(RANKS[1], "\x1b[2J")}))
    for arguments in ((), ("--by", "tensor"), ("-f", "json"), ("-f", "html")):
        out = inspect(tmp_path / "bomb", *arguments).stdout
        assert "\x1b" not in out
        assert "\u202e" not in out


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs, and links need a privilege")
def test_files_that_are_something_else(bounded, tmp_path):
    files = dcp_files(
        {"a": whole((2,), "a.distcp"), "b": whole((2,), "b.distcp"), "c": whole((2,), "c.distcp"), "d": whole((2,))}
    )
    folder = write(tmp_path / "bomb", files)
    for name in ("a", "b", "c"):
        (folder / f"{name}.distcp").unlink()
    os.mkfifo(folder / "a.distcp")
    (folder / "b.distcp").symlink_to("b.distcp")
    (folder / "c.distcp").mkdir()
    assert bounded(b"", "bomb").code == 3


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_one_file_under_two_names(inspect, tmp_path):
    folder = write(tmp_path / "bomb", dcp_files({"a": whole((2,), "a.distcp"), "b": whole((2,), "b.distcp")}))
    (folder / "b.distcp").unlink()
    (folder / "b.distcp").symlink_to("a.distcp")
    done = inspect(folder)
    assert done.returncode == 3
    assert "under another name" in done.stdout


def test_index_that_names_itself(measured):
    assert measured({".metadata": pickled(metadata_code({"w": whole((2,))}, [Place("w", (0,), ".metadata", 0, 50)]))}).code == 3


def test_lone_part_of_many_blobs(bounded):
    files, _ = dcp_parts({f"w{number}": Thing(RANKS[0], number * 7919) for number in range(12_000)})
    assert bounded(files[RANKS[0]], "__0_0.distcp").code == 3


def test_lone_part_whose_pickle_does_not_end(bounded):
    files, _ = dcp_parts({"w": whole((2,))})
    data = files[RANKS[0]]
    at = data.find(b"\x80\x02")
    assert bounded(data[:at] + b"\x80\x02" + b"N" * (80 << 20), "__0_0.distcp").code == 3


def test_lone_part_whose_storage_is_a_claim(bounded):
    data = dcp_parts({"w": Thing(RANKS[0], tensor("0", (1 << 40,)), {"0": 8})})[0][RANKS[0]]
    assert bounded(data, "__0_0.distcp").code == 3
