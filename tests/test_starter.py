"""`mscope init`: what it writes is TOML, reads back, and is kept by the model it was taken from."""

from __future__ import annotations

import tomllib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.analysis.overview import inspect
from modelscope_cli.checks.check import check
from modelscope_cli.checks.quantities import count, size
from modelscope_cli.checks.registry import NAMES, RULES
from modelscope_cli.checks.rule import Subject
from modelscope_cli.checks.safety import Bench, Judged
from modelscope_cli.checks.settings import Settings, settings_of
from modelscope_cli.checks.starter import ROOM, _amount, starter
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.formats.locate import locate
from modelscope_cli.formats.looking import Looking
from modelscope_cli.formats.registry import read, read_target
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.builders.torch_code import module, parameter, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.families import FAMILIES
from tests.hostile.test_hostile_names import NASTY
from tests.judged import weights
from tests.opened import opened
from tests.snapshots.checkpoints import CHECKPOINTS


def kept(checkpoint: Checkpoint, safety: Callable[[], Judged] | None = None) -> tuple[str, Settings]:
    """The text for a model and what it asks, having seen that the model keeps all of it, strictly."""
    overview = inspect(checkpoint)
    text = starter(overview, safety)
    text.encode("utf-8")
    asked = Settings().over(settings_of(tomllib.loads(text), "mscope.toml", "."))
    result = check(Subject(overview, safety=safety), asked.demands, strict=True)
    assert result.passed, f"{result}\n{text}"
    return text, asked


def commented(text: str) -> dict[str, object]:
    """What the text says once its comments are taken for rules."""
    lines = [line.removeprefix("# ") for line in text.splitlines() if line.removeprefix("# ").startswith(NAMES)]
    return tomllib.loads("\n".join(line for line in lines if 'max-size = "500' not in line and "1 GB" not in line))


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_keeps_its_own_limits(name):
    text, asked = kept(opened(SAMPLES[name], name))
    assert text.startswith("# Limits for `mscope check`.")
    assert f"# Taken from {name}: {len(SAMPLES[name]):,} bytes," in text
    assert "max-size" in {demand.rule.name for demand in asked.demands}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_sort_of_checkpoint_keeps_its_own_limits(tmp_path, name):
    kept(read(str(tmp_path / CHECKPOINTS[name](tmp_path))))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_architecture_keeps_its_own_limits(name):
    plain = {key.partition(":")[0]: ("I64" if ":" in key else "F32", shape) for key, shape in FAMILIES[name].items()}
    kept(opened(safetensors_bytes(plain)))


def test_every_rule_stands_in_it_in_force_or_as_a_comment(tmp_path):
    (target,), _ = locate([str(tmp_path / CHECKPOINTS["decoder"](tmp_path))])
    look = Looking(DEFAULT_LIMITS)
    checkpoint = read_target(target, look=look)
    text, asked = kept(checkpoint, lambda: Judged(Bench().judge(look.own(checkpoint, target).scans)))
    assert set(commented(text)) == set(NAMES)
    active = {demand.rule.name for demand in asked.demands if not demand.target}
    assert active == {
        "max-size",
        "max-parameters",
        "allowed-dtypes",
        "require-format",
        "forbid-unsafe",
        "forbid-optimizer-state",
        "forbid-waste",
    }
    assert "(the model breaks this)" in next(line for line in text.splitlines() if line.startswith("# forbid-pickle"))
    assert all("(needs the baseline)" in line for line in text.splitlines() if "growth = " in line)
    for rule in RULES:
        assert f"# {rule.summary}" in text


def test_a_rule_that_holds_is_in_force_and_one_that_does_not_is_not(tmp_path):
    plain = kept(opened(weights({"embed.weight": (10, 4)})))[1]
    assert {"forbid-pickle", "forbid-waste", "forbid-optimizer-state"} <= {demand.rule.name for demand in plain.demands}
    assert "forbid-untied-head" not in {demand.rule.name for demand in plain.demands}
    training = kept(read(str(tmp_path / CHECKPOINTS["training"](tmp_path))))[1]
    assert "forbid-optimizer-state" not in {demand.rule.name for demand in training.demands}
    tied = kept(read(str(tmp_path / CHECKPOINTS["gpt2"](tmp_path))))[1]
    assert "forbid-untied-head" in {demand.rule.name for demand in tied.demands}


