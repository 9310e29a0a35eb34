"""Every option of `mscope visualize` does what its help says, and the help says how."""

from __future__ import annotations

import re
import struct
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from tests.builders.safetensors_file import safetensors_bytes
from tests.cli.pictures import PICTURES, TWO, is_a, refused, visualize
from tests.cli.test_start_up import HEAVY, imported
from tests.command import CODES, process, words
from tests.painters import NEEDS_DOT, written
from tests.snapshots.checkpoints import CHECKPOINTS

pytestmark = pytest.mark.usefixtures("here")


# What is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-f", "svgg"), ("--format", "'svgg' is not one of", "did you mean 'svg'?")),
        (("-f", "jpeg"), ("pdf", "svg", "png", "html", "dot")),
        (("--engine", "digram"), ("--engine", "did you mean 'diagram'?", "treemap")),
        (("--engine", "netron 9"), ("diagram, treemap",)),
        (("-o", "out.jpeg"), ("--output", "'out.jpeg' does not end in one of", ".svg", "-f")),
        (("-o", "out"), ("say which with -f",)),
        (("--engine", "diagram", "-f", "html"), ("diagram writes pdf, svg, png, dot", "--engine treemap")),
        (("--engine", "diagram", "-o", "out.html"), ("--engine treemap",)),
        (("-o", "-", "--open", "-f", "svg"), ("--open", "stdout")),
        (("--depth", "-1"), ("--depth",)), (("--depth", "many"), ("--depth",)), (("--theme", "blue"), ("light", "dark")),
        (("--limit", "tensor=3"), ("--limit", "tensors")), (("--dept", "2"), ("--depth",)), (("plain.safetensors",), ("plain.safetensors",)),
    ],
)  # fmt: skip
def test_wrong_usage(unchanged, options, said):
    refused("decoder.pth", *options, said=said)


# What is drawn ---------------------------------------------------------------------------------------------------------


def drawn(path: object, *options: object, code: int = 0) -> list[str]:
    """The texts of the SVG."""
    visualize(path, "-o", "drawn.svg", *options, code=code)
    with open("drawn.svg", "rb") as file:
        return written(file.read())


def test_a_missing_shard_is_told_and_the_rest_is_drawn(here):
    (here / "set" / TWO).unlink()
    done = visualize("set", "-f", "svg", code=3)
    assert done.out == "set.svg\n"
    assert TWO in done.err
    found = written((here / "set.svg").read_bytes())
    assert any(text.startswith("Incomplete: ") for text in found)
    assert "embed" in " ".join(found)


def test_only_draws_one_shard():
    assert "embed" not in " ".join(drawn(f"set/{TWO}", "--only"))
    assert "embed" in " ".join(drawn(f"set/{TWO}"))


def test_root_depth_and_fold():
    assert "3 ×" in drawn("decoder.pth")
    assert "3 ×" not in drawn("decoder.pth", "--no-fold")
    assert drawn("decoder.pth", "--root", "decoder.layers.1")[0] == "decoder.layers.1  in decoder.pth"
    assert "norm1" not in drawn("decoder.pth", "--depth", "1")
    assert drawn("decoder.pth", "-d", "0") == drawn("decoder.pth")


def test_a_root_that_is_not_there_is_told_with_the_nearest(unchanged):
    done = visualize("decoder.pth", "--root", "decoder.layer", code=3)
    assert done.err == "mscope: decoder.pth: no module is called 'decoder.layer' - did you mean 'decoder.layers'?\n"


def test_advice_for_what_is_too_large_works(here):
    shapes = {f"tower{i}.stage{j}.unit{k}.weight": ("F32", (1 + i, k)) for i in range(30) for j in range(12) for k in range(8)}
    (here / "large.safetensors").write_bytes(safetensors_bytes(shapes))
    done = visualize("large.safetensors", "-f", "svg", code=3)
    assert not (here / "large.svg").exists()
    options = re.findall(r"(--depth|--root) (\S+) draws", done.err)
    assert {option for option, _ in options} == {"--depth", "--root"}
    for option in [*options, ("-f", "html")]:
        visualize("large.safetensors", *option, "-o", "large.picture", *(() if option[0] == "-f" else ("-f", "svg")))


