"""What a browser may ask for: Netron's page, its scripts, our script, and one model. Nothing is found by looking for it.

The page comes from the wheel of Netron, whose Python is not imported. As published it asks for consent, calls a statistics
service and refuses to work half a year after it was built; all of it hangs on three tags of its head, which are written
anew. No request may leave for another host: the policy is sent with every answer, so that workers have it too.
"""

from __future__ import annotations

import html
import importlib.util
import os
import re
from importlib import metadata, resources
from typing import NamedTuple

from modelscope_cli.bridges.extras import need
from modelscope_cli.core.window import Window
from modelscope_cli.errors import DrawingError
from modelscope_cli.render.plain import visible

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".ico": "image/x-icon",
}
BYTES = "application/octet-stream"
NAME = re.compile(r"[A-Za-z0-9_-]+\.(js|css|json|png|ico)")  # files of the page; the wheel holds Python as well
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Netron sets styles on elements
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
    # Without it the page would ask a third party in which country its reader is.
    ("Set-Cookie", "consent=1; SameSite=Strict"),
)
DARK = "@media (prefers-color-scheme: dark)"
FORCED = {"dark": "@media all", "light": "@media not all"}
SUFFIX = re.compile(r"(\.[A-Za-z0-9_]{1,16}){1,2}$")


class Model(NamedTuple):
    """What is shown: bytes, or a window on a file. By the end of `name` Netron knows the format. `title` is for its reader.

    `ours`: a drawing in Netron's own form, shown as page.js says.
    """

    name: str
    title: str
    content: bytes | Window
    ours: bool = False


class Asset(NamedTuple):
    """An answer: `content` is bytes, a window on a file, or the path of a file of the wheel."""

    kind: str
    content: bytes | Window | str


def assets(model: Model, theme: str | None, *scripts: str) -> dict[str, Asset]:
    """Answers by the path behind the secret part of the address. Raises MissingExtraError or DrawingError.

    `scripts` are more of ours to run in the page; `theme` None leaves the colours to the browser.
    """
    folder = wheel_folder()
    found = {
        name: Asset(KINDS[os.path.splitext(name)[1]], os.path.join(folder, name))
        for name in sorted(os.listdir(folder))
        if NAME.fullmatch(name)
    }
    path = model_path(model.name)
    own = {f"mscope-{name}": Asset(KINDS[".js"], our_script(name)) for name in ("page.js", *scripts)}
    index = head_written(read_text(folder, "index.html"), model, path, list(own))
    style = read_text(folder, "grapher.css")
    if theme is not None:
        index, style = index.replace(DARK, FORCED[theme]), style.replace(DARK, FORCED[theme])
    return {
        **found,
        **own,
        "": Asset(KINDS[".html"], index.encode()),
        "grapher.css": Asset(KINDS[".css"], style.encode()),
        path: Asset(BYTES, model.content),
    }


def wheel_folder() -> str:
    """Where Netron's files are. Its Python stays where it is."""
    need("netron", "the engine netron", "netron")
    spec = importlib.util.find_spec("netron")
    folder = spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else ""
    if not os.path.isfile(os.path.join(folder, "index.html")):
        raise DrawingError("the installed Netron has no page", hint="pip install --force-reinstall netron")
    return folder


def version() -> str:
    """Of the installed Netron."""
    try:
        return metadata.version("netron")
    except metadata.PackageNotFoundError:
        return "of unknown version"


def read_text(folder: str, name: str) -> str:
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return file.read()


def our_script(name: str) -> bytes:
    return (resources.files("modelscope_cli.bridges.netron") / name).read_bytes()


def model_path(name: str) -> str:
    """Where the model lies for the page: under a name of our own, with the suffix by which Netron knows it."""
    match = SUFFIX.search(name)
    return f"data/model{match[0] if match else ''}"


def head_written(index: str, model: Model, path: str, scripts: list[str]) -> str:
    """The page with the model in it, and without the tags that make it call home and grow old."""
    index = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>\s*', "", index)  # ours is stricter
    index = re.sub(r'<meta name="date"[^>]*>\s*', "", index)
    name, title = (html.escape(visible(text)) for text in (os.path.basename(model.name), model.title))
    tags = [
        '<meta name="version" content="0.0.0">',  # to Netron a version that is not released, so it counts nobody
        f'<meta name="file" content="/{path}">',
        f'<meta name="identifier" content="{name}">',
        f'<meta name="name" content="{title}">',
        *(['<meta name="mscope" content="drawing">'] if model.ours else []),
        *(f'<script src="{script}"></script>' for script in scripts),
    ]
    index, replaced = re.subn(r'<meta name="version"[^>]*>', lambda _: "\n".join(tags), index, count=1)
    if not replaced:
        raise DrawingError(f"Netron {version()} is built in a way not known here", hint="pip install 'netron==9.3.3'")
    return index
