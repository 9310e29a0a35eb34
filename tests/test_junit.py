"""JUnit: XML that every parser reads, whose counts are true, and the same bytes for the same document."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

from modelscope_cli.render.junit import render
from modelscope_cli.render.plain import visible
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import Document, Phrase
from tests.documents import DOCUMENTS, HOSTILE, document, filled

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
INSIDE = {"failure", "error", "skipped", "system-out"}


def suites(one: Document) -> ElementTree.Element:
    return ElementTree.fromstring(render(one, Look()))


def check(root: ElementTree.Element) -> None:
    """The elements and attributes that readers know, at their places, with counts that are true."""
    assert root.tag == "testsuites"
    for suite in root:
        assert suite.tag == "testsuite"
        assert suite.get("name")
        for case in suite:
            assert case.tag == "testcase"
            assert case.get("classname")
            assert case.get("name")
            assert {inside.tag for inside in case} <= INSIDE
            assert sum(inside.tag != "system-out" for inside in case) <= 1
            assert all("message" in inside.attrib for inside in case if inside.tag != "system-out")
    for element in [root, *root]:
        cases = list(element.iter("testcase"))
        assert element.get("tests") == str(len(cases))
        for tag, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert element.get(attribute) == str(len(list(element.iter(tag))))
        assert element.get("time") == "0"
    names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert len(names) == len(set(names))


def outcomes(root: ElementTree.Element) -> dict[str | None, list[str]]:
    return {case.get("name"): [inside.tag for inside in case] for case in root.iter("testcase")}


def test_a_case_a_rule():
    root = suites(document())
    check(root)
    assert (root.get("name"), root[0].get("name")) == ("mscope.inspect", "models/decoder.pth")
    assert outcomes(root) == {
        "readable": ["failure", "system-out"],
        "max-bytes": ["system-out"],
        "max-share layer.*": ["failure"],
        "dtype lora_*": ["skipped"],
    }
    failure = root.find(".//testcase[@name='max-share layer.*']/failure")
    assert failure is not None
    assert failure.attrib == {"message": "40.0 % of the parameters", "type": "max-share"}
    assert failure.text == "40.0 % of the parameters\nlimit: 30.0 %\nactual: 40.0 %\nmake it smaller"


def test_a_file_that_was_not_read_in_full_says_why():
    failure = suites(document()).find(".//testcase[@name='readable']/failure")
    assert failure is not None
    assert failure.get("message") == "b.bin: it ends at byte 8"


def test_without_rules_the_headline_errors_and_warnings_are_there():
    one = document(verdicts=False)
    readable = one.reports[0]._replace(failed=False, headline=Phrase(("decoder of 3 layers",)))
    root = suites(one._replace(reports=[readable]))
    assert outcomes(root) == {"readable": ["system-out"]}
    said = root.findtext(".//system-out")
    assert said == "decoder of 3 layers\nerror: b.bin: it ends at byte 8\nwarning: data.pkl: loading it with pickle would import and call os.system"


def test_an_input_that_could_not_be_read_is_an_error():
    root = suites(document(problems=1))
    check(root)
    assert root[1].get("name") == "broken0.pt"
    error = root[1].find("testcase/error")
    assert error is not None
    assert error.attrib == {"message": "it is an HTML page", "type": "FormatError"}
    assert error.text == "it is an HTML page\nat byte 0\nfetch it again"


def test_cases_of_several_files_have_names_of_their_own():
    names = outcomes(suites(document("a.pt", "b.pt", "a.pt")))
    assert {"readable [a.pt]", "readable [b.pt]", "readable [a.pt] (2)", "dtype lora_* [b.pt]"} <= set(names)


def test_the_same_bytes_twice():
    assert render(document(problems=2), Look()) == render(document(problems=2), Look())


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text_in_every_place(text):
    data = render(filled(text), Look())
    assert not NOT_XML.search(data.decode())
    assert b"]]>" not in data
    root = ElementTree.fromstring(data)
    check(root)
    warning = root.find(".//skipped")
    assert warning is not None
    assert len(warning.get("message", "")) <= 1_000
    assert visible(text)[:900] in warning.get("message", "")


@given(DOCUMENTS)
@settings(max_examples=200, deadline=None)
def test_every_document_is_counted_and_parses(one):
    check(suites(one))
