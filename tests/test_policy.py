"""The policy: every row says what it is meant to, exact names are exact, and what no row knows is judged by where it comes from."""

from __future__ import annotations

import re
import sys

import pytest

from modelscope_cli.analysis.findings import harmless
from modelscope_cli.analysis.policy import Policy, grave, gravest, is_standard, standard_policy
from modelscope_cli.analysis.policy_dangers import DANGEROUS_ROWS
from modelscope_cli.analysis.policy_file import read_policy, rows
from modelscope_cli.analysis.policy_harmless import SAFE_ROWS
from modelscope_cli.analysis.weights_only import ALLOWED
from modelscope_cli.core.scan_codes import DANGEROUS, LEVELS, SAFE, SUSPICIOUS, UNKNOWN
from modelscope_cli.errors import SettingsError

POLICY = standard_policy()
NAMED = [(module, name, level) for module, names, level, _ in (*SAFE_ROWS, *DANGEROUS_ROWS) for name in names.split()]


def an_example(module: str, name: str) -> tuple[str, str]:
    """A module and name that a row is about."""
    if name == "*":
        name = "Anything"
    name = name.replace("[A-Z]*", "Zebra").replace("[a-z_]*", "zebra").replace("[1-7]", "3").replace("*", "zebra")
    return (f"{module[:-2]}.below" if module.endswith(".*") else module), name


@pytest.mark.parametrize(("module", "name", "level"), NAMED, ids=[f"{module} {name}" for module, name, _ in NAMED])
def test_every_row_is_reached(module, name, level):
    """A row that another one shadows is of no use, but for one that says the same."""
    assert POLICY.judge(*an_example(module, name)).level == level


@pytest.mark.parametrize("row", [*SAFE_ROWS, *DANGEROUS_ROWS], ids=lambda row: row[0] + " " + row[1][:20])
def test_every_row_is_well_made(row):
    module, names, level, reason = row
    assert re.fullmatch(r"[\w.]+(\.\*)?", module)
    assert names.split()
    assert level in LEVELS
    assert re.match(r"[a-z`]", reason)
    assert not reason.endswith(".")


def test_no_row_stands_twice():
    seen = [(module, name) for module, name, _ in NAMED]
    assert len(seen) == len(set(seen)), sorted({pair for pair in seen if seen.count(pair) > 1})


def test_a_module_and_all_below_it_come_before_the_module_alone():
    assert POLICY.judge("os.path", "join").level == DANGEROUS
    assert POLICY.judge("asyncio.a.b", "run").level == DANGEROUS
    assert POLICY.judge("osmosis", "System").level == UNKNOWN


def test_what_torch_allows_is_safe():
    for path in ALLOWED:
        module, _, name = path.rpartition(".")
        assert POLICY.judge(module, name).level == SAFE, path
        assert harmless(module, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch._utils", "_rebuild_tensоr_v2"),  # a Cyrillic o
        ("torch._utils", "_rebuild_tensor_V2"),
        ("torch._utils", "importlib"),
        ("torch._utils", "sys"),
        ("torch.nn.modules.module", "functools"),
        ("torch.nn.functional", "importlib"),
        ("torch.storage", "io"),
        ("torch.serialization", "os"),
        ("collections", "namedtuple"),
        ("collections", "_sys"),
        ("argparse", "_os"),
        ("argparse", "ArgumentParser"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy", "size"),
        ("pathlib", "Path.touch"),
        ("datetime", "sys"),
        ("random", "_os"),
        ("torch.nn.modules.linear", "Linear.forward.__globals__"),
        ("__torch__.a", "__class__.__init__"),
        ("builtins", "type"),
        ("copyreg", "pickle"),
        ("torch", "unheard_of"),
        ("transformers.models.x", "Model.from_pretrained"),
        ("shop.tools", "run_command"),
        ("shop", "a b"),
        ("shop", ""),
        ("", "system"),
        ("shop;import os", "x"),
    ],
)
def test_near_misses_are_not_harmless(module, name):
    assert grave(POLICY.judge(module, name).level) >= grave(SUSPICIOUS)
    assert not harmless(module, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [("__main__", "Net"), ("shop.models", "Net"), ("shop", "Outer.Inner"), ("sklearn.linear_model._base", "LinearRegression"),
     ("torch.optim.adamw", "AdamW"), ("transformers.training_args", "TrainingArguments"), ("ultralytics.nn.tasks", "DetectionModel")],
)  # fmt: skip
def test_names_of_other_packages_are_unknown(module, name):
    assert POLICY.judge(module, name).level == UNKNOWN


def test_the_standard_library_is_suspicious_where_no_row_says_otherwise():
    """Whatever a new version of Python brings is not harmless before somebody has looked at it."""
    for module in sys.stdlib_module_names:
        judged = POLICY.judge(module, "zebra")
        assert grave(judged.level) >= grave(SUSPICIOUS), module
    assert is_standard("mailcap")
    assert is_standard("_interpreters")


def test_python_2_names_mean_what_python_3_calls_them():
    assert POLICY.judge("__builtin__", "eval").level == DANGEROUS
    assert POLICY.judge("__builtin__", "set").level == SAFE
    assert POLICY.judge("copy_reg", "_reconstructor").level == SAFE
    assert POLICY.judge("commands", "getoutput").level == DANGEROUS


def test_gravest():
    assert gravest([SAFE, DANGEROUS, UNKNOWN]) == DANGEROUS
    assert gravest([]) == SAFE


def test_a_policy_of_ones_own_comes_first(tmp_path):
    file = tmp_path / "ours.toml"
    file.write_text(
        '[[allow]]\nnames = ["shop.Net", "shop.layers.*"]\nreason = "ours"\n[[suspect]]\nnames = "old.Thing"\nreason = "old"\n'
        '[[deny]]\nnames = ["collections.OrderedDict"]\nreason = "no"\n'
    )
    policy = read_policy(str(file))
    assert policy.judge("shop", "Net") == (SAFE, "ours (your policy)")
    assert policy.judge("shop.layers.deep", "Any").level == SAFE
    assert policy.judge("shop", "Other").level == UNKNOWN
    assert policy.judge("old", "Thing").level == SUSPICIOUS
    assert policy.judge("collections", "OrderedDict").level == DANGEROUS
    assert policy.judge("shop.layers", "os.system").level == DANGEROUS


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"alow": []}, "is none of allow, suspect, deny"),
        ({"allow": {"names": "a.b"}}, "a list of tables"),
        ({"allow": [{"names": ["a.b"]}]}, "say why"),
        ({"allow": [{"names": ["nodots"], "reason": "x"}]}, "needs names like"),
        ({"allow": [{"names": [], "reason": "x"}]}, "needs names like"),
        ({"allow": [{"names": ["a.b"], "reason": "x", "level": 1}]}, "holds names"),
        ({"allow": ["a.b"]}, "holds names"),
    ],
)
def test_a_policy_that_is_not_understood(document, said):
    with pytest.raises(SettingsError, match=said):
        rows(document, "ours.toml")


def test_a_policy_that_cannot_be_read(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        read_policy(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="no TOML"):
        read_policy(str(tmp_path / "bad.toml"))


def test_rows_given_extra_win():
    assert Policy([("os", "system", SAFE, "of course")]).judge("os", "system").level == SAFE
