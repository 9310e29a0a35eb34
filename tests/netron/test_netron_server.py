"""Our server for Netron's page, asked by a client that sends any bytes: it gives away its own list of answers and nothing else."""

from __future__ import annotations

import socket
import threading
import tracemalloc

import pytest

from modelscope_cli.bridges.netron.page import Model, assets
from modelscope_cli.bridges.netron.server import Server
from modelscope_cli.core.window import open_window
from modelscope_cli.errors import DrawingError

MODEL = b"the one model"


def ask(server: Server, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to bytes as they are."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(1 << 16):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return int(first.split(" ")[1]), {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


def get(server: Server, path: str, method: str = "GET", host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    host = f"127.0.0.1:{server.server_port}" if host is None else host
    return ask(server, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))


@pytest.fixture
def served(wheel):
    with Server(assets(Model("net.onnx", "net", MODEL), None)) as server:
        yield server


def test_gives_the_page_its_files_and_the_model(served):
    home = f"/{served.secret}/"
    assert b'content="/data/model.onnx"' in get(served, home)[2]
    status, headers, body = get(served, home + "view.js?cb=1")
    assert (status, body) == (200, b"export const view = 1;")
    assert headers["content-type"].startswith("text/javascript")
    assert get(served, home + "data/model.onnx")[2] == MODEL
    status, headers, body = get(served, home + "data/model.onnx", "HEAD")
    assert (status, headers["content-length"], body) == (200, str(len(MODEL)), b"")


@pytest.mark.parametrize(
    "path",
    [
        "server.py",
        "index.html/../server.py",
        "inner/deep.js",
        "with%20space.js",
        "../secret.js",
        "%2e%2e/secret.js",
        "..%2fsecret.js",
        "..\\secret.js",
        "data/../view.js",
        "data/",
        "data/net.onnx",
        "data/neighbour",
        "data/link",
        "data/%00",
        "view.js%00.py",
        "./view.js",
        "/view.js",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "VIEW.JS",
        "view.js/",
        "mscope-export.js",
        "result/picture",
        "a" * 60_000,
    ],
    ids=lambda path: path[:30],
)
def test_gives_nothing_else(served, path):
    status, _, body = get(served, f"/{served.secret}/{path}")
    assert (status, body) == (404, b"")


@pytest.mark.parametrize(
    "path", ["/", "/view.js", "/index.html", "/../../../../etc/passwd", "//etc/passwd", "http://a/view.js", "*"]
)
def test_gives_nothing_to_who_does_not_know_the_secret(served, path):
    assert get(served, path)[::2] == (404, b"")


def test_other_files_in_the_folder_of_the_model_are_out_of_reach(wheel, tmp_path):
    (tmp_path / "net.onnx").write_bytes(MODEL)
    (tmp_path / "neighbour").write_bytes(b"private")
    (tmp_path / "link").symlink_to(tmp_path / "neighbour")
    with open_window(str(tmp_path / "net.onnx")) as window, Server(assets(Model("net.onnx", "net", window), None)) as server:
        assert get(server, f"/{server.secret}/data/model.onnx")[2] == MODEL
        for path in ("data/neighbour", "data/link", "data/../neighbour", "neighbour", "link", str(tmp_path / "neighbour")):
            assert get(server, f"/{server.secret}/{path}")[::2] == (404, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "FOO", "get"])
def test_other_methods_are_refused(served, method):
    status, headers, body = get(served, f"/{served.secret}/", method)
    assert (status, headers["allow"], body) == (405, "GET, HEAD", b"")


@pytest.mark.parametrize(
    "host", ["example.com", "127.0.0.1", "127.0.0.1:1", "localhost:80", "127.0.0.1:{port}.example.com", "", "[::1]:{port}"]
)
def test_requests_that_name_another_host_are_refused(served, host):
    assert get(served, f"/{served.secret}/", host=host.format(port=served.server_port))[::2] == (403, b"")


