"""The key `target` beside `params`, by which programs of latent diffusion call what a configuration names.

Each text that counts was read by PyYAML 6.0.3: a mapping in it has subprocess.Popen as its `target`, and `params`, or lies below one.
"""

from __future__ import annotations

import json
from time import process_time

import pytest

from tests.builders.archives import tarred, zipped
from tests.builders.samples import SAMPLES
from tests.scanned import codes, scanned

POPEN = "subprocess.Popen"
CALLING = {
    "lines": f"model:\n  target: {POPEN}\n  params:\n    args: [touch, x]\n",
    "the other way round": f"a:\n  params:\n    b: 1\n    c:\n      - 2\n\n  # x\n  target: '{POPEN}'  # y\n",
    "an item of a list": f"a:\n- target: {POPEN}\n  params: {{}}\n- x: 1\n",
    "behind two dashes": f"- - target: {POPEN}\n    params: {{}}\n",
    "braces": f"a: {{target: {POPEN}, params: {{args: [x]}}}}\n",
    "braces over lines": f"a: {{\n  target: {POPEN},\n      params: {{args: [x]}}}}\n",
    "last in braces": f"a: {{params: {{args: [x]}},\n  target: {POPEN}\n}}\n",
    "a merge key": f"b: &b\n  params: {{args: [x]}}\nmodel:\n  <<: *b\n  target: {POPEN}\n",
    "explicit keys": f"? target\n: {POPEN}\n? params\n: {{}}\n",
    "one explicit key": f"a:\n  target: {POPEN}\n  ? params\n  : {{}}\n",
    "an alias": f"x: &x {POPEN}\nm:\n  target: *x\n  params: {{}}\n",
    "a block": f"m:\n  target: >-\n    {POPEN}\n  params: {{}}\n",
    "an escape in the key": f'"t\\x61rget": {POPEN}\nparams: {{}}\n',
    "an escape in the other key": f'target: {POPEN}\n"p\\x61rams": {{}}\n',
    "an interpolation": "x: subprocess\nm:\n  target: ${x}.Popen\n  params: {}\n",
    "a tag at the key": f"m:\n  target: {POPEN}\n  !!str params: {{args: [x]}}\n",
    "an anchor at the key": f"m:\n  target: {POPEN}\n  &k params: {{args: [x]}}\n",
    "an alias for the key": f"name: &k params\nm:\n  target: {POPEN}\n  *k : {{args: [x]}}\n",
    "a text over lines between them": f'm:\n  target: {POPEN}\n  note: "abc\nx: y"\n  params: {{args: [x]}}\n',
    "the same in single quotes": f"m:\n  target: {POPEN}\n  note: 'it''s\nx: y'\n  params: {{args: [x]}}\n",
    "the same as an item": f"m:\n- note: 'a\n x: y'\n  target: {POPEN}\n  params: {{args: [x]}}\n",
    "a list over lines between them": f"m:\n  target: {POPEN}\n  sizes: [1,\n2]\n  params: {{args: [x]}}\n",
    "brackets that a quote seems to close": f"m:\n  target: {POPEN}\n  sizes: [1, ']',\n2]\n  params: {{args: [x]}}\n",
    "without params, below others": f"m:\n  target: a.B\n  params:\n    c:\n      target: {POPEN}\n",
}
OTHERS = {
    "no params": "target: shop.Model\n",
    "params elsewhere": "params:\n  lr: 0.1\nmetric:\n  target: test.loss\n  mode: min\n",
    "params of another item": "params:\n  lr: 0.1\nedges:\n- source: a.b\n  target: test.loss\n- params: 1\n",
    "hyperparams": "hyperparams: 1\nx: {target: test.loss}\n",
    "a metric that begins like a module": "search:\n  target: test.accuracy\n  direction: maximize\n  params: {lr: [1.0e-5, 1.0e-3]}\n",
    "a feature that does": "- name: x\n  target: signal.amplitude\n  params:\n    window: 5\n",
    "an action that does": "calls:\n- {target: email.send, params: {to: x}}\n",
    "params elsewhere, between plain values": (
        "params:\n  lr: [0.1, 1]\n  opt: {a: 'b', c: \"d\"}\n  note: it's\n  n: -1 # x\n"
        + "---\nmetric:\n  - target: val.loss\n    mode: \"min\"\n    old: &a 1\n    new: *a\n"
    ),
    "a word": "stage:\n  target: test_set\n  params:\n    a: 1\n",
    "other keys": "targets: test.loss\n_target: test.loss\nparams: 1\n",
    "a comment": "# target: os.system\nparams: 1\n",
}
HONEST = """model:
  base_learning_rate: 1.0e-04
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    linear_start: 0.00085
    cond_stage_config: {target: sgm.modules.GeneralConditioner}
    first_stage_config:
      target: taming.models.vqgan.VQModel
      params:
        lossconfig:
          target: torch.nn.Identity
data:
  target: main.DataModuleFromConfig
  params:
    train:
      target: torch.utils.data.DataLoader
      params:
        transforms:
        - target: torchvision.transforms.Resize
          params: {size: 256}
        - target: torchvision.transforms.ToTensor
lightning:
  strategy:
    target: pytorch_lightning.strategies.DDPStrategy
"""


