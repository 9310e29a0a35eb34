"""Lists of findings end, and what they leave out is a finding of the same level and code."""

from __future__ import annotations

import json

from modelscope_cli.analysis.operators import found_in
from modelscope_cli.analysis.policy import standard_policy
from modelscope_cli.core.scanned import Operator
from tests.command import mscope


def test_operators_beyond_a_hundred_are_counted_with_a_code_of_their_level():
    operators = [Operator("", "tensorflow", "WriteFile", number, 1, f"n{number}") for number in range(150)]
    operators += [Operator("", "tensorflow", "ReadFile", number, 1, f"r{number}") for number in range(30)]
    found = list(found_in(operators, standard_policy()))
    assert len(found) == 102
    assert {(one.level, one.code) for one in found[:100]} == {("dangerous", "dangerous-operator")}
    assert [(one.level, one.code, str(one.message)) for one in found[100:]] == [
        ("dangerous", "dangerous-operator", "50 more operators like these, which are not listed: tensorflow.WriteFile"),
        ("suspicious", "suspicious-operator", "30 more operators like these, which are not listed: tensorflow.ReadFile"),
    ]


def test_json_says_what_was_left_out(tmp_path):
    (tmp_path / "a.yaml").write_text("".join(f"a{number}: {{_target_: os.f{number}}}\n" for number in range(150)))
    done = mscope("scan", tmp_path / "a.yaml", "-f", "json")
    assert done.code == 1
    assert "50 more names like these, which are not listed: os.f100, os.f101" in done.out
    assert json.loads(done.out)
