"""How a command ends before its time: Ctrl-C, SIGTERM, a reader that has had enough, a disk that is full. Real processes, real signals."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from tests.builders.safetensors_file import safetensors_bytes
from tests.cli.documents import files
from tests.command import process

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX"),
    pytest.mark.usefixtures("here"),
]
MSCOPE = [sys.executable, "-m", "modelscope_cli"]
FULL = "/dev/full"
DOCUMENTS = ("markdown", "html", "json", "junit", "csv", "tsv")
# Everything that writes to stdout, on a file whose output is larger than the buffer of a pipe.
TO_STDOUT = [
    *[("inspect", "large.safetensors", "-n", "0", "-d", "0", "-f", format) for format in ("table", "tree", *DOCUMENTS)],
    *[("report", "large.safetensors", "-f", format) for format in DOCUMENTS],
    *[("check", "large.safetensors", "--max-size", "1GB", "-f", format) for format in ("table", *DOCUMENTS)],
    *[("diff", "large.safetensors", "other.safetensors", "-f", format) for format in ("table", *DOCUMENTS)],
    *[("visualize", "decoder.pth", "-o", "-", "-f", format) for format in ("svg", "pdf", "dot", "html")],
    ("baseline", "save", "large.safetensors", "-o", "-"),
    ("init", "large.safetensors", "-o", "-"),
    ("check", "--list-rules"),
    ("inspect", "--limit", "help"),
    ("--help",),
    ("--version",),
    *[(command, "--help") for command in ("inspect", "report", "check", "diff", "visualize", "baseline", "init")],
]


def named(arguments: tuple[str, ...]) -> str:
    return " ".join(arguments)


@pytest.fixture(autouse=True)
def heard():
    """Ctrl-C is heard by those we start, though whoever runs the tests in the background ignores it, which is inherited."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def large(here):
    """Two files whose every report is long: many layers, none like another."""
    for name, offset in (("large", 0), ("other", 1)):
        shapes = {f"m{n}.weight": ("F32", ((n * n + offset) % 997 + 1,)) for n in range(900)}
        (here / f"{name}.safetensors").write_bytes(safetensors_bytes(shapes))
    return here


@pytest.fixture
def slow(here):
    """A file that takes a second to read, most of it in one call of a decoder."""
    (here / "slow.safetensors").write_bytes(
        safetensors_bytes({f"{n % 977}.{n}.weight": ("U8", (n % 7 + 1,)) for n in range(200_000)})
    )
    return here


# Signals