def test_a_dark_picture_is_dark(here):
    visualize("decoder.pth", "-o", "light.svg")
    visualize("decoder.pth", "-o", "dark.svg", "--theme", "dark")
    light, dark = ((here / f"{theme}.svg").read_text() for theme in ("light", "dark"))
    assert '"#ffffff"' in light
    assert '"#0b1120"' in dark
    assert written(light) == written(dark)


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("format", PICTURES)
def test_every_sort_of_checkpoint_in_every_format(tmp_path, name, format):
    (tmp_path / "made").mkdir()
    path = tmp_path / "made" / CHECKPOINTS[name](tmp_path / "made")
    visualize(path, "-o", f"out.{format}")
    data = (tmp_path / f"out.{format}").read_bytes()
    assert is_a(format, data)
    if format == "svg":
        ElementTree.fromstring(data)
    elif format == "png":
        assert min(struct.unpack(">II", data[16:24])) > 100
    elif format == "dot":
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", data.decode())


# Starting up and help --------------------------------------------------------------------------------------------------


@NEEDS_DOT
@pytest.mark.parametrize("format", ["svg", "dot"])
def test_no_heavy_guest(format):
    found = imported("visualize", "decoder.pth", "-f", format)
    assert not found & (HEAVY | {"PIL", "reportlab", "graphviz_pure"})


def test_help_reads_and_draws_nothing():
    found = imported("visualize", "--help")
    packages = ("modelscope_cli.formats", "modelscope_cli.analysis", "modelscope_cli.render", "modelscope_cli.bridges")
    assert not [name for name in found if name.startswith(packages)]


@pytest.mark.parametrize("columns", [80, 120])
def test_help_has_examples_and_fits_the_terminal(columns):
    done = visualize("--help", columns=columns)
    out = CODES.sub("", done.out)
    assert max(map(len, out.splitlines())) <= columns
    for said in ("Examples:", "Exit codes: 0 fine", "without torch", "pdf svg png dot"):
        assert said in words(out)
    for option in (
        "--format",
        "--output",
        "--engine",
        "--depth",
        "--root",
        "--no-fold",
        "--theme",
        "--open",
        "--verbose",
        "--only",
        "--model",
        "--input",
        "--config",
        "--layers",
        "--trust-code",
        "--show-attrs",
        "--show-saved",
        "--force",
        "--port",
    ):
        assert option in out
    assert re.search(r"^ *mscope visualize weights\.pth --depth 2 +the upper levels only", out, re.MULTILINE)
    assert "netron browser svg png pdf Netron, served or as a file [netron]" in words(out)  # the brackets are no markup
    assert "'int64[1,50]<98631'" in words(out)
    assert re.search(r"^ *treemap +html svg png pdf dot +where the bytes are.*explore *$", out, re.MULTILINE)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell with head")
@pytest.mark.parametrize(
    "arguments", ["visualize decoder.pth -f svg -o -", "visualize decoder.pth -f png -o -", "visualize --help"]
)
def test_a_reader_that_has_had_enough(here, arguments):
    import subprocess

    line = f'{{ "$0" -m modelscope_cli {arguments}; echo $? >&3; }} 3>code | true'
    done = subprocess.run(["sh", "-c", line, sys.executable], capture_output=True, text=True, cwd=here, check=True)
    assert (here / "code").read_text() == "0\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mscope visualize --eng", {"--engine"}),
        ("mscope visualize --engine ", {"diagram", "treemap", "netron", "dataflow", "torchviz", "tensorboard"}),
        ("mscope visualize -f s", {"svg"}),
        ("mscope visualize --theme ", {"light", "dark"}),
    ],
)
def test_completion(typed, offered):
    parts = typed.split(" ")
    done = process(env={"_MSCOPE_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(parts) - 1)})
    assert set(done.stdout.split()) == offered
    assert done.stderr == ""
