"""docs/limits.md, made from core/limits.py.

python -m tests.limits_page > docs/limits.md
"""

from __future__ import annotations

from modelscope_cli.analysis.levels import MOST_MODULES
from modelscope_cli.analysis.size_table import MOST_LINES
from modelscope_cli.core.limits import explained

BEFORE = """# Limits

Every length in a file is a claim, and a file of a kilobyte can claim a terabyte. `mscope` believes claims up to limits, which are the
same for every command. At the defaults every file ends within 10 seconds and 512 MiB of memory, whatever the command: with a result, or
with a line that names the limit, what it is and what the file has, and exit code 3:

    mscope: model.safetensors: tensors: 500,000 found, the limit is 300,000 - if you trust the file, raise it with --limit tensors=VALUE

`--limit NAME=VALUE` changes one, for every command that reads files; it can be given again for another. `mscope inspect --limit help`
prints this list. One kind of file still gets past them: what is small because it says something long once and refers to it many
thousand times (a text, a shape, a prefix of names) can take more memory or time, where a copy is made for each.
The 90,427 tensors of DeepSeek-V3 in 158 files are well within the defaults.

| limit | default | what it is of |
| --- | --- | --- |
"""

AFTER = f"""
`seconds` are those of the processor, so that a slow disk or network costs none of them, and each file of a set has them anew. It is a
net below the others, which keep the time short by themselves on a machine of today: a slower one may need `--limit seconds=60` for
the largest models. It holds for finding a model behind a path, for reading it, and for showing it, each by itself; pictures that other
programs draw are not timed. How much there is to show is bounded by `tensors`, and by how many modules are told apart:
where a file names more than {MOST_MODULES:,} that are not in equal layers, only its upper levels are, and the table says so. People are shown
{MOST_LINES:,} rows at most; `-f json` and `-f csv` have them all. Where a system has no timer for it (Windows), the clock is looked at between
the files of a set, and when a file has been read.

In Python they are `modelscope_cli.Limits`, and `modelscope_cli.read(path, limits=...)` takes one; only the command watches `seconds`.
"""


def page() -> str:
    """The whole page."""
    rows = [f"| `{name}` | {default:,} | {meaning} |" for name, default, meaning in explained()]
    return BEFORE + "\n".join(rows) + "\n" + AFTER


if __name__ == "__main__":
    print(page(), end="")
