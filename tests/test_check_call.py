"""`modelscope_cli.check(...)`: the rules from Python."""

from __future__ import annotations

import inspect

import pytest

import modelscope_cli
from modelscope_cli.checks.registry import RULES
from modelscope_cli.core.limits import Limits
from modelscope_cli.errors import CorruptFileError, LimitError, ModelscopeError, SettingsError, SourceError, UnknownFormatError
from tests.builders.shards import sharded_folder
from tests.judged import weights

SHAPES = {"embed.weight": (10, 4), "layers.0.weight": (4, 4), "layers.1.weight": (4, 8), "head.weight": (10, 4)}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """w.safetensors, an old.safetensors of fewer parameters, and a mscope.toml."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "w.safetensors").write_bytes(weights(SHAPES))
    (tmp_path / "old.safetensors").write_bytes(weights({**SHAPES, "layers.1.weight": (4, 4)}))
    (tmp_path / "mscope.toml").write_text('max-parameters = 100\nforbid-pickle = true\n[models."other*"]\nmax-parameters = 5\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(**options):
    return modelscope_cli.check("w.safetensors", **options)


def test_a_check_is_true_when_nothing_failed():
    passed, failed = check(max_size="1 kB", forbid_waste=True), check(max_size="1 kB", max_parameters=100)
    assert passed
    assert not failed
    assert (passed.passed, failed.passed) == (True, False)
    assert passed.failed == []
    assert [verdict.rule for verdict in failed.failed] == ["max-parameters"]
    assert isinstance(failed, modelscope_cli.Check)
    assert failed.checkpoint.path == "w.safetensors"


def test_it_prints_a_line_a_rule():
    with pytest.warns(UserWarning, match="no module matches 'hed'; did you mean 'head'"):
        result = check(max_size="1 kB", max_parameters=100, modules={"hed": {"max_share": "50 %"}})
    first, *lines = str(result).splitlines()
    assert first == "w.safetensors: 1 of 3 rules failed, 1 met nothing to judge"
    assert lines == [
        f"✓ max-size: {len(weights(SHAPES))} B of at most 1.0 kB",
        "✗ max-parameters: 128 parameters, 28 above 100; the largest are layers 48, embed 40, head 40 parameters",
        "! max-share hed: no module matches 'hed' - did you mean 'head'?",
    ]
    assert repr(result) == f"<Check {result}>"


def test_a_failing_assertion_shows_the_verdicts():
    with pytest.raises(AssertionError) as caught:
        assert check(max_parameters=100)
    assert "128 parameters, 28 above 100" in str(caught.value)


def test_hostile_names_are_printed_as_text(here):
    (here / "h.safetensors").write_bytes(weights({"\x1b[2J\n✓ all.weight": (9,), "b": (1,)}))
    result = modelscope_cli.check("h.safetensors", modules={"*": {"max_share": "1 %"}})
    assert "\x1b" not in str(result)
    assert len(str(result).splitlines()) == 2
    assert "\\x1b[2J\\n✓ all" in str(result)


def test_modules_have_rules_of_their_own():
    assert check(modules={"layers.*": {"max_parameters": 32}, "head": {"max-share": 0.4}})
    failed = check(modules={"layers.*": {"max_parameters": 16}})
    assert [(verdict.rule, verdict.target) for verdict in failed.failed] == [("max-parameters", "layers.*")]


def test_only_what_is_given_counts_without_a_config():
    """A mscope.toml lies beside it, and does not count."""
    assert check(max_size="1 kB")


def test_a_config_comes_under_what_is_given():
    assert {verdict.rule: verdict.status for verdict in check(config="mscope.toml").verdicts} == {
        "max-parameters": "failed",
        "forbid-pickle": "passed",
    }
    assert check(config="mscope.toml", max_parameters=128)
    off = check(config="mscope.toml", max_parameters=128, forbid_pickle=False)
    assert [verdict.rule for verdict in off.verdicts] == ["max-parameters"]


def test_rules_for_this_path_only_count_for_it(here):
    (here / "other.safetensors").write_bytes(weights({"w": (6,)}))
    (verdict,) = modelscope_cli.check("other.safetensors", config="mscope.toml").failed
    assert verdict.limit == 5


def test_a_baseline():
    assert check(baseline="old.safetensors", max_parameter_growth=16)
    assert not check(baseline="old.safetensors", max_parameter_growth=15)
    assert modelscope_cli.check("old.safetensors", baseline="w.safetensors", max_growth=0)


def test_the_baseline_of_a_config(here):
    (here / "sub").mkdir()
    (here / "sub" / "mscope.toml").write_text('baseline = "../old.safetensors"\nmax-parameter-growth = 15')
    assert not check(config="sub/mscope.toml")
    assert check(config="sub/mscope.toml", baseline="w.safetensors")


def test_strictness(here):
    nothing = {"modules": {"hed": {"max_share": "50 %"}}}
    with pytest.warns(UserWarning, match="no module matches"):
        assert check(**nothing)
    assert not check(strict=True, **nothing)
    (here / "strict.toml").write_text("strict = true")
    assert not check(config="strict.toml", **nothing)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_sizes": 5}, "there is no rule 'max-sizes'; did you mean 'max-size'?"), ({"max_size": "500 M"}, "may mean 1000s or 1024s"),
        ({"forbid_waste": 1}, "neither true nor false"), ({"modules": {"a": {"max_shar": 1}}}, "did you mean 'max-share'"),
        ({"modules": {"a": 5}}, "modules is a table of tables"), ({"modules": {"a..b": {"max_size": 5}}}, "not a module pattern"),
        ({"modules": {"a": {"forbid_waste": True}}}, "about the whole model only"), ({}, "there is no rule to check"),
        ({"forbid_waste": False}, "there is no rule to check"), ({"max_growth": "5 %"}, "max-growth needs something to compare with"),
        ({"modules": {"a": {"max_growth": "5 %"}}}, "needs something to compare with"),
        ({"models": {"a": {"max-size": 5}}}, "no rule 'models'; did you mean 'modules'"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_understood_is_a_settings_error(options, said):
    with pytest.raises(SettingsError, match=said):
        check(**options)


def test_what_cannot_be_read_is_an_error_of_its_kind(here):
    (here / "page.pt").write_text("<!DOCTYPE html><html></html>")
    for path, kind in (("gone.pth", SourceError), ("page.pt", UnknownFormatError)):
        with pytest.raises(kind):
            modelscope_cli.check(path, max_size=5)
        with pytest.raises(kind):
            check(baseline=path, max_growth=5)
    with pytest.raises(SourceError):
        check(config="gone.toml", max_size=5)
    (here / "mscope.toml").write_text("max-siz = 5")
    with pytest.raises(SettingsError, match=r"mscope\.toml.*did you mean 'max-size'"):
        check(config="mscope.toml")
    with pytest.raises(LimitError):
        check(max_size=5, limits=Limits(tensors=3))
    assert issubclass(SettingsError, ModelscopeError)


def test_of_a_part_of_a_checkpoint_nothing_is_said(here):
    """A set with a damaged shard is smaller than it should be, and would keep every limit."""
    (here / "set").mkdir()
    sharded_folder(here / "set")
    shard = here / "set" / "model-00002-of-00002.safetensors"
    assert modelscope_cli.check("set", max_size="1 GB")
    shard.write_bytes(shard.read_bytes()[:40])
    with pytest.raises(CorruptFileError, match="not whole, so it cannot be judged"):
        modelscope_cli.check("set", max_size="1 GB")
    with pytest.raises(CorruptFileError, match="not whole, so nothing can be measured against it"):
        check(baseline="set", max_growth="500 %")


def test_the_documentation_of_the_call_is_right():
    signature = inspect.signature(modelscope_cli.check)
    assert list(signature.parameters) == ["path", "baseline", "config", "modules", "strict", "limits", "rules"]
    for rule in RULES:
        assert rule.name.replace("-", "_").isidentifier()
        assert rule.name.replace("-", "_") not in signature.parameters
    assert {"check", "Check"} <= set(modelscope_cli.__all__)


def test_paths_may_be_path_objects(here):
    (here / "limits.toml").write_text("max-size = 1")
    assert not modelscope_cli.check(here / "w.safetensors", config=here / "limits.toml", baseline=here / "w.safetensors")
    assert len(modelscope_cli.read(here / "w.safetensors").tensors)
