"""Keys of configurations behind which stands what a program imports and calls: a row each, with who does so and where that is written.

    {"steps": [{"class": "shop.Step", "config": {…}}]}              LeRobot calls shop.Step(**config)
    {"type": "pyref", "module": "shop.nets", "name": "Net"}         the module can have a key of its own

What a row names is judged as behind hydra's `_target_`, which is the first of them. Where `every` is false the key is a usual one, or a
person is asked before anything is imported: then only what a row of the policy calls harmful counts.
"""

from __future__ import annotations

from typing import NamedTuple

GLUONTS, LEROBOT, FIDDLE, DEEPPAVLOV, TORCHTUNE = "GluonTS", "LeRobot", "fiddle", "DeepPavlov", "torchtune"
OPENMMLAB, SKOPS = "OpenMMLab", "skops"


class CallingKey(NamedTuple):
    """A key that has something called. `by` tells who does it, "" is hydra and all that use it; `source` says where that is written."""

    by: str
    key: str
    source: str
    beside: str = ""  # a key that has to stand beside it
    stating: str = ""  # what has to stand behind that, "" for anything
    module: str = ""  # the key of the module, where it has one of its own
    within: str = ""  # the key of the list whose objects have it
    divided: str = "."  # what stands between a module and the name in it; without that it is no such name
    every: bool = True
    in_yaml: bool = False  # whether programs read it from YAML, too


CALLING_KEYS = (
    CallingKey("", "_target_", "hydra/_internal/instantiate/_instantiate2.py, _resolve_target", divided="", in_yaml=True),
    CallingKey(TORCHTUNE, "_component_", "torchtune 0.6 config/_instantiate.py, config/_utils.py", divided="", in_yaml=True),
    CallingKey(LEROBOT, "class", "lerobot 0.4 processor/pipeline.py, _resolve_step_class", within="steps"),
    CallingKey(GLUONTS, "class", "gluonts 0.16 core/serde/_base.py, decode (0.17 asks more)", beside="__kind__", divided=""),
    CallingKey(
        FIDDLE,
        "name",
        "fiddle 0.3 _src/experimental/serialization.py, import_symbol; nemo/lightning/io/mixin.py, load",
        beside="type",
        stating="pyref",
        module="module",
    ),
    CallingKey(DEEPPAVLOV, "class_name", "deeppavlov/core/common/registry.py, cls_from_str", divided=":"),
    CallingKey(
        SKOPS, "__class__", "skops 0.11 io/_general.py, io/_utils.py", beside="__loader__", module="__module__", every=False
    ),
    CallingKey(
        OPENMMLAB,
        "type",
        "mmengine 0.10 registry/registry.py, get; registry/build_functions.py, build_from_cfg",
        every=False,
        in_yaml=True,
    ),
)