def ended(number: int, after: float, *arguments: str) -> tuple[int, bytes, bytes]:
    """(exit code, stdout, stderr) of a command that got a signal so many seconds after its start."""
    with subprocess.Popen([*MSCOPE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(after)
        if running.poll() is None:
            running.send_signal(number)
        out, err = running.communicate(timeout=60)
        return running.returncode, out, err


def interrupted(after: float, *arguments: str) -> tuple[int, bytes]:
    """(exit code, stderr) of a command that got Ctrl-C while it was at work: later, on a machine that took so long to start Python."""
    code, _, err = ended(signal.SIGINT, after, *arguments)
    if code in (-signal.SIGINT, 1) and b"/modelscope_cli/" not in err:  # 1: its site could not be imported
        return interrupted(2 * after, *arguments)
    return code, err


@pytest.mark.parametrize("after", [0.25, 0.5, 0.8])
@pytest.mark.parametrize("arguments", [("inspect", "slow.safetensors"), ("report", "slow.safetensors", "-o", "out.html", "-o", "out.json"),
    ("check", "slow.safetensors", "--max-size", "1GB"), ("baseline", "save", "slow.safetensors")], ids=named)  # fmt: skip
def test_ctrl_c_ends_it_without_a_word(slow, arguments, after):
    (slow / "out.html").write_text("precious")
    before = files(slow)
    code, err = interrupted(after, *arguments)
    assert code in (130, 0), "stopped, or done before"
    assert b"Traceback" not in err
    assert err == b""
    if code == 130:
        now = files(slow)
        for path in [path for path in now.keys() - before.keys() if str(path).endswith("slow.baseline.json")]:
            json.loads(now.pop(path))  # the signal came when it was whole and in its place
        assert now == before, "no file is half-written, nothing is left behind"


def test_ctrl_c_at_any_moment_of_the_start(slow):
    """While modules are loaded, too: then it is killed, which a shell reports as 130."""
    codes = []
    for step in range(16):
        code, out, err = ended(signal.SIGINT, 0.05 + step * 0.01, "inspect", "slow.safetensors")
        if err and b"__main__.py" not in err and b"modelscope_cli/cli" not in err:  # Python itself was starting, and says so
            continue
        assert code in (130, -signal.SIGINT)
        assert (out, err) == (b"", b"")
        codes.append(code)
    assert codes


def test_ctrl_c_while_nobody_reads(slow):
    """What is written to a pipe that is full must not keep us."""
    arguments = ["inspect", "slow.safetensors", "--by", "tensor", "-n", "0", "-f", "csv"]
    with subprocess.Popen([*MSCOPE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(1)  # it writes, and then waits for us
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130
        assert running.stderr.read() == b""


HOLDING = """
import os, sys
real, number = os.replace, int(sys.argv.pop())
def replace(*names):
    os.kill(os.getpid(), number)
    real(*names)
os.replace = replace
from modelscope_cli.cli.app import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("there", [True, False], ids=["over a file", "a new file"])
def test_a_signal_in_the_middle_of_writing_leaves_nothing(here, number, there):
    """Between the writing and the renaming: the old file is there, and nothing beside it."""
    if there:
        (here / "out.json").write_text("precious")
    before = files(here)
    command = [sys.executable, "-c", HOLDING, "report", "decoder.pth", "-o", "out.json", str(int(number))]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 128 + number
    assert done.stderr == b""
    assert files(here) == before


@pytest.mark.parametrize("after", [0.3, 0.6])
def test_being_asked_to_end(slow, after):
    before = files(slow)
    code, _, err = ended(signal.SIGTERM, after, "report", "slow.safetensors", "-o", "out.html", "-o", "out.json")
    assert code in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert err == b""
    assert files(slow) == before


# A reader that has had enough


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", TO_STDOUT, ids=named)
def test_a_reader_that_leaves_is_no_failure(large, arguments, unbuffered):
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered, "COLUMNS": "100"}
    with subprocess.Popen([*MSCOPE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.read(1)
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(60) == 0


def test_head(large):
    line = f"'{sys.executable}' -m modelscope_cli inspect large.safetensors --by tensor -n 0 | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


# Disks that are full, folders that are closed


@pytest.mark.skipif(not os.path.exists(FULL), reason="no device that is always full")
@pytest.mark.parametrize("arguments", TO_STDOUT, ids=named)
def test_stdout_on_a_full_disk(large, arguments):
    with open(FULL, "w") as full:
        done = process(*arguments, stdout=full)
    assert done.returncode == 3
    assert done.stderr == "mscope: the output cannot be written: no space left on device\n"


@pytest.mark.skipif(not os.path.exists(FULL), reason="no device that is always full")
@pytest.mark.parametrize(
    "arguments", [("inspect", "decoder.pth"), ("inspect", "decoder.pth", "gone.pt"), ("--help",), ("inspect", "--sky")]
)
def test_stderr_on_a_full_disk(here, arguments):
    """Nobody can be told, but the exit code is right."""
    with open(FULL, "w") as full:
        done = process(*arguments, stderr=full)
    assert done.returncode == process(*arguments).returncode


@pytest.mark.parametrize("arguments", [("inspect", "decoder.pth"), ("--help",), ("--version",), ("report", "decoder.pth", "-o", "out.md"),
    ("baseline", "save", "decoder.pth"), ("visualize", "decoder.pth", "-f", "svg")], ids=named)  # fmt: skip
@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_streams_that_are_closed(here, arguments, closed):
    """No stream that was closed is taken for a file that was opened since, and none is a traceback."""
    before = files(here)
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m modelscope_cli "$@" {closed}', sys.executable, *arguments], capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr
    writes = "-o" in arguments
    assert done.returncode == (3 if "1>&-" in closed and not writes else 0)
    assert {name: data for name, data in files(here).items() if name in before} == before


def most_bytes(count: int):
    """Options of a process whose files may not be longer."""
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (count, count))}


@pytest.mark.parametrize("there", [True, False], ids=["over a file", "a new file"])
@pytest.mark.parametrize("arguments", [("report", "large.safetensors", "-o", "out.html"), ("inspect", "large.safetensors", "-o", "out.json"),
    ("baseline", "save", "large.safetensors", "-o", "out.json"), ("visualize", "decoder.pth", "-o", "out.svg"),
    ("init", "large.safetensors", "--force", "-o", "out.toml")],
    ids=named)  # fmt: skip
def test_a_file_that_may_not_become_so_long(large, arguments, there):
    """A quota, or a disk that fills up while we write: what was there stays, and nothing is left beside it."""
    out = large / arguments[-1]
    if there:
        out.write_text("precious")
    before = files(large)
    done = process(*arguments, **most_bytes(1_000))
    assert done.returncode == 3
    assert done.stderr == f"mscope: {arguments[-1]}: cannot be written: file too large\n"
    assert files(large) == before


@pytest.mark.parametrize("there", [True, False], ids=["over a file", "a new file"])
def test_a_file_system_that_is_full(large, there):
    """A real one, of 64 KiB, in a name space of its own."""
    made = 'mkdir disk && mount -t tmpfs -o size=64k none disk && cd disk && { [ -z "$1" ] || echo precious > out.json; }'
    line = (
        f'{made} && "$0" -m modelscope_cli inspect ../large.safetensors -o out.json; code=$?; cat out.json; ls -A; exit $code'
    )
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    try:
        can = subprocess.run([*command, "mkdir try && mount -t tmpfs -o size=64k none try"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare")
    if can.returncode:
        pytest.skip("no file system can be mounted here")
    done = subprocess.run([*command, line, sys.executable, "1" if there else ""], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "mscope: out.json: cannot be written: no space left on device\n" in done.stderr
    assert done.stdout == ("precious\nout.json\n" if there else "")


FAILING = """
import sys
reason = sys.argv.pop()
from modelscope_cli.analysis import overview
from modelscope_cli.errors import LimitError
def inspect(*_):
    raise {"memory": MemoryError, "depth": RecursionError, "limit": LimitError("modules", 1, 2, path="a.pt")}[reason]
overview.inspect = inspect
from modelscope_cli.cli.app import main
main()
"""


@pytest.mark.parametrize(("reason", "said"), [("memory", "decoder.pth: needs more memory than there is"), ("depth", "decoder.pth: nested too deeply"),
    ("limit", "a.pt: modules: 2 found, the limit is 1 - if you trust the file, raise it with --limit modules=VALUE")])  # fmt: skip
@pytest.mark.parametrize("command", [("inspect",), ("report",), ("check", "--max-size", "1GB"), ("init", "-o", "-")], ids=named)
def test_running_out_beyond_the_reading_is_a_sentence(here, command, reason, said):
    done = subprocess.run(
        [sys.executable, "-c", FAILING, *command, "decoder.pth", reason], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (3, f"mscope: {said}\n")
    assert ("1 input could not be read" in done.stdout) == (command == ("report",))
