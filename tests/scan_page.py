"""docs/scan.md, its table made from core/scan_codes.py.

python -m tests.scan_page > docs/scan.md
"""

from __future__ import annotations

from modelscope_cli.core.scan_codes import LEVELS, SCAN_CODES

BEFORE = """# What `mscope scan` says

A pickle is a program: loading it imports names and calls them. `mscope scan` follows every pickle it finds, in any container, without
importing or calling anything, and holds each name and call against a policy whose rows carry their reasons
(`modelscope_cli/analysis/policy_dangers.py`, `policy_harmless.py`, `policy_layers.py`).

| verdict | meaning |
| --- | --- |
| **safe** | only what torch's weights-only loader and honest files need, or nothing that loading executes |
| **unknown** | names that nobody has judged, or something that could not be looked at: named, not accused |
| **suspicious** | what no honest file needs: a scanner is being misled, or a function that can be misused |
| **dangerous** | loading the file can run what its author wanted |

A file's verdict is the gravest of its findings; of several files the gravest counts. It says what loading *can* do, not what somebody
meant. Files without a verdict ("not judged") are of kinds that are not read here; the reason stands beside them. What was not looked at
is listed, and a part that could have held a pickle makes the verdict *unknown* at least.

```sh
mscope scan model.pt                              # exit code 1 if suspicious or dangerous
mscope scan downloads/ --fail-on dangerous        # or unknown, or never
mscope scan downloads/ -f sarif -o scan.sarif     # for code scanning; -f json has every import and call
mscope check model.pt --forbid-unsafe             # the same verdict as a rule of check
```

## Your own policy

Names that you know are allowed, questioned or forbidden by a file in TOML, given with `--policy`; its rows come before ours.

```toml
[[allow]]
names = ["shop.models.Net", "shop.layers.*"]
reason = "our own classes"

[[deny]]                       # dangerous; [[suspect]] makes a name suspicious
names = ["old_library.*"]
reason = "has a loader that runs code"
```

A star stands at the end: for all of a module and below it, or for the rest of a name. `shop.layers` alone is the function of that
name, or the whole module where there is one. A name that could match nothing is an error. What only your policy makes safe is said:
`posix.system allowed by ours.toml (dangerous without it)`.

## Findings

The code stands in JSON, SARIF and Markdown. What stands behind a finding, such as a pickle in a hidden member, is judged besides.

| finding | level | what it means | what to do |
| --- | --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    ordered = sorted(SCAN_CODES.items(), key=lambda item: -LEVELS.index(item[1].level))
    rows = [f"| `{code}` | {row.level} | **{row.title}.** {row.meaning} | {row.advice} |" for code, row in ordered]
    return BEFORE + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(page(), end="")
