"""A stand-in for the wheel of Netron, so that what is served can be tested without it."""

from __future__ import annotations

import pytest

from modelscope_cli.bridges.netron import page

INDEX = """<!DOCTYPE html>
<html><head>
<meta http-equiv="Content-Security-Policy" content="script-src 'self'">
<meta name="version" content="9.3.3">
<meta name="date" content="2020-01-01 00:00:00">
<script src="index.js"></script>
<style>
@media (prefers-color-scheme: dark) { body { color: white } }
</style>
</head><body></body></html>
"""


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """The folder of the wheel: page, script, style, a picture, Python, and things that are none of its files."""
    folder = tmp_path / "wheel" / "netron"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(INDEX)
    (folder / "grapher.css").write_text("@media (prefers-color-scheme: dark) { .node { fill: #333 } }")
    (folder / "view.js").write_text("export const view = 1;")
    (folder / "favicon.ico").write_bytes(b"icon")
    (folder / "server.py").write_text("SECRET = 1")
    (folder / "with space.js").write_text("no")
    (folder / "inner").mkdir()
    (folder / "inner" / "deep.js").write_text("no")
    (tmp_path / "wheel" / "secret.js").write_text("no")
    monkeypatch.setattr(page, "wheel_folder", lambda: str(folder))
    return folder
