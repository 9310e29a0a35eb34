"""A small HTTP server for one page and one model, on this machine only.

    http://127.0.0.1:PORT/SECRET/            the page
    http://127.0.0.1:PORT/SECRET/view.js     a file of it
    http://127.0.0.1:PORT/SECRET/data/model  the model

What is answered is a dictionary, looked up by the path as it was sent, so there is no path to escape from: `../`, `%2e`,
absolute paths and links are keys that are not in it. The Host header must name this server, so that a page elsewhere cannot pretend to be of the same site.

The secret part keeps others who are logged in here from reading the model. For a picture nobody sees it: the browser gets it
from a file that only its user can read. The address of `-f browser` is printed, and given to the user's own browser: most
systems do that by an argument, which everybody on the machine can see in the list of programs. Where that matters,
`--no-open`, and the address pasted by hand.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from modelscope_cli.bridges.netron.page import HEADERS, Asset
from modelscope_cli.core.window import Window
from modelscope_cli.errors import DrawingError, ModelscopeError

HOST = "127.0.0.1"
PIECE = 1 << 20  # bytes of a file in memory at a time
PATIENCE = 30.0  # seconds for a request to arrive
MOST_POSTED = 512 << 20  # bytes of a picture
Take = Callable[[str, bytes], None]  # what was posted: the last part of the path, the body


class Server(ThreadingHTTPServer):
    """Serves on its own threads between `with` and its end. `take`: who gets what is posted; None: nothing may be."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    allow_reuse_address = os.name != "nt"  # there it would let two servers have one port

    def __init__(self, assets: dict[str, Asset], port: int | None = None, take: Take | None = None):
        self.take = take
        self.secret = secrets.token_urlsafe(16)
        self.answers = {f"/{self.secret}/{path}": asset for path, asset in assets.items()}
        self.reading = threading.Lock()  # a window may have to seek
        try:
            super().__init__((HOST, port or 0), Handler)
        except (OSError, OverflowError) as problem:
            raise port_error(port, problem) from None
        self.names = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        if self.server_port == 80:
            self.names |= {HOST, "localhost"}

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self.secret}/"

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away in the middle is no event."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    timeout = PATIENCE
    server_version, sys_version = "mscope", ""

    def do_GET(self) -> None:
        if not self.for_this_host():
            return
        asset = self.server.answers.get(self.path.partition("?")[0])
        if asset is None:
            self.send_error(404)
            return
        try:
            content = read_file(asset.content) if isinstance(asset.content, str) else asset.content
        except OSError:
            self.send_error(404)
            return
        size = content.size if isinstance(content, Window) else len(content)
        self.send_response(200)
        self.send_header("Content-Type", asset.kind)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(content, bytes):
            self.wfile.write(content)
        else:
            self.send_window(content)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        """A picture, or why there is none, from our script in the page."""
        folder, _, what = self.path.rpartition("/")
        if self.server.take is None:
            self.send_error(405)
            return
        if not self.for_this_host():
            return
        length = self.headers.get("Content-Length", "")
        if folder != f"/{self.server.secret}/result" or not what.isalpha():
            self.send_error(404)
        elif not (length.isascii() and length.isdigit() and len(length) < 12 and int(length) <= MOST_POSTED):
            self.send_error(413)
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                self.server.take(what, body)
                self.send_response(204)
                self.end_headers()

    def for_this_host(self) -> bool:
        """Whether the request names this server; one that does not is refused."""
        named = self.headers.get_all("Host", [])
        if len(named) == 1 and named[0].strip().lower() in self.server.names:
            return True
        self.send_error(403)
        return False

    def send_window(self, window: Window) -> None:
        """A file, piece by piece. When it shrinks meanwhile the answer ends early, which the browser reports."""
        with suppress(ModelscopeError, OSError):
            for start in range(0, window.size, PIECE):
                with self.server.reading:
                    piece = window.read(start, min(PIECE, window.size - start))
                self.wfile.write(piece)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A refusal that repeats nothing of the request. A method unknown to the library is one that is not allowed."""
        code = 405 if code == 501 else code
        self.send_response(code, "refused")
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        if code == 405:
            self.send_header("Allow", "GET, HEAD" if self.server.take is None else "GET, HEAD, POST")
        self.end_headers()
        self.close_connection = True

    def end_headers(self) -> None:
        for name, value in HEADERS:
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *values: object) -> None:
        """Nothing: the terminal belongs to the command."""


def read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def port_error(port: int | None, problem: Exception) -> DrawingError:
    """Why no server could be started."""
    code = problem.errno if isinstance(problem, OSError) else None
    if code in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", -1)):
        return DrawingError(f"port {port} is taken by another program", hint="leave out --port for a free one, or name another")
    why = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return DrawingError(f"port {port} cannot be served on: {why.lower()}", hint="leave out --port for a free one")