def test_requests_that_name_no_host_or_two_are_refused(served):
    own = f"127.0.0.1:{served.server_port}"
    assert ask(served, f"GET /{served.secret}/ HTTP/1.0\r\n\r\n".encode())[0] == 403
    assert ask(served, f"GET /{served.secret}/ HTTP/1.1\r\nHost: {own}\r\nHost: {own}\r\n\r\n".encode())[0] == 403
    assert get(served, f"/{served.secret}/", host=f"localhost:{served.server_port}")[0] == 200


@pytest.mark.parametrize(
    "request_", [b"\r\n\r\n", b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / x y z\r\n\r\n"]
)
def test_what_is_no_request_is_survived(served, request_):
    with socket.create_connection(("127.0.0.1", served.server_port), timeout=10) as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass
    assert get(served, f"/{served.secret}/")[0] == 200


def test_every_answer_carries_the_policy(served):
    for path in (f"/{served.secret}/", f"/{served.secret}/view.js", "/nothing"):
        headers = get(served, path)[1]
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; worker-src 'self'")
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_a_refusal_repeats_nothing_of_the_request(served):
    status, headers, body = get(served, "/<script>evil</script>", "EVIL")
    assert status == 405
    assert body == b""
    assert "evil" not in str(headers).lower()


def test_only_its_own_script_may_post_and_only_to_who_listens(wheel):
    taken = {}
    with Server(assets(Model("net.onnx", "net", MODEL), None, "export.js"), take=taken.__setitem__) as server:

        def post(path: str, length: object = 3) -> int:
            host = f"127.0.0.1:{server.server_port}"
            return ask(server, f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\nabc".encode())[0]

        assert post("/result/picture") == 404
        assert post(f"/{'a' * len(server.secret)}/result/picture") == 404
        assert post(f"/{server.secret}/result/../picture") == 404
        assert post(f"/{server.secret}/picture") == 404
        assert post(f"/{server.secret}/result/picture", 10**12) == 413
        assert post(f"/{server.secret}/result/picture", "-1") == 413
        assert post(f"/{server.secret}/result/picture", "²") == 413
        assert not taken
        assert post(f"/{server.secret}/result/picture") == 204
    assert taken == {"picture": b"abc"}


def test_a_large_file_is_not_held_in_memory(wheel, tmp_path):
    nbytes = 64 << 20
    with open(tmp_path / "big.onnx", "wb") as file:
        file.truncate(nbytes)
    with open_window(str(tmp_path / "big.onnx")) as window, Server(assets(Model("big.onnx", "big", window), None)) as server:
        request = f"GET /{server.secret}/data/model.onnx HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode()
        tracemalloc.start()
        received = 0
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
            connection.sendall(request)
            while piece := connection.recv(1 << 20):
                received += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert received > nbytes
    assert peak < 8 << 20


def test_a_file_that_shrinks_ends_the_answer_early(wheel, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(bytes(1000))
    window = open_window(str(path))
    with Server(assets(Model("net.onnx", "net", window), None)) as server:
        path.write_bytes(bytes(10))
        status, headers, body = get(server, f"/{server.secret}/data/model.onnx")
        assert (status, headers["content-length"], body) == (200, "1000", b"")
    window.close()


def test_many_may_ask_at_once(served):
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(get(served, f"/{served.secret}/view.js")[2])) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [b"export const view = 1;"] * 40


def test_a_port_that_is_taken_is_said_with_what_to_do(served):
    with pytest.raises(DrawingError, match=f"port {served.server_port} is taken by another program") as raised:
        Server({}, served.server_port)
    assert "--port" in (raised.value.hint or "")
    with pytest.raises(DrawingError, match="port 70000 cannot be served on"):
        Server({}, 70_000)


def test_only_this_machine_is_served(served):
    assert served.server_address[0] == "127.0.0.1"


def test_nothing_listens_afterwards(wheel):
    with Server({}) as server:
        port = server.server_port
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_every_server_has_a_secret_of_its_own(wheel):
    with Server({}) as one, Server({}) as other:
        assert one.secret != other.secret
        assert len(one.secret) >= 20
