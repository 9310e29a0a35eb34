"""docs/limits.md, made from core/limits.py.

python -m tests.limits_page > docs/limits.md
"""

from __future__ import annotations

from modelscope_cli.analysis.levels import MOST_MODULES
from modelscope_cli.analysis.safety import SURELY_JUDGED
from modelscope_cli.analysis.size_table import MOST_LINES
from modelscope_cli.core.limits import explained

BEFORE = """# Limits

Every length in a file is a claim, and a file of a kilobyte can claim a terabyte. `mscope` believes claims up to limits, which are the
same for every command. At the defaults every file ends within 10 seconds and 512 MiB of memory, whatever the command: with a result, or
with a line that names the limit, what it is and what the file has, and exit code 3:

    mscope: model.safetensors: tensors: 500,000 found, the limit is 300,000 - if you trust the file, raise it with --limit tensors=VALUE

`--limit NAME=VALUE` changes one, for every command that reads files; it can be given again for another. `mscope inspect --limit help`
prints this list. The 90,427 tensors of DeepSeek-V3 in 158 files are well within the defaults.

| limit | default | what it is of |
| --- | --- | --- |
"""

AFTER = f"""
`seconds` are those of the processor, so that a slow disk or network costs none of them. They are for one file from the start of the
command to its end: finding it, reading it, showing and writing what was read; each file of a set has them anew, and so has each of several
files. Pictures that other programs draw are not timed. `memory_bytes` is what the command takes together; of several files each may add as
much to what those before it left. Both are nets below the other limits, which keep time and memory small by themselves on a machine of
today: a slower one may need `--limit seconds=60` for the largest models. The kernel tells the time; each hundredth of a second both
are looked at, and work is ended a sixteenth before the limit, so that saying so is within it too. A scan is ended a quarter before, so
that what it found is judged, and the first {SURELY_JUDGED} names and calls of a file are judged however late it is. Where a system has
no such timer (Windows), seconds are looked at between the files of a set, and when a file has been read, and memory is not.

How much there is to show is bounded by `tensors`, and by how many modules are told apart: where a file names more than {MOST_MODULES:,}
that are not in equal layers, only its upper levels are, and the table says so. People are shown {MOST_LINES:,} rows at most; `-f json` and
`-f csv` have them all.

In Python they are `modelscope_cli.Limits`, and `modelscope_cli.read(path, limits=...)` takes one; only the command watches `seconds` and
`memory_bytes`.
"""


def page() -> str:
    """The whole page."""
    rows = [f"| `{name}` | {default:,} | {meaning} |" for name, default, meaning in explained()]
    return BEFORE + "\n".join(rows) + "\n" + AFTER


if __name__ == "__main__":
    print(page(), end="")
