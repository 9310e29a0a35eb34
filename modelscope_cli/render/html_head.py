"""The head of a report in HTML: its name, how the checks went, its figures as tiles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from modelscope_cli.render.cells import words
from modelscope_cli.render.headline import findings, header_facts, verdicts
from modelscope_cli.render.html_sections import LONGEST_NAME, Part
from modelscope_cli.render.html_tables import LONGEST_TEXT, LONGEST_TIP, cell, clipped, cut, escaped
from modelscope_cli.report.document import MACHINES, Bytes, Count, Fact, Findings, Ratio, Report, Verdicts

LONGEST_PATH = 240
EXACT_BELOW = 1_000_000  # counts that a tile has room to write out
MOST_SHARES = 6  # of a bar in colours
PAIR = " → "  # between the paths of two that are compared


class Tally(NamedTuple):
    """How the checks went, and what else was found."""

    failed: int
    passed: int
    unjudged: int
    errors: int
    warnings: int

    @property
    def bad(self) -> int:
        return self.failed + self.errors

    @property
    def odd(self) -> int:
        return self.unjudged + self.warnings


def tally(report: Report) -> Tally:
    """Counts for badges."""
    statuses = [verdict.status for verdict in verdicts(report)]
    failed, passed, unjudged = (statuses.count(status) for status in ("failed", "passed", "warning"))
    return Tally(failed, passed, unjudged, len(findings(report, "error")), len(findings(report, "warning")))


def head(report: Report, counted: Tally, parts: Sequence[Part], unit: str, anchor: str, level: int) -> str:
    """Name, path, headline, badges and tiles."""
    facts = [fact for fact in header_facts(report) if fact.audience != MACHINES]
    path = next((fact for fact in facts if fact.key == "path"), None)
    kind = path.text.rpartition("  ·  ")[2] if path and path.text and not report.headline else ""
    tiles = "".join([tile(fact, unit) for fact in facts if fact is not path])
    figures = f'<dl class="tiles">{tiles}</dl>' if tiles else ""
    known = f"<b>{clipped(kind, LONGEST_NAME)}</b>" if kind else ""
    lead = f'<p class="lead">{cell(report.headline, unit)}</p>' if report.headline else ""
    told = badges(report, counted, parts)
    return (
        f'<h{level} id="{anchor}-name" title="{escaped(cut(report.title, LONGEST_TIP))}">{name_of(report.title)}</h{level}>'
        f'<p class="path">{known}<code>{clipped(report.title, LONGEST_PATH)}</code></p>'
        f"{lead}{told}{figures}"
    )


def name_of(path: str) -> str:
    """The last two parts of a path, of both where two are compared; the folder is said quietly."""
    if PAIR in path:
        return PAIR.join([name_of(part) for part in path.split(PAIR, 1)])
    folder, slash, last = short(path).rpartition("/")
    quiet = f"<span>{escaped(cut(folder, LONGEST_NAME // 2))}{slash}</span>" if slash else ""
    return f"{quiet}{escaped(cut(last, LONGEST_NAME))}"


def short(path: str) -> str:
    """The last two parts of a path, of both where two are compared."""
    if PAIR in path:
        return PAIR.join([short(part) for part in path.split(PAIR, 1)])
    return "/".join([part for part in re.split(r"[/\\]", path) if part][-2:]) or path


def badges(report: Report, counted: Tally, parts: Sequence[Part]) -> str:
    """How it went, in a line. Each badge leads to where that is told."""
    checks = next((part.anchor for part in parts if isinstance(part.section, Verdicts)), "")
    found = next((part.anchor for part in parts if isinstance(part.section, Findings)), "")
    passed = "passed" if counted.failed else "check passed" if counted.passed == 1 else "checks passed"
    told = (
        (counted.failed, "✗", "failed", "check failed" if counted.failed == 1 else "checks failed", checks),
        (counted.errors, "✗", "failed", "error" if counted.errors == 1 else "errors", found),
        (counted.odd, "!", "warning", "warning" if counted.odd == 1 else "warnings", checks if counted.unjudged else found),
        (counted.passed, "✓", "passed", passed, checks),
    )
    line = ['<span class="badge failed"><span aria-hidden="true">✗</span> not read in full</span>'] if report.failed else []
    for number, sign, kind, said, anchor in told:
        if number:
            inside = f'<span aria-hidden="true">{sign}</span> {number:,} {said}'
            line.append(
                f'<a class="badge {kind}" href="#{anchor}">{inside}</a>'
                if anchor
                else f'<span class="badge {kind}">{inside}</span>'
            )
    return f'<p class="badges">{" ".join(line)}</p>' if line else ""


def tile(fact: Fact, unit: str) -> str:
    """A named value: large, with the sentence about it beneath; parts of one whole as a bar."""
    value, said = fact.value, words(fact.text, unit) if fact.text is not None else ""
    label = f"<dt>{escaped(cut(fact.label, LONGEST_NAME))}</dt>"
    if isinstance(value, Bytes | Count | Ratio):
        large = words(value, unit, exact=isinstance(value, Count) and value < EXACT_BELOW, sign=" %")
        said = said.removeprefix(large).strip() if said == large or said.startswith(f"{large} ") else said
        beneath = f'<span class="small">{clipped(said, LONGEST_TEXT)}</span>' if said else ""
        return f'<div class="tile">{label}<dd><span class="large">{escaped(large)}</span>{beneath}</dd></div>'
    text = clipped(said, LONGEST_TEXT) if said else cell(value, unit, most=LONGEST_TEXT)
    return f'<div class="tile">{label}<dd><span class="text">{text}</span>{shares(value)}</dd></div>'


def shares(value: object) -> str:
    """Bytes by name as one bar, the largest first; nothing for any other value."""
    parts = list(value.values()) if isinstance(value, dict) else []
    if not parts or not all(isinstance(part, Bytes) for part in parts) or sum(parts) <= 0:
        return ""
    pieces, start = [], 0.0
    for number, part in enumerate(sorted(parts, reverse=True)[:MOST_SHARES]):
        width = part / sum(parts) * 100
        pieces.append(f'<rect class="s{number}" x="{start:.2f}%" width="{width:.2f}%" height="100%"/>')
        start += width
    return f'<svg class="shares" aria-hidden="true">{"".join(pieces)}</svg>'
