"""Names in files are never commands to the CI server whose log they appear in."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.render.plain import begun, visible
from tests.command import mscope
from tests.judged import weights

COMMAND = re.compile(r"^\s*::|##[a-z]*\[", re.MULTILINE)
NAMES = ["::error::x", "  ::stop-commands::y", "##[group]z", "a##vso[task.setvariable]b"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [[], ["--by", "tensor"], ["-f", "tree"]])
def test_no_line_of_a_table_is_a_command(tmp_path, monkeypatch, name, options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(weights({name: (2, 2), f"{name}.weight": (3, 3)}))
    done = mscope("inspect", "m.safetensors", *options)
    assert done.code == 0
    assert not COMMAND.search(done.out)


@given(st.text(alphabet=":#[]abv \n", max_size=12), st.text(alphabet=":#[]abv", max_size=12))
def test_what_is_visible_once_stays_so_and_so_do_its_words(text, other):
    assert visible(visible(text)) == visible(text)
    assert not COMMAND.search(begun(visible(text)))
    assert visible(f"{text} {other}") == f"{visible(text)} {visible(other)}"
