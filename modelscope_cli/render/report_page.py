"""A document as one offline page: badges, checks, tables to sort and search, the diagram, the map of the bytes.

All of it is there without the script, which only makes it handier. Names from files reach the page escaped, as text; the
policy in its head lets this script and this style run and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from string import Template

from modelscope_cli.render import treemap_page
from modelscope_cli.render.headline import header_facts
from modelscope_cli.render.html_head import Tally, head, short, tally
from modelscope_cli.render.html_sections import LONGEST_NAME, Part, mark, parts_of
from modelscope_cli.render.html_tables import (
    COLOURS,
    DEEPEST,
    LONGEST_TEXT,
    LONGEST_TIP,
    breakable,
    cell,
    clipped,
    cut,
    escaped,
    in_short,
    raw,
    table_in_box,
)
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import Document, Problem, Report

LONGEST_LINK = 36  # characters
SCRIPTS = ("report_rows", "report_table", "report")  # files of one script, in this order
BAD, GOOD, PLAIN = "dc2626", "16a34a", "3b82f6"  # colours of the page's icon
ICON = (
    "%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' fill='%23{}'/%3E%3C/svg%3E"
)


def render(document: Document, look: Look) -> bytes:
    """The document as UTF-8."""
    reports = document.reports
    alone = len(reports) == 1 and not document.problems
    tallies = [tally(report) for report in reports]
    content, links = [], []
    if len(reports) > 1:
        links.append(link("overview", "Overview"))
        content.append(overview(reports, tallies, look.unit))
    if document.problems:
        links.append(link("problems", "Not read"))
        content.append(problems_in_html(document.problems, 2 if len(reports) > 1 else 1))
    for number, (report, counted) in enumerate(zip(reports, tallies, strict=True), 1):
        parts = parts_of(report, look.unit, f"r{number}", 2 if alone else 3)
        content.append(article(report, counted, parts, look.unit, f"r{number}", alone=alone))
        links += (
            [link(part.anchor, part.title) for part in parts]
            if alone
            else [link(f"r{number}", short(report.title), report.title)]
        )
    if not content:
        content.append("<h1>No checkpoints</h1>")
    text = "\n".join(content)
    maps = 'class="mscope-treemap"' in text
    styles, scripts = style(maps), script(maps)
    title = short(reports[0].title) if len(reports) == 1 else f"{len(reports):,} checkpoints"
    bad = document.problems or any(report.failed or counted.bad for report, counted in zip(reports, tallies, strict=True))
    good = any(counted.passed for counted in tallies)
    filled = Template(_file("report.html")).substitute(
        policy=f"default-src 'none'; script-src '{_digest(scripts)}'; style-src '{_digest(styles)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        title=f"{escaped(cut(title, LONGEST_NAME))} · mscope",
        icon=ICON.format(BAD if bad else GOOD if good else PLAIN),
        style=styles,
        links="".join(links),
        content=text,
        script=scripts,
    )
    return filled.encode()


@cache
def style(maps: bool) -> str:
    """The style sheet, with that of maps where there are any."""
    levels = [f'.mscope-report [data-level="{level}"]{{--level:{level}}}' for level in range(DEEPEST)]
    colours = [f".c-{key}{{--category:{colour}}}" for key, colour in COLOURS.items()]
    return "\n".join([treemap_page.style() if maps else "", _file("report.css"), *levels, *colours])


@cache
def script(maps: bool) -> str:
    """The script: ours before that of the maps, which starts what ours has put in place."""
    ours = "\n".join([_file(f"{name}.js") for name in SCRIPTS])
    return f'(() => {{\n"use strict";\n{ours}}})();\n' + (treemap_page.script() if maps else "")


def _file(name: str) -> str:
    return (resources.files("modelscope_cli.render") / "web" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def link(anchor: str, title: str, whole: str = "") -> str:
    """An item of a list of contents."""
    tip = f' title="{escaped(cut(whole, LONGEST_TIP))}"' if whole else ""
    return f'<li><a href="#{anchor}"{tip}>{escaped(cut(title, LONGEST_LINK))}</a></li>'


def article(report: Report, counted: Tally, parts: Sequence[Part], unit: str, anchor: str, *, alone: bool) -> str:
    """One report. Beside others it has contents of its own."""
    links = "".join([link(part.anchor, part.title) for part in parts])
    own = f'<nav class="own" aria-label="In this report"><ul>{links}</ul></nav>' if links and not alone else ""
    bodies = "\n".join([part.body for part in parts])
    top = head(report, counted, parts, unit, anchor, 1 if alone else 2)
    return f'<article id="{anchor}" aria-labelledby="{anchor}-name">\n<header class="head">{top}{own}</header>\n{bodies}\n</article>'


def overview(reports: Sequence[Report], tallies: Sequence[Tally], unit: str) -> str:
    """A row a checkpoint: name, parameters, size, checks."""
    rows = []
    for number, (report, counted) in enumerate(zip(reports, tallies, strict=True), 1):
        facts = {fact.key: fact.value for fact in header_facts(report)}
        figures = [
            f'<td class="n"{raw(facts.get(key))}{in_short(facts.get(key))}>{cell(facts.get(key), unit)}</td>'
            for key in ("parameters", "bytes")
        ]
        tip, name = escaped(cut(report.title, LONGEST_TIP)), breakable(escaped(cut(short(report.title), LONGEST_NAME)))
        signs = ((counted.bad, "✗", "failed"), (counted.odd, "!", "warning"), (counted.passed, "✓", "passed"))
        marks = [
            f'<span class="mark {kind}"><span aria-hidden="true">{sign}</span> {count:,} <span class="unseen">{kind}</span></span>'
            for count, sign, kind in signs
            if count
        ]
        rows.append(
            f'<tr><th scope="row"><span class="label"><a href="#r{number}" title="{tip}">{name}</a></span></th>'
            f'<td data-v="{counted.bad + counted.odd / (counted.odd + 1)}">{" ".join(marks) or "–"}</td>{"".join(figures)}</tr>'
        )
    columns = (("Checkpoint", ""), ("Checks", ""), ("Params", "n"), ("Bytes", "n"))
    headings = "".join([f'<th scope="col" class="{kind}">{said}</th>' for said, kind in columns])
    table = table_in_box(headings, rows, "overview-name")
    return f'<section id="overview" class="part"><h1 id="overview-name">{len(reports):,} checkpoints</h1>{table}</section>'


def problems_in_html(problems: Sequence[Problem], level: int) -> str:
    """The inputs that could not be read, with what to do about it."""
    items = []
    for problem in problems:
        where = f"<b>{clipped(problem.path, LONGEST_NAME)}</b><br>" if problem.path else ""
        at = f' <span class="code">at byte {problem.offset:,}</span>' if problem.offset is not None else ""
        code = f'<code class="code">{escaped(cut(problem.error, LONGEST_NAME))}</code>'
        hint = f'<span class="todo">{clipped(problem.hint, LONGEST_TEXT)}</span>' if problem.hint else ""
        said = f"{where}{clipped(problem.message, LONGEST_TEXT)}{at} {code}{hint}"
        items.append(f"<li>{mark('✗', 'failed', 'error')}<p>{said}</p></li>")
    return (
        f'<section id="problems" class="part"><h{level} class="title">Could not be read</h{level}>'
        f'<ul class="findings">{"".join(items)}</ul></section>'
    )
