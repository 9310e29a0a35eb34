"""docs/scan.md, its tables made from core/scan_codes.py and analysis/policy_operators.py.

python -m tests.scan_page > docs/scan.md
"""

from __future__ import annotations

from modelscope_cli.analysis.policy_operators import ANY, OPERATOR_ROWS
from modelscope_cli.core.scan_codes import LEVELS, SCAN_CODES

BEFORE = """# What `mscope scan` says

A pickle is a program: loading it imports names and calls them. `mscope scan` follows every pickle it finds, in any container, without
importing or calling anything, and holds each name and call against a policy whose rows carry their reasons
(`modelscope_cli/analysis/policy_dangers.py`, `policy_harmless.py`, `policy_layers.py`; for Keras `policy_keras.py`,
`policy_tensorflow.py`). A graph is a program, too: of ONNX, TensorFlow, TensorFlow Lite and Core ML models the operators are judged
(`policy_operators.py`), and where their data should lie.

| verdict | meaning |
| --- | --- |
| **safe** | only what torch's weights-only loader and honest files need, or nothing that loading executes |
| **unknown** | names that nobody has judged, or something that could not be looked at: named, not accused |
| **suspicious** | what no honest file needs: a scanner is being misled, or a function that can be misused |
| **dangerous** | loading the file, or rendering its chat template or running its graph, can do what its author wanted; the verdict says which |

A file's verdict is the gravest of its findings; of several files the gravest counts. It says what loading *can* do, not what somebody
meant. Files without a verdict ("not judged") are of kinds that are not read here; the reason stands beside them. What was not looked at
is listed, and a part that could have held a pickle makes the verdict *unknown* at least. Every finding and every name stands with its
place: the member of the archive (`models/inner.zip/archive/data.pkl`; what a compressed file holds is called `unpacked`) and the byte
in it. Of a folder the findings of each file are shown, of many files the gravest of each; `mscope scan FILE` and `-f json` have the rest.

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
`posix.system allowed by ours.toml (dangerous without it)`; in SARIF it is a suppressed result with the reason of the row. Operators
are named by their library, as a scan names them: `tensorflow.ReadFile`, `com.example.Pool`, `tflite.custom.Pool`.

`[scan]` in `mscope.toml` names such a file (`policy`) and a level (`fail-on`); [docs/ci.md](ci.md) has the rules. From a settings
file that `--config` names all of it counts. From one that was only found upwards what makes verdicts stricter counts, and nothing
that makes them milder: the file may have come with the model. What did not count is said on stderr. `--no-config` looks for none.

## Exit codes and outputs

0: no verdict at or above `--fail-on`, and all that is judged could be looked at. Of a folder, what is left out (a repository's own
files, links to folders) and files of kinds that are not judged are listed and change nothing. 1: a verdict at or above `--fail-on`,
whatever else could not be read or written. 2: wrong usage; nothing was scanned or written. 3: no verdict was that grave, and something
could not be read, or not to its end, an output could not be written, or a file that was itself named is of a kind that is not judged.

`-o` into a folder that is scanned takes a new name, or JSON, SARIF and JUnit that `mscope` wrote before (known by their content; they are
replaced, not scanned, and that is said). Any other file that is there, and any link in the folder, is refused before anything is read.
A path may lead into an archive, as everywhere: `mscope scan 'backup.tar.gz!/models/inner.zip'`.

## Findings

The code stands in JSON, SARIF and Markdown. What stands behind a finding, such as a pickle in a hidden member, is judged besides.

| finding | level | what it means | what to do |
| --- | --- | --- | --- |
"""


OPERATORS = """
## Operators

What an operator reaches for when the model runs; a SavedModel runs some of its own while it is loaded. Those of TensorFlow count in
TensorFlow Lite as well, where they are called `Flex…`. The others of these libraries, and of ONNX and `com.microsoft`, are taken to
compute from their inputs alone. Of any other library an operator is *unknown*: the program that loads the model has to bring it.

| library | operators | level | why |
| --- | --- | --- | --- |
"""


def operators() -> str:
    """The rows of operators, the gravest first."""
    ordered = sorted(OPERATOR_ROWS, key=lambda row: -LEVELS.index(row.level))
    rows = []
    for row in ordered:
        names = ", ".join(f"`{name}`" for name in row.names.split())
        only = f", where its attribute is like `{row.attribute.replace('|', chr(92) + '|')}`" if row.attribute else ""
        rows.append(f"| {'any of ONNX' if row.library == ANY else row.library} | {names}{only} | {row.level} | {row.reason} |")
    return OPERATORS + "\n".join(rows) + "\n"


def page() -> str:
    """The whole page."""
    ordered = sorted(SCAN_CODES.items(), key=lambda item: -LEVELS.index(item[1].level))
    rows = [f"| `{code}` | {row.level} | **{row.title}.** {row.meaning} | {row.advice} |" for code, row in ordered]
    return BEFORE + "\n".join(rows) + "\n" + operators()


if __name__ == "__main__":
    print(page(), end="")
