"""A headless Chromium for the session, and pages in it that write down what they ask for and say."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WATCH = """
window.drawn = [];
document.addEventListener("mscope:drawn", (event) => window.drawn.push(event.detail));
window.alert = window.confirm = window.prompt = () => { window.owned = true; };
"""


def lacking(what: str) -> None:
    """Leave the tests out, except where nobody would notice."""
    reason = f"{what} is needed to drive pages in a browser"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser():
    """A Chromium of this machine, with a profile of its own that is thrown away."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        lacking("Chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("playwright")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def show(browser, tmp_path):
    """Opens a page given as bytes. What comes back has `page`, `requests` (addresses) and `said` (console, errors, dialogs)."""
    contexts = []

    def opened(content: bytes, fragment: str = "", size: tuple[int, int] = (1200, 800), **options):
        path = tmp_path / f"page{len(contexts)}.html"
        path.write_bytes(content)
        options = {"reduced_motion": "reduce", "color_scheme": "light", **options}
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        page = context.new_page()
        shown = SimpleNamespace(page=page, address=path.as_uri(), requests=[], said=[])
        page.on("request", lambda request: shown.requests.append(request.url.partition("#")[0]))
        page.on("console", lambda message: shown.said.append(message.text))
        page.on("pageerror", lambda error: shown.said.append(str(error)))
        page.on("dialog", lambda dialog: (shown.said.append(dialog.message), dialog.dismiss()))
        page.add_init_script(WATCH)
        page.goto(shown.address + fragment)
        page.wait_for_selector(".mscope-treemap .parts li")  # the last thing written; the policy lets no string be evaluated
        return shown

    yield opened
    for context in contexts:
        context.close()
