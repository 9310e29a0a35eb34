"""Annotations: lines that a workflow of GitHub shows beside the run, and beside the file where it is part of a change.

    ::error title=max-share embedding,file=models/decoder.pth::40.0 % of the parameters are in embedding

Of one step GitHub shows ten errors and ten warnings and drops the rest in silence, so a last line says how many there are more.
"""

from collections.abc import Iterator

from modelscope_cli.render.cells import words
from modelscope_cli.render.headline import findings, scan_findings, verdicts
from modelscope_cli.render.plain import visible
from modelscope_cli.report.document import Document, Report

MOST = 10  # of each level, in one step
LONGEST_TITLE, LONGEST_MESSAGE = 120, 1_000
ERROR, WARNING = "error", "warning"
ADVICE = "advice"  # of a scan, whose findings are told themselves
GRAVE = {"dangerous": ERROR, "suspicious": WARNING}
DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
PROPERTY = DATA | str.maketrans({":": "%3A", ",": "%2C"})

Note = tuple[str, str, str, str]  # level, title, file, message


def annotations(document: Document) -> list[str]:
    """Workflow commands: what could not be read, failed rules and errors; then rules without anything to judge and warnings."""
    notes = list(_notes(document))
    lines, more = [], []
    for level in (ERROR, WARNING):
        mine = [note for note in notes if note[0] == level]
        lines += [_command(*note) for note in mine[:MOST]]
        if len(mine) > MOST:
            more.append(f"{len(mine) - MOST:,} more {level}{'s' * (len(mine) - MOST > 1)}")
    if more:
        lines.append(_command("notice", "mscope", "", f"{' and '.join(more)}: GitHub shows {MOST} of each a step"))
    return lines


def _notes(document: Document) -> Iterator[Note]:
    for problem in document.problems:
        where = f" at byte {problem.offset:,}" if problem.offset is not None else ""
        hint = f" - {problem.hint}" if problem.hint else ""
        yield ERROR, problem.error, problem.path or "", visible(f"{problem.message}{where}{hint}")
    for report in document.reports:
        yield from _judged(report)
    for report in document.reports:
        for finding in findings(report, ERROR, WARNING):
            if finding.code == ADVICE:
                continue
            where = f"{finding.where}: " if finding.where else ""
            yield finding.severity, finding.code, report.title, visible(f"{where}{finding.message}")
        for found in scan_findings(report):
            if found.level in GRAVE:
                place = " ".join(filter(None, (found.member, "" if found.offset is None else f"byte {found.offset:,}")))
                yield GRAVE[found.level], found.code, found.path, visible(": ".join(filter(None, (place, found.message))))


def _judged(report: Report) -> Iterator[Note]:
    for verdict in verdicts(report):
        if verdict.status == "passed":
            continue
        todo = f"\n{visible(verdict.todo)}" if verdict.todo else ""
        message = visible(words(verdict.message, "auto", exact=True)) + todo
        yield ERROR if verdict.status == "failed" else WARNING, f"{verdict.rule} {verdict.target}", report.title, message


def _command(level: str, title: str, file: str, message: str) -> str:
    """One command on one line: what would end the command, a property or the line is escaped. `message` is visible text."""
    properties = {"title": _cut(visible(title.strip()), LONGEST_TITLE), "file": visible(file)}
    given = ",".join(f"{key}={value.translate(PROPERTY)}" for key, value in properties.items() if value)
    return f"::{level} {given}::{_cut(message, LONGEST_MESSAGE).translate(DATA)}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