def test_limits_leave_a_tenth_of_room_and_not_much_more():
    data = weights({"w": (123_456,)})
    asked = {demand.rule.name: demand.value for demand in kept(opened(data))[1].demands}
    assert ROOM * len(data) <= asked["max-size"] < 1.02 * ROOM * len(data)
    assert ROOM * 123_456 <= asked["max-parameters"] < 1.02 * ROOM * 123_456


def test_large_modules_get_limits_of_their_own():
    text, asked = kept(opened(weights({"big.weight": (60,), "other.weight": (30,), "small.weight": (10,)})))
    shares = {demand.target: demand.value for demand in asked.demands if demand.target}
    assert shares == {"big": 0.66, "other": 0.33}
    assert 'max-share = "66 %"  # 60.0 % today' in text


def test_a_module_that_holds_tensors_and_modules_is_measured_with_all_below_it():
    asked = kept(opened(weights({"m.weight": (40,), "m.inner.weight": (50,), "n.weight": (10,)})))[1]
    assert {demand.target: demand.value for demand in asked.demands if demand.target} == {"m": 0.99, "m.inner": 0.55}


@pytest.mark.parametrize(
    "path", ["a.0-5", "a.0,1", "a*", "a?b", "*", "**", "a..b", "a ×3", " a", "a x2", "a\n", "x" * 400, "a\u202eb", "a\x7fb"]
)
def test_a_name_that_would_mean_something_else_as_a_pattern_gets_no_limit(path):
    asked = kept(opened(weights({f"{path}.weight": (90,), "0.weight": (1,), "a.0.weight": (1,), "ab.weight": (1,)})))[1]
    assert not [demand for demand in asked.demands if demand.target]


@pytest.mark.parametrize("path", ['a"b', "a\\b", "a'b", "层", "a b", "a]b", "a#b", "a[b", "a=b", "🦙", "a%b", "-", "a/b", "é"])
def test_a_name_of_any_letters_can_be_a_pattern(path):
    asked = kept(opened(weights({f"{path}.weight": (90,), "b.weight": (10,)})))[1]
    assert [demand.target for demand in asked.demands if demand.target] == [path]


@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
def test_hostile_names_stay_toml(nasty):
    if "\ud800" not in nasty:
        kept(opened(weights({f"{nasty}.weight": (9,), "b.weight": (1,)}, metadata={nasty: nasty}), f"{nasty}.safetensors"))
    root = {nasty: module("shop.M", {nasty: parameter(tensor())}), f"{nasty}.weight": tensor("1", (3,))}
    kept(opened(torch_zip_bytes(root, {"0": 24, "1": 12}), f"{nasty}.pt"))


@pytest.mark.parametrize("name", ["F3 ", "half", "Float", "a,b", "x\x7f", "\x1b[2J", "", " ", "新", 'q"', "x" * 3000])
def test_a_dtype_nobody_knows_is_written_only_where_it_reads_back(name):
    header = {"w": (name, [4]), "b.weight": ("F32", [2])}
    import json

    raw = {
        key: {"dtype": dtype, "shape": shape, "data_offsets": [0, 8] if key == "w" else [8, 16]}
        for key, (dtype, shape) in header.items()
    }
    data = json.dumps(raw).encode()
    kept(opened((len(data)).to_bytes(8, "little") + data + bytes(16), "model.safetensors", lenient=True))


def test_a_model_without_anything():
    text, asked = kept(opened(weights({})))
    assert {demand.rule.name for demand in asked.demands} == {
        "max-size", "require-format", "forbid-pickle", "forbid-optimizer-state", "forbid-waste",
    }  # fmt: skip
    assert '# [modules."decoder.layers.*"]' in text


def test_the_example_of_a_model_by_itself_is_right():
    """The lines about [models] can be uncommented."""
    text, _ = kept(opened(weights({"w": (2,)})))
    example = "\n".join(line.removeprefix("# ") for line in text.splitlines()[-2:])
    (pattern,) = settings_of(tomllib.loads(example), "mscope.toml", ".").models
    assert pattern[0] == "weights/*.safetensors"


@given(st.integers(0, 10**14))
def test_an_amount_reads_back_as_a_tenth_more_rounded_up(number):
    for read_back, unit in ((size, 1), (count, 2)):
        written = tomllib.loads(f"x = {_amount(number, unit)}")["x"]
        assert number <= read_back(written) <= max(number * ROOM * 1.011 + 1, 2)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=12), st.integers(0, 50), max_size=6), st.text(max_size=10))
def test_any_names_stay_toml(shapes, name):
    data = weights(
        {key.encode("utf-8", "replace").decode(): (value,) for key, value in shapes.items() if key != "__metadata__"}
    )
    kept(opened(data, name or "model"))
