"""The checkpoints of the snapshots, made once."""

from __future__ import annotations

import pytest

from tests.snapshots.checkpoints import SHOWN


@pytest.fixture(scope="session")
def gallery(tmp_path_factory):
    """(folder, name → path within it) of all checkpoints."""
    folder = tmp_path_factory.mktemp("gallery")
    return folder, {name: make(folder) for name, make in SHOWN.items()}
