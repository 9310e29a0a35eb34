"""Tests that make models: nothing is fetched, nothing reaches the network, and modules they import are forgotten."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when transformers is imported

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))  # torch warns of what is new and of what is old


@pytest.fixture
def unconnected(monkeypatch):
    """Any try to reach another machine fails the test, also where the code would swallow the failure."""
    tried: list[object] = []

    def refuse(*arguments: object) -> None:
        tried.append(arguments[-1])
        raise OSError("no network in a test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    yield
    assert tried == []


@pytest.fixture
def forgotten(tmp_path_factory):
    """Modules that the test wrote are not there for the next one, nor are its changes to the path of imports."""
    before, path = dict(sys.modules), list(sys.path)
    yield
    written = str(tmp_path_factory.getbasetemp())
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(written):
            sys.modules.pop(name)
            if name in before:
                sys.modules[name] = before[name]
    sys.path[:] = path
