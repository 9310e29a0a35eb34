"""JUnit XML, as Jenkins, GitLab and the reporters of GitHub read it: a suite a file, a case a rule.

    <testsuites name="mscope.check" tests="3" failures="1" errors="0" skipped="1" time="0">
      <testsuite name="decoder.pth" …>
        <testcase classname="mscope.check" name="readable" time="0"/>
        <testcase classname="mscope.check" name="max-share embedding" time="0">
          <failure message="40.0 % …" type="max-share">…</failure>

A rule that met nothing to judge is skipped; an input that could not be read is a suite with an error. GitLab tells cases apart
by class and name alone, so of several files each name says which. There is no time in it: the same files give the same bytes.
"""

from __future__ import annotations

from collections import Counter
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from modelscope_cli.render.cells import words
from modelscope_cli.render.headline import findings, headline, verdicts
from modelscope_cli.render.plain import visible
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import Document, Finding, Problem, Report, Verdict

READABLE = "readable"
LONGEST_MESSAGE = 1_000  # characters of an attribute; the text of the element has all of them
OUTCOMES = {"failure": "failures", "error": "errors", "skipped": "skipped"}  # elements of a case, attributes of a suite


def render(document: Document, look: Look) -> bytes:
    """The document as UTF-8."""
    suites = Element("testsuites", name=_class(document.schema))
    several = len(document.reports) + len(document.problems) > 1
    names: Counter[str] = Counter()
    unread = {problem.path: problem for problem in reversed(document.problems)}
    told = set()
    for report in document.reports:  # of a file that could not be read, and was judged all the same, there is one suite
        own = unread.get(report.title) if report.failed else None
        told.add(id(own))
        _report(suites, report, look.unit, several, names, own)
    for problem in document.problems:
        if id(problem) not in told:
            _problem(suites, problem, document.schema, several, names)
    for suite in suites:
        _count(suite)
    _count(suites)
    indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(suites, encoding="unicode")}\n'.encode()


def _report(
    suites: Element, report: Report, unit: str, several: bool, names: Counter[str], problem: Problem | None = None
) -> None:
    suite = SubElement(suites, "testsuite", name=visible(report.title) or "checkpoint")
    where = report.title if several else ""
    case = _case(suite, report.schema, READABLE, where, names)
    if problem is not None:
        _error(case, problem)
    elif report.failed:
        errors = list(map(_sentence, findings(report, "error"))) or ["not everything could be read"]
        _outcome(case, "failure", "; ".join(errors), READABLE, "\n".join(errors))
    wrong = [] if report.failed else findings(report, "error")  # what is wrong with a file that could be read
    said = [headline(report, unit), *(f"error: {_sentence(finding)}" for finding in wrong)]
    said += [f"warning: {_sentence(finding)}" for finding in findings(report, "warning")]
    said = [visible(line) for line in said if line]
    if said:
        SubElement(case, "system-out").text = "\n".join(said)
    for verdict in verdicts(report):
        case = _case(suite, report.schema, f"{verdict.rule} {verdict.target}".strip() or "rule", where, names)
        _verdict(case, verdict, unit)


def _verdict(case: Element, verdict: Verdict, unit: str) -> None:
    message = words(verdict.message, unit, exact=True)
    if verdict.status == "warning":
        SubElement(case, "skipped", message=_short(message))
    elif verdict.status == "failed":
        limit, actual = (words(value, unit, exact=True, sign=" %") for value in (verdict.limit, verdict.actual))
        lines = [message, limit and f"limit: {limit}", actual and f"actual: {actual}", verdict.todo]
        _outcome(case, "failure", message, verdict.rule, "\n".join(map(visible, filter(None, lines))))
    else:
        SubElement(case, "system-out").text = visible(message)


def _problem(suites: Element, problem: Problem, schema: str, several: bool, names: Counter[str]) -> None:
    suite = SubElement(suites, "testsuite", name=visible(problem.path or "input"))
    case = _case(suite, schema, READABLE, problem.path or "" if several else "", names)
    _error(case, problem)


def _error(case: Element, problem: Problem) -> None:
    where = f"at byte {problem.offset:,}" if problem.offset is not None else ""
    lines = [problem.message, where, problem.hint or ""]
    _outcome(case, "error", problem.message, problem.error, "\n".join(map(visible, filter(None, lines))))


def _case(suite: Element, schema: str, name: str, where: str, names: Counter[str]) -> Element:
    """A test case with a name that no other has."""
    name = visible(f"{name} [{where}]" if where else name)
    names[name] += 1
    if names[name] > 1:
        name = f"{name} ({names[name]})"
    return SubElement(suite, "testcase", classname=_class(schema), name=name, time="0")


def _outcome(case: Element, tag: str, message: str, kind: str, text: str) -> None:
    SubElement(case, tag, message=_short(message), type=visible(kind)).text = text


def _count(suite: Element) -> None:
    """The attributes that say how many cases there are and how they ended."""
    cases = list(suite.iter("testcase"))
    suite.set("tests", str(len(cases)))
    for tag, attribute in OUTCOMES.items():
        suite.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("time", "0")


def _sentence(finding: Finding) -> str:
    return visible(f"{finding.where}: {finding.message}" if finding.where else str(finding.message))


def _short(message: str) -> str:
    text = visible(message)
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…"


def _class(schema: str) -> str:
    return visible(schema.partition("/")[0]) or "mscope"
