"""The version, the help, and the completion of shells."""

from __future__ import annotations

import importlib.metadata
import re

import pytest

import modelscope_cli
from modelscope_cli.analysis.grouping import KEYS, SORTS
from modelscope_cli.cli import inspect as command
from tests.command import CODES, mscope, process, words

SHELLS = ("bash", "zsh", "fish")


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option):
    done = mscope(option)
    assert done == (0, f"modelscope-cli {modelscope_cli.__version__}\n", "")


def test_the_version_is_that_of_the_package():
    assert importlib.metadata.version("modelscope-cli") == modelscope_cli.__version__


def test_both_names_and_the_module_are_the_same_program():
    scripts = {entry.name: entry.value for entry in importlib.metadata.distribution("modelscope-cli").entry_points}
    assert scripts["mscope"] == scripts["modelscope-cli"] == "modelscope_cli.__main__:main"
    assert process("--version").stdout == mscope("--version").out


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_of_the_program(option):
    done = mscope(option)
    assert (done.code, done.err) == (0, "")
    for said in ("inspect", "without torch", "--version", "--install-completion"):
        assert said in words(done.out)


def test_help_of_inspect_has_examples_options_and_exit_codes():
    done = mscope("inspect", "--help")
    assert (done.code, done.err) == (0, "")
    text = words(done.out)
    for said in ("Examples:", "mscope inspect weights.pth --by role,dtype", "Exit codes: 0 fine", "[brackets]", "NO_COLOR"):
        assert said in text
    for option in (
        "--by",
        "--depth",
        "--top",
        "--sort",
        "--reverse",
        "--include",
        "--exclude",
        "--fold",
        "--no-fold",
        "--unit",
    ):
        assert option in text
    for option in ("--format", "--output", "--color", "--only", "--lenient", "--limit"):
        assert option in text


@pytest.mark.parametrize("columns", [80, 120])
def test_examples_keep_their_lines(columns):
    out = CODES.sub("", mscope("inspect", "--help", columns=columns).out)
    assert re.search(r"^ *mscope inspect weights\.pth --by kind +Embedding", out, re.MULTILINE)


def test_no_arguments_is_help():
    assert "inspect" in words("".join(mscope()[1:]))
    assert "PATH" in words("".join(mscope("inspect")[1:]))


def test_the_keys_of_the_help_are_those_of_the_program():
    assert tuple(command.KEYS.split(", ")) == KEYS
    assert tuple(order.value for order in command.Sort) == SORTS


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell(shell):
    done = process(env={"_MSCOPE_COMPLETE": f"source_{shell}"})
    assert "mscope" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mscope ins", {"inspect"}),
        ("mscope inspect --uni", {"--unit"}),
        ("mscope inspect --unit ", {"auto", "iec", "si", "bytes"}),
        ("mscope inspect --by ro", {"role"}),
        ("mscope inspect --by role,d", {"role,dtype"}),
        ("mscope inspect --by role,s", {"role,shard", "role,storage", "role,section"}),
        ("mscope inspect --sort na", {"name"}),
    ],
)
def test_completion(typed, offered):
    parts = typed.split(" ")
    environment = {"_MSCOPE_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(parts) - 1)}
    done = process(env=environment)
    assert set(done.stdout.split()) == offered
    assert done.stderr == ""
