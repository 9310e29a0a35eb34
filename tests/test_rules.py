"""Every rule: what passes, what fails and in which words, and when there is nothing to judge.

CASES is a table of rows (rule, data, table of rules, verdict, words of the message). Whoever adds a rule adds its rows.
"""

from __future__ import annotations

import importlib

import pytest

from modelscope_cli.checks.registry import NAMES, RULES, rule_named
from modelscope_cli.checks.rule import judge
from modelscope_cli.checks.settings import demand
from modelscope_cli.report.document import Bytes, Count, Ratio, ThousandBytes
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.builders.torch_code import ordered, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.judged import judged, only, said, subject, weights
from tests.snapshots.checkpoints import CHECKPOINTS

SHAPES = {"embed.weight": (10, 4), "layers.0.weight": (4, 4), "layers.1.weight": (4, 8), "head.weight": (10, 4)}
PLAIN = weights(SHAPES, metadata={"format": "pt", "training.step": "7"})  # 512 bytes of tensors, 128 parameters
SIZE = len(PLAIN)
OLD = weights(
    {"embed.weight": (10, 4), "layers.0.weight": (4, 4), "layers.1.weight": (4, 4)},
    metadata={"format": "pt", "training.step": "7"},
)
EMPTY = weights({})
MIXED = safetensors_bytes(
    {"a.weight": ("F16", (4, 4)), "a.bias": ("F16", (4,)), "b.weight": ("F32", (4, 4)), "b.steps": ("I64", (3,))}
)
BUFFERS = torch_zip_bytes(
    ordered({"norm.weight": tensor("0", (4,)), "norm.num_batches_tracked": tensor("1", (), "LongStorage")}), {"0": 16, "1": 8}
)
MANY = safetensors_bytes({f"layers.{n}.weight": ("F16", (2, 2)) for n in range(9)})
TIED, UNTIED = "gpt2", "decoder"

