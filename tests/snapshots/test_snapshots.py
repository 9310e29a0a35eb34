"""Every report of every sort of checkpoint is, to the letter, the one that was looked at and kept."""

from __future__ import annotations

import pytest

from tests.snapshots.checkpoints import SHOWN
from tests.snapshots.update import SAVED, VIEWS, report


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", SHOWN)
def test_report_is_the_saved_one(gallery, monkeypatch, name, view):
    folder, paths = gallery
    monkeypatch.chdir(folder)
    saved = (SAVED / (name + view)).read_text(encoding="utf-8")
    assert report(paths[name], view) == saved, "if this is meant: python -m tests.snapshots.update"


def test_no_snapshot_is_left_over():
    assert {path.name for path in SAVED.iterdir()} == {name + view for name in SHOWN for view in VIEWS}


def test_no_snapshot_tells_where_it_was_made():
    for path in SAVED.iterdir():
        assert "/tmp" not in path.read_text(encoding="utf-8"), path.name
