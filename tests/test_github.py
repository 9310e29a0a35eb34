"""Annotations: commands that a runner reads as one line each, with what was meant in them."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from hypothesis import given, settings

from modelscope_cli.render.github import annotations
from modelscope_cli.render.plain import UNSAFE, visible
from modelscope_cli.report.document import Document
from tests.documents import DOCUMENTS, HOSTILE, document, filled

COMMAND = re.compile(r"::(error|warning|notice) ?((?:[a-z]+=[^:,]*(?:,[a-z]+=[^:,]*)*)?)::(.*)")


class Command(NamedTuple):
    """A command as the runner understands it."""

    level: str
    properties: dict[str, str]
    message: str


def read(line: str) -> Command:
    """What actions/runner reads: the name to the first blank, properties between commas, and all behind the next :: as data."""
    match = COMMAND.fullmatch(line)
    assert match, line
    level, properties, data = match.groups()
    pairs = [pair.split("=", 1) for pair in properties.split(",") if pair]
    return Command(level, {key: unescaped(value) for key, value in pairs}, unescaped(data))


def unescaped(text: str) -> str:
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


def test_what_failed_and_what_warns():
    assert annotations(document("models/a,b: c.pt", problems=1)) == [
        "::error title=FormatError,file=broken0.pt::it is an HTML page at byte 0 - fetch it again",
        "::error title=max-share layer.*,file=models/a%2Cb%3A c.pt::40.0 %25 of the parameters%0Amake it smaller",
        "::error title=shard-unreadable,file=models/a%2Cb%3A c.pt::b.bin: it ends at byte 8",
        "::warning title=dtype lora_*,file=models/a%2Cb%3A c.pt::no module matches",
        "::warning title=imports,file=models/a%2Cb%3A c.pt::data.pkl: loading it with pickle would import and call os.system",
    ]


def test_nothing_to_say():
    assert annotations(Document("mscope.inspect/1", [])) == []


def test_no_more_than_github_shows_and_a_line_that_says_so():
    lines = [read(line) for line in annotations(document(*[f"{n}.pt" for n in range(12)], problems=3))]
    assert [line.level for line in lines] == ["error"] * 10 + ["warning"] * 10 + ["notice"]
    assert lines[-1].message == "17 more errors and 14 more warnings: GitHub shows 10 of each a step"


@pytest.mark.parametrize(("files", "said"), [(5, None), (6, "2 more errors and 2 more warnings"), (10, "10 more errors")])
def test_the_limit_is_ten(files, said):
    lines = annotations(document(*["a.pt"] * files))
    assert (lines[-1].startswith("::notice")) == (said is not None)
    assert (said or "") in lines[-1]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text_stays_in_its_place(text):
    for line in annotations(filled(text)):
        command = read(line)
        assert command.level in ("error", "warning")
        assert set(command.properties) <= {"title", "file"}
        assert command.properties.get("file", "") == visible(text)
        assert visible(text)[:100] in command.message


@given(DOCUMENTS)
@settings(max_examples=200, deadline=None)
def test_every_line_is_one_visible_command(one):
    lines = annotations(one)
    assert len(lines) <= 21
    for line in lines:
        assert not UNSAFE.search(line)
        assert len(read(line).message) <= 1_000
