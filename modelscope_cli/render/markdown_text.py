"""Text from files in Markdown that nobody can talk to: it shows as it is and links, notifies and starts nothing.

Escapes are not enough on GitHub and GitLab. They look for @names, #12, commit hashes, :emoji: and addresses in the finished
HTML, where `\\@name` and `&#64;name` have long become @name, and somebody gets mail. They do not look inside of code. So what
is not plainly a word or a figure becomes a code span, and only words, figures and a few signs stand open:

    uses `model.layers.0.mlp`, 39.9 % of the file; `@everyone` `](javascript:alert(1))`

- A word is letters only (`bfloat16`, `GH-12`, `a.b` and `self_attn` are code; so is what could be a commit hash).
- The fence of a code span is the shortest run of backticks that is not inside (one longer than the longest would do by the
  specification, but GitHub's parser gives up at 80). Nothing inside has to be escaped; line ends and other
  controls have been made visible before. Only a table takes `|` for its own even there: `cell` writes `\\|`.
- Inside of `<summary>` GFM does not read Markdown; there it is `<code>` and HTML escapes.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from modelscope_cli.render.plain import begun, visible

LONGEST_CELL = 160  # characters; the complete text is in the formats for machines
LONGEST_SENTENCE = 480
MOSTLY = 0.7  # share of odd words from which on all of a text is code

_LETTERS = r"[^\W\d_]+"
_WORD = rf"{_LETTERS}(?:[-'’]{_LETTERS})*"
_NUMBER = r"[+−±×-]?<?(?:\d{1,3}(?:,\d{3})+|\d{1,6})(?:\.\d{1,6})?%?"
_SIGNS = r"[·×→–—…=+−±≤≥%-]"
_BEFORE, _AFTER = r"[(\"“'‘]*", r"[)\"”'’.,;:!?…]*"
PLAIN = re.compile(rf"{_BEFORE}~?(?:{_WORD}|{_NUMBER}(?:–{_NUMBER})?|{_SIGNS})?{_AFTER}")
HASH = re.compile(r"(?<![0-9a-zA-Z])[0-9a-fA-F]{7,}(?![0-9a-zA-Z])")  # what could be a commit
AROUND = re.compile(r"([(\"“‘]*)(.*?)([)\"”’.,;:]*)", re.DOTALL)
ESCAPES = str.maketrans({"<": "&lt;", ">": "&gt;", "~": "\\~"})
HTML_ESCAPES = str.maketrans({"<": "&lt;", ">": "&gt;", '"': "&quot;"})


def cut(text: str, most: int, *, middle: bool = False) -> str:
    """The text in at most so many characters: the end gives way, or the `middle`, so that both ends of a path can be read."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2 if middle else 0
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def code(text: str, most: int = LONGEST_CELL, *, middle: bool = False) -> str:
    """A code span; nothing for no text."""
    text = cut(visible(text), most, middle=middle)
    if not text:
        return ""
    runs = {len(run) for run in re.findall("`+", text)}
    fence = "`" * next(length for length in range(1, len(text) + 2) if length not in runs)
    blank = " " if text[0] == "`" or text[-1] == "`" or (text[0] == text[-1] == " " and text.strip(" ")) else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def block(text: str) -> str:
    """A fenced block. Its fence is longer than any run of backticks inside, so that no line in it can end it."""
    lines = [begun(visible(line)) for line in text.split("\n")]
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence, *lines, fence]) + "\n"


def code_in_html(text: str, most: int = LONGEST_CELL, *, middle: bool = False) -> str:
    """The same where Markdown is not read."""
    text = cut(visible(text), most, middle=middle)
    return f"<code>{html.escape(text)}</code>" if text else ""


def prose(text: str, most: int = LONGEST_CELL) -> str:
    """Words and figures open, everything else as code."""
    return _mixed(text, most, code, ESCAPES)


def prose_in_html(text: str, most: int = LONGEST_CELL) -> str:
    """The same where Markdown is not read."""
    return _mixed(text, most, code_in_html, HTML_ESCAPES)


def cell(inline: str) -> str:
    """Inline Markdown made fit for a table."""
    return inline.replace("|", "\\|")


def is_odd(word: str) -> bool:
    """Whether a word does not stand open."""
    return not PLAIN.fullmatch(word) or HASH.search(word) is not None


def _mixed(text: str, most: int, quote: Callable[[str, int], str], escapes: dict[int, str]) -> str:
    """Runs of odd words become one piece of code each, without the punctuation around; a text that is mostly odd becomes one."""
    text = cut(visible(text), most)
    words = text.split()
    odd = [is_odd(word) for word in words]
    if len(words) > 1 and sum(odd) > MOSTLY * len(words):
        return quote(text.strip(), most)
    pieces: list[str] = []
    run: list[str] = []
    for word, strange in zip(words, odd, strict=True):
        if not strange:
            pieces += [*_quoted(run, quote), word.translate(escapes)]
            run = []
            continue
        run.append(word)
        if word[-1] in ",;:":
            pieces += _quoted(run, quote)
            run = []
    return " ".join(pieces + _quoted(run, quote))


def _quoted(run: list[str], quote: Callable[[str, int], str]) -> list[str]:
    """A run of odd words as code, and the punctuation around it."""
    if not run:
        return []
    text = " ".join(run)
    match = AROUND.fullmatch(text)
    before, inner, after = match.groups() if match else ("", text, "")
    if not inner or inner.count("(") > inner.count(")"):  # its brackets belong to it
        before, inner, after = "", text, ""
    return [f"{before}{quote(inner, len(inner))}{after}"]
