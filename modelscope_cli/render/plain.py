"""Text made fit for where it goes: harmless, and in letters that the other side knows.

What would move the cursor, change colours or the direction of writing is shown, not sent.
"""

from __future__ import annotations

import re

# C0 and C1 controls, bidirectional overrides and isolates, zero-width and line separators, lone surrogates, tags, private use
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffc\ufffe\uffff\U000e0000-\U000e007f]"
)


# What the log of a CI server would take for a command to itself: ##[group] and ##vso[ anywhere, ::error:: where a line begins
LOG_COMMAND = re.compile(r"##(?=[a-z]*\[)")
LINE_COMMAND = re.compile(r"^(\s*):(?=:)")


def visible(text: str) -> str:
    """The text with every unsafe character written as an escape, and what a CI server would obey broken by a backslash."""
    if "##" in text:
        text = LOG_COMMAND.sub(r"#\\#", text)
    return UNSAFE.sub(_escaped, text) if not text.isprintable() or UNSAFE.search(text) else text


def begun(line: str) -> str:
    """A line of a log that begins with words from a file, so that it is no command to a CI server."""
    return LINE_COMMAND.sub(r"\1:\\", line) if "::" in line else line


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    named = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x1B: "\\x1b", 0: "\\0"}.get(code)
    if named:
        return named
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


ASCII = str.maketrans(
    {
        "×": "x",
        "→": "->",
        "–": "-",
        "…": "...",
        "·": "-",
        "│": "|",
        "├": "|",
        "└": "`",
        "─": "-",
        "✗": "x",
        "✓": "+",
        "−": "-",
        "±": "+-",
        "≤": "<=",
        "█": "#",
        "›": ">",
        "▏": " ",
        "▎": " ",
        "▍": " ",
        "▌": "#",
        "▋": "#",
        "▊": "#",
        "▉": "#",
    }
)


def speaks_ascii_only(encoding: str | None) -> bool:
    """Whether a stream of this encoding is better sent ASCII."""
    return not (encoding or "").lower().startswith("utf")


def to_ascii(text: str) -> str:
    """The text in ASCII: our own signs by their nearest, all else escaped."""
    return text.translate(ASCII).encode("ascii", "backslashreplace").decode()
