"""A folder of small model files that is the current one, so that paths are as a person types them."""

from __future__ import annotations

import pytest

from tests.builders.samples import SAMPLES
from tests.builders.shards import sharded_folder
from tests.snapshots.checkpoints import CHECKPOINTS


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder: samples under their own names, decoder.pth, and set/ with two shards and an index."""
    for name, data in SAMPLES.items():
        (tmp_path / name).write_bytes(data)
    CHECKPOINTS["decoder"](tmp_path)
    (tmp_path / "set").mkdir()
    sharded_folder(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def unchanged(here):
    """Nothing in the folder is written, removed or changed by the test."""

    def everything() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in here.rglob("*") if path.is_file()}

    before = everything()
    yield
    assert everything() == before
