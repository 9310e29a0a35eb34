"""The oracle tests need torch and safetensors; everything here carries the marker `oracle`."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.oracle)
            item.add_marker(pytest.mark.filterwarnings("ignore"))  # torch warns of what is new and of what is old
