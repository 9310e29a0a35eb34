"""GitHub-flavoured Markdown for a step summary, a comment on a pull request, a note on GitLab: short first, the rest folded.

    ### `decoder.pth`
    **481.9 MiB · 126,320,967 parameters · `float32`**
    the rules and what they say, the main table, warnings and errors
    <details> every other section </details>

Of several files a table comes first and each is folded. How text from files is kept from becoming markup, a mention or a link
stands in markdown_text, and how the page keeps to the length of a comment in markdown_fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from modelscope_cli.render.cells import words
from modelscope_cli.render.headline import findings, header_facts, headline, short_names, tally, verdicts
from modelscope_cli.render.markdown_fit import FILE, SECTION, Line, Part, fit
from modelscope_cli.render.markdown_text import LONGEST_SENTENCE, block, cell, code, code_in_html, is_odd, prose, prose_in_html
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import (
    MACHINES,
    Bytes,
    Code,
    Count,
    Document,
    Facts,
    Finding,
    Findings,
    Listing,
    Phrase,
    Problem,
    Ratio,
    Report,
    Row,
    Table,
    Verdict,
    Verdicts,
)

NUMBERS = (Bytes, Count, Ratio)
SHORTENED = 10_000_000_000  # counts from which a table says 671.0 B, because a comment is not wide
MOST_BYTES = 60_000  # a comment on GitHub may have 65,536 characters
LONGEST_CODE = 240  # characters of a piece of code in a cell
SIGNS = {"passed": "✅", "failed": "❌", "warning": "⚠️", "error": "❌", "info": "ℹ️"}
GRAVEST = {"failed": 0, "warning": 1, "passed": 2}
UNBROKEN = "\u00a0"  # between a figure and its unit
LEVEL = 3 * UNBROKEN  # of a tree
FOLD = re.compile(r"(.+) (×[0-9,]{1,12})", re.DOTALL)
TOP, SUMMARY, FAILED, SAID, TOTAL, MAIN, FOLDED = range(7)  # what is let in first where not everything fits


def render(document: Document, look: Look) -> bytes:
    """The document as UTF-8, never longer than `look.most_bytes`."""
    limit = MOST_BYTES if look.most_bytes is None else look.most_bytes
    return fit(_page(document, look.unit), limit).encode()


def _page(document: Document, unit: str) -> Part:
    names = short_names(document.reports)
    top = [Line(_paragraph(text), TOP) for text in _outcome(document)]
    problems = [_problems(document.problems)] if document.problems else []
    if len(document.reports) == 1:
        report = document.reports[0]
        title = Line(f"### {code(names[0], middle=True) or 'Checkpoint'}\n\n", TOP)
        line = prose(headline(report, unit), LONGEST_SENTENCE)
        said = [Line(_paragraph(f"**{line}**"), TOP)] if line else []
        return Part("", [title, *top, *problems, *said, *_report(report, unit)])
    inside: list[Line | Part] = [*top, *problems]
    if document.reports:
        inside = [Line(f"### {len(document.reports):,} checkpoints\n\n", TOP), *inside, _summary(document.reports, names, unit)]
    for report, name in zip(document.reports, names, strict=True):
        line = prose_in_html(headline(report, unit))
        summary = " · ".join(filter(None, [code_in_html(name, middle=True), line]))
        inside.append(Part(_opening(" ".join(filter(None, [_sign(report), summary]))), list(_report(report, unit)), _END, FILE))
    return Part("", inside)


def _outcome(document: Document) -> Iterator[str]:
    """What the rules say of everything, in a line."""
    all_said = [verdict for report in document.reports for verdict in verdicts(report)]
    if all_said:
        yield f"**{_checks(all_said)}**"


def _checks(said: Sequence[Verdict]) -> str:
    status, line = tally(said)
    return f"{SIGNS[status]} {line}"


def _sign(report: Report) -> str:
    """How it stands with a file; nothing where nothing was asked and nothing is wrong."""
    statuses = {verdict.status for verdict in verdicts(report)}
    if "failed" in statuses or report.failed:
        return SIGNS["failed"]
    return SIGNS["warning"] if "warning" in statuses else SIGNS["passed"] if statuses else ""


def _problems(problems: Sequence[Problem]) -> Part:
    noun = "input" if len(problems) == 1 else "inputs"
    lines = []
    for problem in problems:
        path = f"{code(problem.path, middle=True)}: " if problem.path else ""
        where = f" (at byte {problem.offset:,})" if problem.offset is not None else ""
        hint = f"; {prose(problem.hint, LONGEST_SENTENCE)}" if problem.hint else ""
        lines.append(Line(f"- {SIGNS['error']} {path}{prose(problem.message, LONGEST_SENTENCE)}{where}{hint}\n", TOP))
    return Part(f"**{len(problems):,} {noun} could not be read**\n\n", lines, "\n", SECTION, "- {} more\n")


def _summary(reports: Sequence[Report], names: Sequence[str], unit: str) -> Part:
    """A row a file."""
    rows = []
    for report, name in zip(reports, names, strict=True):
        facts = {fact.key: fact.value for fact in header_facts(report)}
        said = verdicts(report)
        figures = [prose(words(facts.get(key), unit, exact=True)) for key in ("bytes", "parameters")]
        checks = _checks(said) if said else "❌ not read in full" if report.failed else ""
        rows.append(([code(name, middle=True), *figures, checks], SUMMARY if _sign(report) != SIGNS["failed"] else TOP))
    return _table(["File", "Size", "Parameters", "Checks"], [False, True, True, False], rows)


def _report(report: Report, unit: str) -> Iterator[Line | Part]:
    """A file: verdicts, main table, what is wrong; then what else there is, folded."""
    if report.failed:
        yield Line(_paragraph(f"{SIGNS['error']} Not everything could be read."), FAILED)
    sections = [section for section in report.sections if section.audience != MACHINES]
    for section in sections:
        if isinstance(section, Verdicts) and section.items:
            yield _verdicts(section, unit)
    tables = [section for section in sections if isinstance(section, Table) and section.rows]
    if tables:
        yield _typed_table(tables[0], unit, MAIN)
    wrong = findings(report, "error", "warning")
    if wrong:
        yield Part("", [Line(_finding(finding, unit), SAID) for finding in wrong], "\n", SECTION, "- {} more\n")
    for section in sections:
        if isinstance(section, Table) and section in tables[1:]:
            yield _folded(section.title or _first_title(section), _typed_table(section, unit, FOLDED))
        elif isinstance(section, Facts):
            rows = _fact_rows(section, unit)
            if rows:
                yield _folded(section.title or "File", _table(["", ""], [False, False], rows))
        elif isinstance(section, Findings):
            notes = [Line(_finding(finding, unit), FOLDED) for finding in section.items if finding.severity == "info"]
            if notes:
                yield _folded(section.title, Part("", notes, "\n", SECTION, "- {} more\n"))


def _verdicts(section: Verdicts, unit: str) -> Part:
    """The gravest first."""
    caption = section.caption if section.caption != tally(section.items)[1] else ""
    rows = []
    for verdict in sorted(section.items, key=lambda verdict: GRAVEST[verdict.status]):
        rule = " ".join(filter(None, [code(verdict.rule), code(verdict.target)]))
        said = prose(words(verdict.message, unit, exact=True), LONGEST_SENTENCE)
        if verdict.todo:
            said += f"<br>→ {prose(verdict.todo, LONGEST_SENTENCE)}"
        limit, actual = (prose(words(value, unit, exact=True, sign=" %")) for value in (verdict.limit, verdict.actual))
        rows.append(([SIGNS[verdict.status], rule, limit, actual, said], FAILED if verdict.status == "failed" else SAID))
    return _table(["", "Rule", "Limit", "Actual", "Result"], [False, False, True, True, False], rows, caption)


def _finding(finding: Finding, unit: str) -> str:
    """A point of a list; what is listed line by line becomes a block."""
    where = f"{code(finding.where, middle=True)}: " if finding.where else ""
    said = finding.message
    if isinstance(said, Listing):
        return f"{SIGNS[finding.severity]} {where.rstrip()}\n\n{block(said)}\n"
    sentence = _words(said, unit) if isinstance(said, Phrase) else prose(said, LONGEST_SENTENCE)
    return f"- {SIGNS[finding.severity]} {where}{sentence}\n"


def _fact_rows(facts: Facts, unit: str) -> list[tuple[list[str], int]]:
    shown = [fact for fact in facts.items if fact.audience != MACHINES]
    texts = [fact.text if fact.text is not None else words(fact.value, unit, exact=True, sign=" %") for fact in shown]
    return [
        ([prose(fact.label), _words(fact.value, unit) if isinstance(fact.value, Phrase) else prose(text)], FOLDED)
        for fact, text in zip(shown, texts, strict=True)
    ]


def _words(value: Any, unit: str, *, exact: bool = True) -> str:
    """A cell; pieces of code in it stay in one piece."""
    if isinstance(value, Code):
        return code(value, LONGEST_CODE, middle=True)
    if not isinstance(value, Phrase) or not any(isinstance(part, Code) for part in value):
        return prose(words(value, unit, exact=exact, sign=" %" if isinstance(value, Phrase) else ""))
    said = []
    for part in value:
        if isinstance(part, Code):
            said.append(code(part, LONGEST_CODE, middle=True))
        else:
            text = words(part, unit, exact=exact, sign=" %")
            before, after = (" " if text.startswith(" ") else ""), (" " if text.endswith(" ") and text.strip() else "")
            said.append(f"{before}{prose(text.strip(), LONGEST_SENTENCE)}{after}")
    return "".join(said)


def _typed_table(table: Table, unit: str, priority: int) -> Part:
    """A table of typed cells. Columns for machines, for narrow terminals, and drawn bars are left out."""
    positions = [
        position
        for position, column in enumerate(table.columns)
        if column.audience != MACHINES and column.show_until >= 10_000 and column.key != "bar"
    ]
    numeric = [any(isinstance(row.cells[position], NUMBERS) for row in table.rows) for position in positions]
    if not positions:
        return Part("", [])
    titles = [prose(table.columns[position].title) for position in positions]
    titles = [title.replace(" ", UNBROKEN) if right else title for title, right in zip(titles, numeric, strict=True)]
    if table.title:
        titles[0] = prose(table.title)
    counts = [value for row in table.rows for value in row.cells if isinstance(value, Count)]
    exact = max(map(abs, counts), default=0) < SHORTENED
    first = [words(row.cells[positions[0]], unit, exact=exact) for row in table.rows]
    names = not any(" " in text for text in first) and any(map(is_odd, filter(None, first)))
    rows = []
    for row, label in zip(table.rows, first, strict=True):
        cells = [row.cells[position] for position in positions]
        texts = [_words(value, unit, exact=exact) for value in cells]
        texts = [
            text.replace(" ", UNBROKEN) if isinstance(value, NUMBERS) else text
            for text, value in zip(texts, cells, strict=True)
        ]
        if table.tree:
            texts[0] = _branch(row, label)
        elif names and not numeric[0]:  # some are code, so all are
            texts[0] = code(label, middle=True)
        if row.mark == "total":
            texts = [f"**{text}**" if text else "" for text in texts]
        rows.append((texts, min(priority, TOTAL) if row.mark == "total" else priority))
    return _table(titles, numeric, rows, table.caption)


def _branch(row: Row, label: str) -> str:
    """The first cell of a row of a tree: a name, indented; how many it stands for is no part of it."""
    indent = (LEVEL * min(row.level, 40)).replace(UNBROKEN, "&nbsp;", 1)  # some programs strip a character, but no entity
    if row.mark in ("total", "more"):
        return prose(label)
    match = FOLD.fullmatch(label)
    name, fold = match.groups() if match else (label, "")
    return f"{indent}{code(name, middle=True)}{UNBROKEN if fold else ''}{fold}"


def _table(titles: list[str], right: list[bool], rows: Sequence[tuple[list[str], int]], caption: str = "") -> Part:
    """Rows with their priorities under titles. Columns without anything in them are left out, but for the first."""
    used = [n for n in range(len(titles)) if n == 0 or any(texts[n] for texts, _ in rows)]
    head = _row([titles[n] for n in used]) + _row(["---:" if right[n] else "---" for n in used])
    lines = [Line(_row([texts[n] for n in used]), priority) for texts, priority in rows]
    tail = f"\n<sub>{prose(caption, LONGEST_SENTENCE)}</sub>\n\n" if caption else "\n"
    return Part(head, lines, tail, SECTION, _row(["*… {} more*", *[""] * (len(used) - 1)]))


def _row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(map(cell, texts))} |\n"


def _first_title(table: Table) -> str:
    return next((column.title for column in table.columns if column.title and column.audience != MACHINES), table.key)


_END = "</details>\n\n"


def _opening(summary: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n\n"


def _folded(title: str, part: Part) -> Part:
    return part._replace(head=_opening(prose_in_html(title)) + part.head, tail=part.tail + _END)


def _paragraph(text: str) -> str:
    return f"{text}\n\n"
