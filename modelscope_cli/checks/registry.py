"""The rules of `mscope check`: one row each. A later analysis adds its rule here and nowhere else.

The flags of the command, the keys of mscope.toml, `--list-rules` and the Python call are all made from this table.
"""

from __future__ import annotations

from modelscope_cli.checks import quantities as q
from modelscope_cli.checks import vocabulary as v
from modelscope_cli.checks.rule import MODULE, WHOLE, Rule

SIZES, CONTENTS, SAFETY = (f"modelscope_cli.checks.{name}" for name in ("sizes", "contents", "safety"))
BOTH = (WHOLE, MODULE)

RULES = (
    Rule("max-size", q.size, BOTH, "at most so many bytes: of all files, or in each such module", '"500 MB"', f"{SIZES}:max_size"),
    Rule("max-parameters", q.count, BOTH, "at most so many parameters, tied ones counted once", '"7 B"', f"{SIZES}:max_parameters"),
    Rule("max-share", q.share, BOTH, "at most this part of the parameters in any one module", '"45 %"', f"{SIZES}:max_share"),
    Rule("max-growth", q.growth, BOTH, "at most so much bigger than the baseline, in bytes or per cent", '"5 %"', f"{SIZES}:max_growth", True),
    Rule("max-parameter-growth", q.count_growth, BOTH, "at most so many more parameters than the baseline", '"1 M"', f"{SIZES}:max_parameter_growth", True),
    Rule("allowed-dtypes", v.dtypes, BOTH, "parameters in no other dtypes than these", '["float32", "bfloat16"]', f"{CONTENTS}:allowed_dtypes", several=True),
    Rule("require-format", v.formats, (WHOLE,), "the file is of one of these formats", '"safetensors"', f"{CONTENTS}:require_format", several=True),
    Rule("require-metadata", q.words, (WHOLE,), "these metadata keys are there", '["format"]', f"{CONTENTS}:require_metadata", several=True),
    Rule("forbid-pickle", q.switch, (WHOLE,), "no pickle, which loading would execute", "true", f"{CONTENTS}:forbid_pickle"),
    Rule("forbid-unsafe", q.switch, (WHOLE,), "nothing suspicious or dangerous, as mscope scan judges", "true", f"{SAFETY}:forbid_unsafe"),
    Rule("forbid-optimizer-state", q.switch, (WHOLE,), "no optimizer state in the file", "true", f"{CONTENTS}:forbid_optimizer_state"),
    Rule("forbid-waste", q.switch, (WHOLE,), "no bytes of storage that no tensor uses", "true", f"{CONTENTS}:forbid_waste"),
    Rule("forbid-untied-head", q.switch, (WHOLE,), "the output head is the token embedding again", "true", f"{CONTENTS}:forbid_untied_head", wanted="tied"),
)  # fmt: skip
NAMES = tuple(rule.name for rule in RULES)


def rule_named(name: str) -> Rule | None:
    return next((rule for rule in RULES if rule.name == name), None)