@pytest.mark.parametrize("text", CALLING.values(), ids=CALLING)
def test_a_target_beside_params_is_called(text):
    safety = scanned(text.encode(), "model.yaml")
    assert (safety.verdict, "dangerous-target" in codes(safety)) == ("dangerous", True)
    for pack in (zipped, tarred):
        assert scanned(pack({"m/model.yaml": text.encode(), "m/a.pt": SAMPLES["state_dict.pt"]}), "m.zip").verdict == "dangerous"


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_other_targets_are_nothing(text):
    safety = scanned(text.encode(), "model.yaml")
    assert (safety.verdict, codes(safety)) == (None, set())


def test_honest_configurations_name_what_nobody_has_judged():
    (found,) = scanned(HONEST.encode(), "model.yaml").found
    assert found.code == "unjudged-target"
    assert "ldm.models.diffusion.ddpm.LatentDiffusion, sgm.modules.GeneralConditioner" in str(found.message)


@pytest.mark.parametrize(
    ("document", "verdict"),
    [
        ({"model": {"target": POPEN, "params": {"args": ["x"]}}}, "dangerous"),
        ({"a": {"target": "ldm.A", "params": {"b": {"target": POPEN}}}}, "dangerous"),
        ({"a": {"target": "ldm.A", "params": {}}}, "unknown"),
        ({"nodes": [{"target": "torch.ops.aten.add.Tensor", "inputs": []}], "params": {}}, None),
        ({"vocab": {"target": 1, "params": 2}}, None),
        ({"a": {"target": "os", "params": {}}}, None),
        ({"name": "x", "target": "signal.amplitude", "params": {"window": 5}}, None),
        ([{"target": "email.send", "params": {}}, {"target": "calendar.create_event", "params": {}}], None),
        ({"target": "calendar.month", "params": {}}, "suspicious"),
    ],
)
@pytest.mark.parametrize("blanks", [0, 9 << 20])
def test_the_same_in_json(document, verdict, blanks):
    assert scanned(json.dumps(document).encode() + b" " * blanks, "config.json").verdict == verdict


@pytest.mark.parametrize(
    "text",
    [
        "target: a.b\nparams: {}\n" * 200_000,
        "{target: a.b, params: {}}, " * 150_000,
        "".join(f"{' ' * depth}target: a.b\n{' ' * depth}params:\n" for depth in range(2_000)),
        "params:\n" + ("target:" + " " * 1_000) * 4_000,
        "target: a.b" + "\n" * 4_000_000 + "params:\n",
    ],
)
def test_long_texts_are_searched_in_time(text):
    start = process_time()
    scanned(text.encode(), "model.yaml")
    assert process_time() - start < 8
