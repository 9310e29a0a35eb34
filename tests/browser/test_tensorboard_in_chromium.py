"""What the engine tensorboard writes, in TensorBoard's own pages: a real server, a real browser, no network."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelscope_cli import read
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.engines.registry import LOGS, Wish
from modelscope_cli.engines.tensorboard import draw
from tests.browser.conftest import lacking
from tests.builders.safetensors_file import safetensors_bytes
from tests.families import FAMILIES
from tests.tables import checkpoint_of, transformer

PATIENCE = 60.0  # seconds for a server to start, and for a page to draw
HOSTILE = ("<img src=x onerror=window.owned=true>", "constructor", "__proto__", "length", "a|b", "\n# head", "x" * 5_000)


def put(folder: Path, checkpoint: Checkpoint) -> None:
    folder.mkdir(parents=True)
    for name, data in draw(checkpoint, Wish(LOGS)).files.items():
        (folder / name).write_bytes(data)


@pytest.fixture(scope="module")
def models(serve, tmp_path_factory):
    """The address of a TensorBoard that shows two models."""
    folder = tmp_path_factory.mktemp("models")
    put(folder / "llama", checkpoint_of(transformer(6), config={"rope_theta": 1e4}))
    put(folder / "mixtral", checkpoint_of(FAMILIES["mixtral"]))
    return serve(folder)


@pytest.fixture(scope="module")
def hostile(serve, tmp_path_factory):
    """One that shows names and values from somebody else."""
    folder = tmp_path_factory.mktemp("hostile")
    file = folder / "hostile.safetensors"
    metadata = {f"{number}{word}": word for number, word in enumerate(HOSTILE)}
    file.write_bytes(safetensors_bytes({f"{word}.weight": ("F32", (2, 3)) for word in HOSTILE}, metadata))
    put(folder / "logs" / "odd", read(str(file)))
    return serve(folder / "logs")


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """Starts a TensorBoard on a folder, on this machine only; returns its address."""
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        lacking("tensorboard")
    running = []

    def started(folder: Path) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "tensorboard.main",
            "--logdir",
            str(folder),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        said = tmp_path_factory.mktemp("server") / "said"
        with said.open("wb") as stream:
            process = subprocess.Popen([*command, "--load_fast=false", "--reload_interval=0"], stdout=stream, stderr=stream)
        running.append(process)
        address, limit = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
        while True:
            try:
                if urllib.request.urlopen(f"{address}/data/runs", timeout=5).read() != b"[]":
                    return address
            except OSError:
                pass
            if process.poll() is not None or time.monotonic() > limit:
                pytest.fail(said.read_text())
            time.sleep(0.2)

    yield started
    for process in running:
        process.terminate()
        process.wait(30)


@pytest.fixture
def open_page(browser):
    """Opens one of TensorBoard's pages; what comes back has `page`, `said` (errors, dialogs) and `outside` (other addresses)."""
    contexts = []

    def opened(server: str, place: str):
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        contexts.append(context)
        page = context.new_page()
        shown = SimpleNamespace(page=page, said=[], outside=[])
        page.on("console", lambda message: shown.said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: shown.said.append(str(error)))
        page.on("dialog", lambda dialog: (shown.said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: shown.outside.append(request.url) if is_outside(request.url, server) else None)
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(f"{server}/{place}")
        return shown

    yield opened
    for context in contexts:
        context.close()


def is_outside(url: str, server: str) -> bool:
    return not url.startswith((server, "data:", "blob:"))


def names(page) -> set[str]:
    return set(page.locator("tf-graph-scene g.node").evaluate_all("nodes => nodes.map(node => node.dataset.name)"))


def expand(page, name: str) -> None:
    """Open a module, as a double click does."""
    page.locator(f'g.node[data-name="{name}"] > g.nodeshape rect').first.dispatch_event("dblclick")
    page.locator(f'g.node[data-name^="{name}/"]').first.wait_for(state="attached")


def choose(page, name: str) -> None:
    """Select an operation. TensorBoard drops a click that comes while it moves the scene, so click until one is taken."""
    node, limit = page.locator(f'g.node[data-name="{name}"]'), time.monotonic() + PATIENCE
    while "selected" not in node.get_attribute("class").split():
        assert time.monotonic() < limit, f"{name} cannot be selected"
        node.locator("> g.nodeshape .nodecolortarget").first.dispatch_event("click")
        page.wait_for_timeout(200)


def quiet(shown) -> bool:
    return shown.said == [] and shown.outside == [] and not shown.page.evaluate("window.owned || false")


def test_the_graph_is_drawn_connected_and_opens(open_page, models):
    shown = open_page(models, "#graphs")
    shown.page.wait_for_selector('g.node[data-name="model"]')
    expand(shown.page, "model")
    expand(shown.page, "model/layers")
    assert {f"model/layers/{number}" for number in range(6)} <= names(shown.page)
    edges = shown.page.locator("g.edge").evaluate_all("edges => edges.map(edge => edge.dataset.edge)")
    assert {f"model/layers/{number}--model/layers/{number + 1}" for number in range(5)} <= set(edges)
    expand(shown.page, "model/layers/0")
    expand(shown.page, "model/layers/0/self_attn")
    choose(shown.page, "model/layers/0/self_attn/q_proj")
    for said in ("Linear", "8 x 8", "float32"):
        shown.page.locator("tf-node-info").get_by_text(said).first.wait_for()
    assert quiet(shown)


def test_hyper_parameters_of_all_runs_stand_in_one_table_with_their_sizes(open_page, models):
    shown = open_page(models, "#hparams")
    for said in ("arch.layers", "arch.hidden_size", "config.rope_theta", "size/parameters"):
        shown.page.get_by_text(said).first.wait_for()
    table = shown.page.locator("tf-hparams-table-view")
    table.get_by_text("arch.layers").first.wait_for()
    table.get_by_text("6.0000").first.wait_for()  # layers of one of them
    assert quiet(shown)


def test_texts_are_tables_and_nothing_in_them_runs(open_page, hostile):
    shown = open_page(hostile, "#text")
    shown.page.get_by_text("model/01 File").first.wait_for()
    shown.page.get_by_text("<img src=x onerror=window.owned=true>").first.wait_for()
    assert shown.page.locator("table img, table a, table script").count() == 0
    assert quiet(shown)


def test_names_from_somebody_else_are_names(open_page, hostile):
    shown = open_page(hostile, "#graphs")
    shown.page.wait_for_selector('g.node[data-name="constructor_"]')
    assert len(names(shown.page)) == len(HOSTILE)
    assert quiet(shown)
