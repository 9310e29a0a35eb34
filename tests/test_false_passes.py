"""What a rule must not let pass: each case here once passed, or failed, and should not have."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.modules import ModuleTree
from modelscope_cli.checks.patterns import Pattern
from modelscope_cli.checks.settings import Settings, settings_of
from modelscope_cli.errors import SettingsError
from modelscope_cli.formats.baseline import describe
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.command import mscope
from tests.judged import judged, only, said, weights
from tests.opened import opened

SMALL = {f"layers.{number}.w": (8, 8) for number in range(3)} | {"embed.weight": (10, 8)}
LARGE = {name: (16, 8) if "layers" in name else shape for name, shape in SMALL.items()}


def state_dict(tensors: dict[str, tuple[str, tuple[int, ...]]]) -> bytes:
    """A torch file of name → (storage, shape): those of one storage are tied."""
    sizes = {key: 4 * shape[0] * shape[1] for key, shape in tensors.values()}
    return torch_zip_bytes(ordered({name: tensor(key, shape) for name, (key, shape) in tensors.items()}), sizes)


@pytest.mark.parametrize("prefix", ["module.", "module._orig_mod.", "_orig_mod."])
@pytest.mark.parametrize("pattern", ["layers.*", "**.layers.*", "embed"])
def test_a_module_is_held_against_itself_under_another_prefix(prefix, pattern):
    wrapped = {prefix + name: shape for name, shape in LARGE.items()}
    verdict = only(judged(weights(wrapped), {"modules": {pattern: {"max-growth": "5 %"}}}, weights(SMALL), strict=True))
    assert (verdict.status == "failed") is ("layers" in pattern), said(verdict)
    assert "layers.0 grew by 256 B (100.0 %)" in said(verdict) or "did not grow" in said(verdict)


def test_a_module_that_is_gone_has_nothing_to_judge():
    gone = {name: shape for name, shape in SMALL.items() if "layers" not in name}
    verdict = only(judged(weights(gone), {"modules": {"layers.*": {"max-growth": "5 %"}}}, weights(SMALL)))
    assert verdict.status == "warning"


def test_growth_does_not_depend_on_which_tied_name_comes_first():
    tied = {"embed.weight": ("0", (10, 8)), "head.weight": ("0", (10, 8))}
    old, new = state_dict(tied), state_dict(dict(reversed(tied.items())))
    for module in ("embed", "head"):
        verdict = only(judged(new, {"modules": {module: {"max-growth": 0}}}, old))
        assert (verdict.status, said(verdict)) == ("passed", "did not grow, at most 0 B")


@pytest.mark.parametrize(
    "names",
    [
        ["optimizer.state.0.exp_avg", "optimizer.state.0.exp_avg_sq", "optimizer.state.0.step"],
        ["layer.w.exp_avg", "layer.w.exp_avg_sq"],
        ["o.0.momentum_buffer"],
    ],
)
def test_optimizer_state_in_a_flat_file_is_seen(names):
    data = weights({"layer.w": (8, 8)} | dict.fromkeys(names, (8, 8)))
    verdict = only(judged(data, {"forbid-optimizer-state": True}))
    assert verdict.status == "failed"
    assert int(verdict.actual) == 256 * len(names)
    assert only(judged(data, {"max-parameters": 64})).status == "passed"


def test_optimizer_state_beside_a_model_under_any_name_is_seen():
    data = torch_zip_bytes(
        {"net": ordered({"0.weight": tensor("0", (8, 8))}), "o": {0: {"exp_avg": tensor("1", (8, 8)), "exp_avg_sq": tensor("2", (8, 8))}}},
        {"0": 256, "1": 256, "2": 256},
    )  # fmt: skip
    assert only(judged(data, {"forbid-optimizer-state": True})).status == "failed"


ENCODER = {"shared.weight": ("a", (50, 8)), "encoder.embed_tokens.weight": ("a", (50, 8))}


def test_the_tree_names_the_tensor_that_is_shared():
    """Two tied matrices of equal shape are not equal modules when they are tied to different tensors."""
    data = state_dict({**ENCODER, "decoder.embed_tokens.weight": ("b", (50, 8)), "lm_head.weight": ("b", (50, 8))})
    rows = {row.label: row.tied for row in ModuleTree(Ledger(opened(data))).rows}
    assert rows["lm_head"] == "decoder.embed_tokens.weight"
    verdict = only(judged(data, {"forbid-untied-head": True}))
    assert (verdict.status, said(verdict)) == ("passed", "lm_head and decoder.embed_tokens lie on the same storage")


def test_tied_layers_still_fold():
    data = state_dict({f"layers.{number}.{leaf}.weight": (str(number), (8, 8)) for number in range(4) for leaf in ("a", "b")})
    (row,) = ModuleTree(Ledger(opened(data))).rows
    assert (row.label, row.fold) == ("layers.0–3", 4)


def test_every_head_is_judged():
    tied = {"embed_tokens.weight": ("a", (50, 8)), "lm_head.weight": ("a", (50, 8)), "mtp_head.weight": ("b", (50, 8))}
    verdict = only(judged(state_dict(tied), {"forbid-untied-head": True}))
    assert verdict.status == "failed"
    assert said(verdict).startswith("mtp_head has a storage of its own: 400 parameters, 1.6 KiB more than tied")


def test_a_quantised_weight_is_judged_though_it_is_no_parameter():
    data = safetensors_bytes({"l.weight_int8": ("I8", (8, 8)), "l.norm": ("F32", (8,)), "steps": ("I64", (1,))})
    verdict = only(judged(data, {"allowed-dtypes": ["float32"]}))
    assert (verdict.status, said(verdict)) == ("failed", "1 tensor of int8: l.weight_int8 – allowed is float32")


@pytest.mark.parametrize(
    ("rule", "value", "close"),
    [("require-format", "safetensor", "safetensors"), ("allowed-dtypes", ["float32", "bfloat17"], "bfloat16"),
     ("allowed-dtypes", "fp17", "fp1"), ("require-format", ["torch-zip", "torchscrip"], "torchscript")],
)  # fmt: skip
def test_a_word_that_is_none_is_not_understood(rule, value, close):
    with pytest.raises(SettingsError, match=f"did you mean '{close}"):
        settings_of({rule: value}, "mscope.toml", ".")


@pytest.mark.parametrize("length", [996, 997, 998, 1_000])
def test_the_longest_pattern_that_meets_nothing(length):
    verdict = only(judged(weights(SMALL), {"modules": {"a" * length: {"max-size": 1}}}))
    assert verdict.status == "warning"


def test_numbers_in_braces_as_baselines_write_them():
    names = [f"layers.{number}.w" for number in range(6)]
    assert list(Pattern("layers.{0-2,5}").lines(names)) == ["layers.0", "layers.1", "layers.2", "layers.5"]
    assert list(Pattern("layers.{4}").lines(names)) == ["layers.4"]


@pytest.mark.parametrize("pattern", ["**.a." * 6 + "**.zz", "*" + "a*" * 30 + "b", "**." + "*a" * 20 + "b", "?" + "*a?" * 20 + "b"])
def test_a_pattern_is_quick_on_names_made_to_be_slow(pattern):
    names = [".".join("a" * 60) + str(number) for number in range(200)] + ["a" * 5_000 + str(number) for number in range(200)]
    assert Pattern(pattern).lines(names) == {}


def test_strict_can_be_taken_back_for_some_models():
    found = settings_of({"strict": True, "models": {"a.pth": {"strict": False}}}, "mscope.toml", ".")
    assert (found.for_paths(["a.pth"]).strict, found.for_paths(["b.pth"]).strict) == (False, True)
    assert Settings().over(found).strict is True


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("pattern", ["set/model.safetensors.index.json", "set/model-*.safetensors", "set", "set/model.safetensors"])
@pytest.mark.parametrize("path", ["set", "set/model.safetensors.index.json", "set/model-00001-of-00002.safetensors", None])
def test_rules_for_a_set_hold_by_whatever_name_it_is_called(here, pattern, path):
    from tests.builders.shards import sharded_folder

    (here / "set").mkdir()
    sharded_folder(here / "set")
    (here / "mscope.toml").write_text(f'[models."{pattern}"]\nmax-size = 1\n')
    if path is None and pattern.endswith("model.safetensors"):
        pytest.skip("no file is called so")
    done = mscope("check", *([path] if path else []))
    assert done.code == 1, done.err
    assert "max-size" in done.out


def test_rules_hold_through_a_linked_folder(here):
    (here / "real").mkdir()
    (here / "real" / "a.safetensors").write_bytes(weights(SMALL))
    (here / "link").symlink_to("real")
    (here / "real" / "mscope.toml").write_text('[models."a.safetensors"]\nmax-size = 1\n')
    for model in ("real", "link"):
        for config in ("real", "link"):
            assert mscope("check", f"{model}/a.safetensors", "-c", f"{config}/mscope.toml").code == 1


def test_a_pattern_that_finds_no_file_is_told(here):
    (here / "a.safetensors").write_bytes(weights(SMALL))
    (here / "mscope.toml").write_text('[models."a.*"]\nmax-size = "1 MB"\n[models."wheights/*.pth"]\nmax-size = 1\n')
    done = mscope("check")
    assert (done.code, done.err.strip()) == (0, "mscope: mscope.toml: [models.'wheights/*.pth'] finds no file")
    assert mscope("check", "--strict").code == 1


def test_one_baseline_is_not_for_several_models(here):
    for name in ("a", "b"):
        (here / f"{name}.safetensors").write_bytes(weights(SMALL))
    (here / "m.baseline.json").write_bytes(describe(opened(weights(SMALL), "m.safetensors")))
    (here / "mscope.toml").write_text('baseline = "m.baseline.json"\nmax-growth = 0\n')
    assert mscope("check", "a.safetensors").code == 0
    assert mscope("check", "a.safetensors", "b.safetensors").code == 2
    (here / "mscope.toml").write_text('max-growth = 0\n[models."?.safetensors"]\nbaseline = "m.baseline.json"\n')
    assert mscope("check", "a.safetensors", "b.safetensors").code == 0


def test_what_needs_no_baseline_is_judged_without_it(here):
    (here / "a.safetensors").write_bytes(weights(SMALL))
    done = mscope("check", "a.safetensors", "-b", "gone.json", "--max-growth", "5%", "--max-size", "1B")
    assert done.code == 1  # a rule that failed weighs more than what could not be read, which is said
    assert "gone.json" in done.err
    assert "max-size" in done.out
    assert "max-growth" not in done.out


def test_a_baseline_with_sorted_keys_and_a_mark_in_front(here):
    import json

    document = json.loads(describe(opened(weights(SMALL), "m.safetensors")))
    (here / "m.baseline.json").write_text("\ufeff" + json.dumps(document, sort_keys=True, indent=2), encoding="utf-8")
    assert mscope("diff", "m.baseline.json", "m.baseline.json", "--exit-code").code == 0


@pytest.mark.parametrize("format", ["ggufx", "\x1b[31m</script>", ""])
def test_a_baseline_of_an_unknown_format_is_refused(here, format):
    import json

    document = json.loads(describe(opened(weights(SMALL), "m.safetensors")))
    (here / "m.baseline.json").write_text(json.dumps(document | {"format": format}))
    done = mscope("check", "m.baseline.json", "--forbid-pickle")
    assert done.code == 3
    assert "\x1b" not in done.err
