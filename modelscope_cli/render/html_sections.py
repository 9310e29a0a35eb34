"""Sections of a report in HTML: each a part of the page with an anchor, which can be folded without a script."""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.render import treemap_page
from modelscope_cli.render.cells import words
from modelscope_cli.render.headline import header_facts
from modelscope_cli.render.html_tables import (
    LONGEST_TEXT,
    cell,
    clipped,
    cut,
    escaped,
    heading,
    on_page,
    raw,
    shown_columns,
    table_in_box,
    to_html,
)
from modelscope_cli.render.inline_svg import NotAPictureError, inline
from modelscope_cli.render.plain import begun
from modelscope_cli.report.document import (
    MACHINES,
    Areas,
    Drawing,
    Fact,
    Facts,
    Finding,
    Findings,
    Listing,
    Report,
    Section,
    Table,
    Verdict,
    Verdicts,
)

OPEN_ROWS = 40  # rows of a table up to which it stands open though it is not the main one
LONGEST_NAME = 96  # characters of a name
STATUS = {"failed": ("✗", "failed"), "warning": ("!", "warning"), "passed": ("✓", "passed")}  # the gravest first
SEVERITY = {"error": ("✗", "failed"), "warning": ("!", "warning"), "info": ("i", "info")}
START = treemap_page.Start(by="bytes")
CHECK_HEADINGS = (("Result", "status"), ("Check", ""), ("Limit", "n late"), ("Actual", "n late"), ("What it says", ""))


class Part(NamedTuple):
    """A section on the page: where links lead, what they say, what it is and its HTML."""

    anchor: str
    title: str
    section: Section
    body: str


def mark(sign: str, kind: str, said: str) -> str:
    """A sign in colour with its word, which is only heard where there is no room."""
    return f'<span class="mark {kind}"><span aria-hidden="true">{sign}</span><span class="word">{said}</span></span>'


def parts_of(report: Report, unit: str, prefix: str, level: int) -> list[Part]:
    """What people see of a report below its head, under headings of this level. Long tables are folded, the main one is not."""
    parts: list[Part] = []
    head = header_facts(report)
    tables = [section for section in report.sections if isinstance(section, Table) and section.audience != MACHINES]
    main = [table for table in tables if table.tree] or tables[:1]
    for section in report.sections:
        if section.audience == MACHINES or (isinstance(section, Facts) and not section.title and head):
            continue
        anchor = f"{prefix}-{len(parts) + 1}"
        rows, opened = 0, section in main
        if isinstance(section, Table):
            rows, section = len(section.rows), on_page(section)
        body = body_of(section, unit, f"{anchor}-name")
        if not body:
            continue
        opened = opened or rows <= OPEN_ROWS
        title = heading(section) if isinstance(section, Table) else section.title or type(section).__name__
        note = f' <span class="note">{rows:,} rows</span>' if rows > OPEN_ROWS else ""
        whole = (
            f'<section id="{anchor}" class="part"><details{" open" if opened else ""}>'
            f'<summary><h{level} id="{anchor}-name">{escaped(cut(title, LONGEST_NAME))}</h{level}>{note}</summary>\n{body}\n'
            "</details></section>"
        )
        parts.append(Part(anchor, title, section, whole))
    return parts


def body_of(section: Section, unit: str, named_by: str) -> str:
    """The section without its heading; "" where it has nothing to say, or nothing that a page can show."""
    if isinstance(section, Table):
        return to_html(section, unit, named_by) if section.rows and shown_columns(section) else ""
    if isinstance(section, Facts):
        return facts_in_html([fact for fact in section.items if fact.audience != MACHINES], unit)
    if isinstance(section, Verdicts):
        return verdicts_in_html(section, unit, named_by) if section.items else ""
    if isinstance(section, Findings):
        return findings_in_html(section) if section.items else ""
    if isinstance(section, Drawing):
        return picture(section)
    if isinstance(section, Areas):
        return f'<div class="map-place">{treemap_page.component(section.treemap, START, unit=unit)}</div>'
    return ""


def facts_in_html(facts: list[Fact], unit: str) -> str:
    items = []
    for fact in facts:
        said = words(fact.text, unit) if fact.text is not None else None
        value = clipped(said, LONGEST_TEXT) if said is not None else cell(fact.value, unit, sign=" %", most=LONGEST_TEXT)
        items.append(f"<div><dt>{clipped(fact.label, LONGEST_NAME)}</dt><dd>{value}</dd></div>")
    return f'<dl class="facts">{"".join(items)}</dl>' if items else ""


def verdicts_in_html(verdicts: Verdicts, unit: str, named_by: str) -> str:
    """A row a check, the failed ones first, each with a sign, a word and a colour."""
    order = list(STATUS)
    rows = [verdict_row(item, unit) for item in sorted(verdicts.items, key=lambda item: order.index(item.status))]
    head = "".join([f'<th scope="col" class="{kind}">{said}</th>' for said, kind in CHECK_HEADINGS])
    return table_in_box(head, rows, named_by, "checks", words(verdicts.caption, unit))


def verdict_row(verdict: Verdict, unit: str) -> str:
    sign, kind = STATUS[verdict.status]
    target = f'<code class="target">{clipped(verdict.target, LONGEST_NAME)}</code>' if verdict.target else ""
    todo = f'<span class="todo">{clipped(verdict.todo, LONGEST_TEXT)}</span>' if verdict.todo else ""
    figures = [
        f'<td class="n late{"" if raw(value) else " words"}"{raw(value)}>{clipped(words(value, unit, exact=True, sign=" %"), LONGEST_NAME)}</td>'
        for value in (verdict.limit, verdict.actual)
    ]
    return (
        f'<tr class="{kind}"><td class="status">{mark(sign, kind, verdict.status)}</td>'
        f'<th scope="row"><span class="rule">{clipped(verdict.rule, LONGEST_NAME)}</span>{target}</th>{"".join(figures)}'
        f"<td>{cell(verdict.message, unit, most=LONGEST_TEXT)}{todo}</td></tr>"
    )


def findings_in_html(findings: Findings) -> str:
    """A line a finding, the gravest first."""
    order = list(SEVERITY)
    items = [finding_item(item) for item in sorted(findings.items, key=lambda item: order.index(item.severity))]
    return f'<ul class="findings">{"".join(items)}</ul>'


def finding_item(finding: Finding) -> str:
    sign, kind = SEVERITY[finding.severity]
    where = f"<b>{clipped(finding.where, LONGEST_NAME)}</b> " if finding.where else ""
    code = f' <code class="code">{clipped(finding.code, LONGEST_NAME)}</code>' if finding.code else ""
    if isinstance(finding.message, Listing):
        lines = "\n".join([begun(escaped(line)) for line in finding.message.split("\n")])
        return f'<li>{mark(sign, kind, finding.severity)}<div><p>{where}{code}</p><pre class="listing">{lines}</pre></div></li>'
    said = clipped(words(finding.message, "auto", exact=True), LONGEST_TEXT)
    return f"<li>{mark(sign, kind, finding.severity)}<p>{where}{said}{code}</p></li>"


def picture(drawing: Drawing) -> str:
    """Both pictures, of which the page shows one; nothing where either is more than a picture."""
    try:
        light, dark = (inline(text, drawing.title) for text in (drawing.light, drawing.dark))
    except NotAPictureError:
        return ""
    return (
        '<div class="picture"><div class="paper" tabindex="0" role="group" aria-label="The drawing">'
        f'<div class="in-light">{light}</div><div class="in-dark">{dark}</div></div></div>'
    )