PASSED, FAILED, NOTHING = "passed", "failed", "warning"
CASES = [
    ("max-size", PLAIN, {"max-size": SIZE}, PASSED, f"{SIZE} B of at most {SIZE} B"),
    ("max-size", PLAIN, {"max-size": SIZE - 1}, FAILED, f"{SIZE} B, 1 B above {SIZE - 1} B; the largest are layers 192 B, embed 160 B, head 160 B"),
    ("max-size", EMPTY, {"max-size": 0}, FAILED, "16 B, 16 B above 0 B; it holds no tensors"),
    ("max-size", PLAIN, {"modules": {"layers.1": {"max-size": 128}}}, PASSED, "128 B, at most 128 B"),
    ("max-size", PLAIN, {"modules": {"lay*.1": {"max-size": 128}}}, PASSED, "128 B in layers.1, at most 128 B"),
    ("max-size", PLAIN, {"modules": {"layers.*": {"max-size": 128}}}, PASSED, "128 B in the largest of 2 modules, layers.1, at most 128 B"),
    ("max-size", PLAIN, {"modules": {"layers.*": {"max-size": 100}}}, FAILED, "layers.1 has 128 B, 28 B above 100 B"),
    ("max-size", PLAIN, {"modules": {"layers.*": {"max-size": 10}}}, FAILED, "layers.1 has 128 B, 118 B above 10 B; 1 more module above it"),
    ("max-size", PLAIN, {"modules": {"*": {"max-size": 1}}}, FAILED, "layers has 192 B, 191 B above 1 B; 2 more modules above it"),
    ("max-size", PLAIN, {"modules": {"layer.1": {"max-size": 1}}}, NOTHING, "no module matches 'layer.1' - did you mean 'layers.1'?"),
    ("max-parameters", PLAIN, {"max-parameters": 128}, PASSED, "128 parameters of at most 128"),
    ("max-parameters", PLAIN, {"max-parameters": "0.1 k"}, FAILED, "128 parameters, 28 above 100; the largest are layers 48, embed 40, head 40 parameters"),
    ("max-parameters", PLAIN, {"modules": {"layers.*": {"max-parameters": 16}}}, FAILED, "layers.1 has 32 parameters, 16 above 16"),
    ("max-parameters", PLAIN, {"modules": {"x": {"max-parameters": 1}}}, NOTHING, "no module matches 'x' - at the top are embed, head, layers"),
    ("max-parameters", BUFFERS, {"max-parameters": 4}, PASSED, "4 parameters of at most 4"),
    ("max-parameters", SAMPLES["state_dict.pt"], {"max-parameters": 56}, PASSED, "56 parameters of at most 56"),  # the head is the embedding
    ("max-share", PLAIN, {"max-share": 0.3125}, PASSED, "31.2 % of the parameters (40 of 128) in the largest of 4 modules, embed, at most 31.2 %"),
    ("max-share", PLAIN, {"max-share": "31 %"}, FAILED,
     "embed has 31.2 % of the parameters (40 of 128), 0.3 points above 31.0 %, and 1 more module above the limit"),
    ("max-share", PLAIN, {"modules": {"layers": {"max-share": "37.5 %"}}}, PASSED, "37.5 % of the parameters (48 of 128), at most 37.5 %"),
    ("max-share", PLAIN, {"modules": {"layers": {"max-share": "37 %"}}}, FAILED, "layers has 37.5 % of the parameters (48 of 128), 0.5 points above 37.0 %"),
    ("max-share", PLAIN, {"modules": {"lay*": {"max-share": 1}}}, PASSED, "37.5 % of the parameters (48 of 128) in layers, at most 100.0 %"),
    ("max-share", PLAIN, {"modules": {"hed": {"max-share": 1}}}, NOTHING, "no module matches 'hed' - did you mean 'head'?"),
    ("max-share", EMPTY, {"max-share": 0}, NOTHING, "there are no parameters"),
    ("max-growth", (PLAIN, OLD), {"max-growth": "1 kB"}, PASSED, "grew by 304 B (50.7 %), at most 1.0 kB"),
    ("max-growth", (PLAIN, OLD), {"max-growth": SIZE - len(OLD) - 1}, FAILED, "; most of it is head (new) +160 B, layers.1.weight +64 B"),
    ("max-growth", (PLAIN, OLD), {"modules": {"layers.*": {"max-growth": "5 %"}}}, FAILED,
     "layers.1 grew by 64 B (100.0 %): 64 B → 128 B, at most 5.0 %; most of it is layers.1.weight +64 B"),
    ("max-growth", (PLAIN, OLD), {"modules": {"layers.*": {"max-growth": "100 %"}}}, PASSED, "layers.1 grew by 64 B (100.0 %), at most 100.0 %"),
    ("max-growth", (PLAIN, OLD), {"modules": {"layers.1": {"max-growth": "64 B"}}}, PASSED, "grew by 64 B (100.0 %), at most 64 B"),
    ("max-growth", (PLAIN, OLD), {"modules": {"head": {"max-growth": "1000 %"}}}, FAILED, "grew by 160 B, new since the baseline, at most 1,000.0 %"),
    ("max-growth", (PLAIN, OLD), {"modules": {"*.*": {"max-growth": "10 %"}}}, FAILED,
     "head.weight grew by 160 B, new since the baseline, at most 10.0 %; 1 more module above the limit"),
    ("max-growth", (PLAIN, OLD), {"modules": {"hed": {"max-growth": "1 %"}}}, NOTHING, "no module matches 'hed' - did you mean 'head'?"),
    ("max-growth", (PLAIN, PLAIN), {"max-growth": 0}, PASSED, "did not grow, at most 0 B"),
    ("max-growth", (OLD, PLAIN), {"modules": {"layers": {"max-growth": 0}}}, PASSED, "shrank by 64 B (33.3 %), at most 0 B"),
    ("max-growth", (OLD, PLAIN), {"modules": {"head": {"max-growth": 0}}}, NOTHING, "no module matches 'head' - at the top are embed, layers"),
    ("max-parameter-growth", (PLAIN, OLD), {"max-parameter-growth": 56}, PASSED, "grew by 56 parameters (77.8 %), at most 56"),
    ("max-parameter-growth", (PLAIN, OLD), {"max-parameter-growth": "5 %"}, FAILED,
     "grew by 56 parameters (77.8 %): 72 → 128, at most 5.0 %; most of it is head (new) +40, layers.1.weight +16 parameters"),
    ("max-parameter-growth", (PLAIN, OLD), {"modules": {"nothing": {"max-parameter-growth": 1}}}, NOTHING, "no module matches 'nothing'"),
    # a module without parameters, first in the file, does not hide the one that grew
    ("max-parameter-growth", (weights({"a": (0,), "b": (3,)}), weights({"a": (0,), "b": (2,)})), {"modules": {"*": {"max-parameter-growth": "1 %"}}}, FAILED,
     "b grew by 1 parameters (50.0 %)"),
    ("allowed-dtypes", PLAIN, {"allowed-dtypes": ["float32"]}, PASSED, "all parameters are float32"),
    ("allowed-dtypes", PLAIN, {"allowed-dtypes": "bf16,FP32"}, PASSED, "all parameters are float32"),
    ("allowed-dtypes", MIXED, {"allowed-dtypes": ["F16", "float32"]}, PASSED, "all parameters are float16 or float32"),
    ("allowed-dtypes", MIXED, {"allowed-dtypes": "half"}, FAILED, "1 tensor of float32: b.weight – allowed is float16"),
    ("allowed-dtypes", MANY, {"allowed-dtypes": ["float32", "int8"]}, FAILED,
     "9 tensors of float16: layers.0.weight, layers.1.weight, layers.2.weight, layers.3.weight, … – allowed are float32, int8"),
    ("allowed-dtypes", MIXED, {"allowed-dtypes": ["float64", "i8"]}, FAILED,
     "2 tensors of float16: a.weight, a.bias; 1 tensor of float32: b.weight – allowed are float64, int8"),
    ("allowed-dtypes", MIXED, {"modules": {"a": {"allowed-dtypes": "float16"}}}, PASSED, "all parameters are float16"),
    ("allowed-dtypes", MIXED, {"modules": {"b": {"allowed-dtypes": "float16"}}}, FAILED, "1 tensor of float32: b.weight – allowed is float16"),
    ("allowed-dtypes", MIXED, {"modules": {"bb": {"allowed-dtypes": "float16"}}}, NOTHING, "no module matches 'bb'"),
    ("allowed-dtypes", BUFFERS, {"allowed-dtypes": "float32"}, PASSED, "all parameters are float32"),  # a counter may be int64
    ("allowed-dtypes", EMPTY, {"allowed-dtypes": "float32"}, NOTHING, "there are no parameters"),
    ("require-format", PLAIN, {"require-format": "safetensors"}, PASSED, "it is safetensors"),
    ("require-format", SAMPLES["state_dict.pt"], {"require-format": ["safetensors", "PyTorch"]}, PASSED, "it is torch-zip"),
    ("require-format", SAMPLES["legacy.pth"], {"require-format": "pytorch"}, PASSED, "it is torch-legacy"),
    ("require-format", SAMPLES["state_dict.pt"], {"require-format": "safetensors"}, FAILED,
     "it is torch-zip, not safetensors - safetensors.torch.save_file(state_dict, path) writes it"),
    ("require-format", PLAIN, {"require-format": ["pytorch", "pickle"]}, FAILED, "it is safetensors, not torch-zip or torch-legacy or pickle"),
    ("require-metadata", PLAIN, {"require-metadata": ["format", "training.step"]}, PASSED, "format = pt, training.step = 7"),
    ("require-metadata", PLAIN, {"require-metadata": ["training"]}, FAILED, "missing: training - it has format, training.step"),
    ("require-metadata", PLAIN, {"require-metadata": "format,license,author"}, FAILED, "missing: license, author - it has format, training.step"),
    ("require-metadata", EMPTY, {"require-metadata": "format"}, FAILED, "missing: format - the file has no metadata"),
    ("require-metadata", weights({}, metadata={f"k{n}": "v" * 200 for n in range(10)}), {"require-metadata": [f"k{n}" for n in range(6)]}, PASSED, "v, …"),
    ("forbid-pickle", PLAIN, {"forbid-pickle": True}, PASSED, "it is safetensors: nothing to unpickle"),
    ("forbid-pickle", SAMPLES["state_dict.pt"], {"forbid-pickle": True}, FAILED,
     "it is torch-zip, which is unpickled when it is loaded - save it as safetensors"),
    ("forbid-pickle", SAMPLES["bare.pkl"], {"forbid-pickle": True}, FAILED, "which is unpickled when it is loaded"),
    ("forbid-unsafe", PLAIN, {"forbid-unsafe": True}, FAILED, "nothing was scanned - check the model itself"),
    ("forbid-optimizer-state", PLAIN, {"forbid-optimizer-state": True}, PASSED, "there is none"),
    ("forbid-optimizer-state", "training", {"forbid-optimizer-state": True}, FAILED,
     "optimizer holds Adam or AdamW state (step, exp_avg, exp_avg_sq): 3.8 KiB in 21 tensors, 20.2 % of the file - save model.state_dict() by itself"),
    ("forbid-waste", PLAIN, {"forbid-waste": True}, PASSED, "every byte of every storage is used"),
    ("forbid-waste", "wasteful", {"forbid-waste": True}, FAILED,
     "15.5 KiB of storage belong to no tensor, behind slice.weight, every_other (92.3 % of the file) - a tensor that is a view drags its"),
    ("forbid-waste", torch_zip_bytes({"w": tensor("0", (2,))}, {"0": 8, "orphan": 800}), {"forbid-waste": True}, FAILED,
     "800 B of storage belong to no tensor"),
    ("forbid-untied-head", TIED, {"forbid-untied-head": True}, PASSED, "out_head and tok_emb lie on the same storage"),
    ("forbid-untied-head", UNTIED, {"forbid-untied-head": True}, FAILED,
     "fc has a storage of its own: 400 parameters, 1.6 KiB more than tied - tie it again before saving: fc.weight = embedding.weight"),
    ("forbid-untied-head", weights({"a": (3,)}), {"forbid-untied-head": True}, NOTHING, "no token embedding with an output head was found"),
]  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The checkpoints that are named in CASES."""
    folder = tmp_path_factory.mktemp("rules")
    return {name: (folder / CHECKPOINTS[name](folder)).read_bytes() for name in ("training", "wasteful", TIED, UNTIED)}


@pytest.mark.parametrize(
    ("rule", "data", "table", "status", "message"), CASES, ids=[f"{n} {case[0]} {case[3]}" for n, case in enumerate(CASES)]
)
def test_a_rule(files, rule, data, table, status, message):
    new, old = data if isinstance(data, tuple) else (data, None)
    result = judged(files.get(new, new), table, old)
    verdict = only(result)
    assert (verdict.rule, verdict.status) == (rule, status), said(verdict)
    assert message in said(verdict)
    assert bool(result) is result.passed is (status != FAILED)
    assert (verdict.actual is None) is (status == NOTHING) or rule == "require-metadata"
    assert verdict.target == (next(iter(table["modules"])) if "modules" in table else "")


def test_every_rule_has_its_tests():
    """A row of the registry without a pass and a fail here is a rule that nobody has seen work."""
    files_needed = {"forbid-unsafe"}  # passes in tests/test_safety_rule.py
    assert {case[0] for case in CASES if case[3] == PASSED} == set(NAMES) - files_needed
    assert {case[0] for case in CASES if case[3] == FAILED} == set(NAMES)
    of_modules = {case[0] for case in CASES if "modules" in case[2] and case[3] == NOTHING}
    assert of_modules == {rule.name for rule in RULES if "a module" in rule.scopes}


def test_every_rule_is_found_and_named_once():
    assert len(set(NAMES)) == len(RULES)
    for rule in RULES:
        module, _, function = rule.judge.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
        assert rule_named(rule.name) is rule
        assert rule.summary
        assert rule.example
    assert rule_named("no-such-rule") is None


@pytest.mark.parametrize(("limit", "kind"), [("0.5 kB", ThousandBytes), ("500 B", Bytes), (500, Bytes), ("0.5 KiB", Bytes)])
def test_what_was_asked_in_thousands_is_answered_in_thousands(limit, kind):
    large = weights({"w": (4000,)})
    verdict = only(judged(large, {"max-size": limit}))
    assert type(verdict.actual) is kind
    assert ("kB" in said(verdict)) is (kind is ThousandBytes)
    assert ("KiB" in said(verdict)) is (kind is not ThousandBytes)
    grown = only(judged(large, {"max-growth": limit}, EMPTY))
    assert ("KiB" in said(grown)) is (kind is not ThousandBytes)
    inside = only(judged(large, {"modules": {"w": {"max-size": limit}}}))
    assert ("KiB" in said(inside)) is (kind is not ThousandBytes)
    assert type(only(judged(PLAIN, {"max-size": SIZE})).actual) is Bytes


def test_limits_and_figures_are_typed_cells():
    kinds = {"max-parameters": ("1 k", Count), "max-share": ("100 %", Ratio), "max-size": (10_000, Bytes)}
    for name, (limit, kind) in kinds.items():
        verdict = only(judged(PLAIN, {name: limit}))
        assert type(verdict.limit) is kind
        assert type(verdict.actual) is kind


def test_growth_in_per_cent_is_a_ratio_and_in_bytes_bytes():
    assert type(only(judged(PLAIN, {"max-growth": "5 %"}, OLD)).actual) is Ratio
    assert type(only(judged(PLAIN, {"max-growth": "5 B"}, OLD)).actual) is Bytes
    assert only(judged(PLAIN, {"max-growth": "5 B"}, OLD)).actual == SIZE - len(OLD)
    assert only(judged(PLAIN, {"max-parameter-growth": 5}, OLD)).actual == Count(56)


def test_a_limit_that_is_met_exactly_is_kept():
    for name, exact in {"max-size": SIZE, "max-parameters": 128, "max-share": 40 / 128}.items():
        assert judged(PLAIN, {name: exact}).passed
        assert not judged(PLAIN, {name: exact - (1 if exact > 1 else 1e-9)}).passed
    tenth = weights({"a": (7,), "b": (993,)})
    assert judged(tenth, {"modules": {"a": {"max-share": "0.7 %"}}}).passed


def test_the_verdicts_together():
    table = {"max-size": 1, "max-parameters": 128, "modules": {"x": {"max-size": 1}}}
    result = judged(PLAIN, table)
    assert [verdict.status for verdict in result.verdicts] == [FAILED, PASSED, NOTHING]
    assert result.summary == "1 of 3 rules failed, 1 met nothing to judge"
    assert [verdict.rule for verdict in result.failed] == ["max-size"]
    assert judged(PLAIN, {"max-size": SIZE}).summary == "1 rule passed"
    assert judged(PLAIN, {"max-size": 1}).summary == "1 of 1 rule failed"
    assert judged(PLAIN, {"max-size": SIZE, "max-parameters": 128}).summary == "2 rules passed"
    assert (
        judged(PLAIN, {"max-size": SIZE, "modules": {"x": {"max-size": 1}}}).summary
        == "1 of 2 rules passed, 1 met nothing to judge"
    )


def test_strictly_a_rule_that_meets_nothing_fails():
    table = {"modules": {"x": {"max-size": 1}}}
    assert judged(PLAIN, table)
    strict = judged(PLAIN, table, strict=True)
    assert not strict
    assert only(strict).status == FAILED
    assert "no module matches 'x'" in said(only(strict))
    assert judged(PLAIN, {"max-size": SIZE}, strict=True)


def test_a_rule_about_growth_without_a_baseline_is_never_a_pass():
    for rule in (rule for rule in RULES if rule.needs_baseline):
        assert judge(subject(PLAIN, PLAIN), demand(rule, "0 %", None, "")).status == PASSED
        with pytest.raises(ValueError, match="there is no baseline"):
            judge(subject(PLAIN), demand(rule, "0 %", None, ""))
