"""Hostile names and metadata through the whole command: each format is parsed by its real parser, and they are text in it."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

import pytest

from modelscope_cli.render.plain import visible
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.torch_code import module, parameter, tensor
from tests.builders.torch_file import torch_zip_bytes
from tests.command import mscope
from tests.documents import HOSTILE
from tests.hostile.test_hostile_names import NASTY
from tests.test_markdown import check as check_markdown
from tests.test_markdown import parsed
from tests.test_report_page import Page

PLAIN = "ordinary"
TEXTS = [text for text in dict.fromkeys([*HOSTILE, *NASTY.values()]) if text.strip(" .") and len(text) < 2000]
SUFFIXES = (".md", ".html", ".json", ".xml", ".csv", ".tsv")
JUNIT = {"testsuites", "testsuite", "testcase", "failure", "error", "skipped", "system-out"}
ATTRIBUTES = {"name", "tests", "failures", "errors", "skipped", "time", "classname", "message", "type"}
ADDRESSES = ("href", "src", "xlink:href", "action", "formaction")


def short(text: str) -> str:
    """The text as the name of a test."""
    return ascii(text)[:40]


class Told(NamedTuple):
    """What a command said, and what it wrote: suffix → text."""

    code: int
    out: str
    err: str
    files: dict[str, str]
    summary: str


def sane(text: str) -> str:
    """A text as a safetensors header and a configuration can hold it."""
    return re.sub("[\ud800-\udfff]", "?", text)


def model(folder: Path, text: str) -> str:
    """A file with the text wherever a file can have one; its name too, where a file system allows that."""
    name = sane(text)
    shapes = {f"{name}.weight": (4, 4), f"{name}.{name}.bias": (4,), f"a.{name}": (2, 2), name: (3,), "embed.weight": (9, 4)}
    header = {key: ("F32", shape) for key, shape in shapes.items() if key != "__metadata__"}
    metadata = {
        name: name,
        "format": name,
        f"{name}.tied": f"{name}.weight",
        "nested": json.dumps({name: [name, {name: name}]}),
    }
    stem = re.sub("[/\0]", "_", name)[:60]
    path = folder / f"{stem}.safetensors"
    path.write_bytes(safetensors_bytes(header, metadata))
    (folder / "config.json").write_text(json.dumps({"model_type": name, "architectures": [name], "torch_dtype": name}))
    return path.name


def rules(folder: Path, text: str) -> None:
    """Rules that fail and name what they met, and one that meets nothing."""
    word = json.dumps(sane(text).replace("\x7f", ""), ensure_ascii=False)
    lines = ['max-share = "1 %"', f'require-metadata = ["missing", {word}]', 'allowed-dtypes = ["float16"]', 'require-format = ["pickle"]',
             "max-size = 1", '[modules."*"]', "max-size = 1", '[modules."none*"]', "max-size = 1"]  # fmt: skip
    (folder / "mscope.toml").write_text("\n".join(lines), encoding="utf-8")


def run(folder: Path, command: str, *paths: str, options: tuple[str, ...] = ()) -> Told:
    """Run a command once for all formats."""
    outputs = [part for suffix in SUFFIXES for part in ("-o", f"out{suffix}")]
    done = mscope(command, *outputs, *options, "--github", "--", *paths, GITHUB_STEP_SUMMARY=str(folder / "summary.md"))
    files = {suffix: (folder / f"out{suffix}").read_bytes().decode() for suffix in SUFFIXES}
    return Told(*done, files, (folder / "summary.md").read_text(encoding="utf-8"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Ordinary(NamedTuple):
    """What a page about harmless names is made of."""

    tags: frozenset[str]
    attributes: frozenset[tuple[str, str]]
    addresses: frozenset[str]
    counts: dict[str, int]


def ordinary_pages(pages: list[str]) -> Ordinary:
    """What such pages have together. Each has as many elements that could do something."""
    elements = [element for page in pages for element in Page(page.encode()).elements]
    pairs = frozenset((tag, name) for tag, attributes, _ in elements for name in attributes)
    addresses = frozenset(
        value or "" for _, attributes, _ in elements for name, value in attributes.items() if name in ADDRESSES
    )
    counts = {tag: sum(element[0] == tag for element in elements) // len(pages) for tag in ("script", "style", "link", "meta")}
    return Ordinary(frozenset(element[0] for element in elements), pairs, addresses, counts)


def check_shown(text: str) -> None:
    """No control, no override, no half of a character goes out."""
    unsafe = {sign for sign in text if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"}
    assert not unsafe


def check_page(text: str, like: Ordinary) -> None:
    """No element, attribute or address that a page about harmless names has not."""
    tags, pairs, known, counts = like
    page = Page(text.encode())
    for tag, attributes, _ in page.elements:
        assert tag in tags, tag
        for name, value in attributes.items():
            assert (tag, name) in pairs, (tag, name)
            assert not name.startswith("on")
            if name in ADDRESSES:
                assert (value or "").startswith("#") or value in known, value
    for tag, count in counts.items():
        assert sum(element[0] == tag for element in page.elements) == count, tag


def check_junit(text: str, cases: int) -> None:
    root = ElementTree.fromstring(text.encode())
    for element in root.iter():
        assert element.tag in JUNIT
        assert set(element.attrib) <= ATTRIBUTES
        for written in (element.text or "", *element.attrib.values()):
            check_shown(written)
    assert len(list(root.iter("testcase"))) == cases == int(root.get("tests") or 0)
    assert "<!" not in text.replace("<?xml", "")


def check_spreadsheet(text: str, delimiter: str) -> list[list[str]]:
    check_shown(text.replace("\t", " "))
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    assert len({len(row) for row in rows}) == 1
    for row in rows[1:]:
        for cell in row:
            number = re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", cell)
            assert number or cell.strip()[:1] not in tuple("=+-@＝＋－＠"), cell
    return rows


def check_annotations(lines: list[str]) -> None:
    for line in lines:
        assert re.match(r"::(error|warning|notice) (title|file)=[^:]*::", line), line
        check_shown(line)
        assert "\n" not in line


def check_json(text: str, name: str) -> None:
    """Every name as it is, and nothing that a terminal would obey."""
    check_shown(text)
    (one,) = json.loads(text)["checkpoints"]
    if "tensors" in one and isinstance(one["tensors"], list):
        assert {f"{name}.weight", f"a.{name}"} <= {found["name"] for found in one["tensors"]}


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory):
    """The pages of both commands about harmless names, and of files that cannot be read."""
    folder = tmp_path_factory.mktemp("ordinary")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / ".git").mkdir()
        rules(folder, PLAIN)
        paths = [model(folder, name) for name in (PLAIN, "long" * 200)]
        pages = {command: [run(folder, command, path).files[".html"] for path in paths] for command in ("report", "check")}
        (folder / "page.pt").write_bytes(b"<html>")
        pages["unread"] = [run(folder, "report", "page.pt", "gone.pt").files[".html"]]
        return {name: ordinary_pages(found) for name, found in pages.items()}


@pytest.mark.parametrize("command", ["report", "check"])
@pytest.mark.parametrize("text", TEXTS, ids=short)
def test_hostile_text_is_text_in_every_format(here, ordinary, command, text):
    path = model(here, text)
    rules(here, text)
    told = run(here, command, path)
    assert told.code == (0 if command == "report" else 1), told.err
    check_markdown(parsed(told.files[".md"]))
    check_markdown(parsed(told.summary))
    check_page(told.files[".html"], ordinary[command])
    check_json(told.files[".json"], sane(text))
    check_junit(told.files[".xml"], 8)
    comma, tab = check_spreadsheet(told.files[".csv"], ","), check_spreadsheet(told.files[".tsv"], "\t")
    assert comma == tab
    check_shown(told.out)
    check_shown(told.err)
    said = told.out.splitlines()
    annotations = [line for line in said if line.startswith("::")]
    check_annotations(annotations)
    assert len(annotations) >= 6
    if command == "check":
        assert sum(line.startswith("  ✗ ") for line in said) == 6
        assert "6 of 7 rules failed, 1 met nothing to judge" in said


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "]]>", "a|b", "=1+1", "`x`", "[x](javascript:alert(1))"],
)
def test_the_text_itself_is_there_to_read(here, text):
    """Escaped, not dropped."""
    told = run(here, "report", model(here, text))
    assert any(visible(text) in code for code in parsed(told.files[".md"]).codes)
    assert any(text in "".join(pieces) for tag, _, pieces in Page(told.files[".html"].encode()).elements if tag == "td")
    file = visible(text.replace("/", "_"))
    labels = [cell for row in check_spreadsheet(told.files[".csv"], ",") for cell in row]
    assert any(text in cell for cell in labels)
    suites = ElementTree.fromstring(told.files[".xml"])
    assert suites[0].get("name") == f"{file}.safetensors"


def test_all_hostile_names_in_one_file(here, ordinary):
    names = {f"{number}{sane(text)[:300]}.weight": ("F32", (number + 1,)) for number, text in enumerate(HOSTILE)}
    (here / "all.safetensors").write_bytes(
        safetensors_bytes(names, {f"{number}{sane(text)}": sane(text) for number, text in enumerate(HOSTILE)})
    )
    rules(here, "float32")
    for command in ("report", "check"):
        told = run(here, command, "all.safetensors")
        check_markdown(parsed(told.files[".md"]))
        check_page(told.files[".html"], ordinary[command])
        check_spreadsheet(told.files[".csv"], ",")
        check_junit(told.files[".xml"], 8)
        check_shown(told.out + told.err)


@pytest.mark.parametrize("text", [*NASTY.values(), "w\udfffx", "\ud800\ud800"], ids=short)
def test_names_in_pickles_with_halves_of_characters(here, ordinary, text):
    layer = module("shop.M", {text: parameter(tensor())})
    (here / "model.pt").write_bytes(
        torch_zip_bytes({text: layer, "plain": text, f"{text}.weight": tensor("1", (3,))}, {"0": 24, "1": 12})
    )
    rules(here, "float32")
    for command in ("report", "check"):
        told = run(here, command, "model.pt")
        assert told.code == (0 if command == "report" else 1)
        check_markdown(parsed(told.files[".md"]))
        check_page(told.files[".html"], ordinary[command])
        check_junit(told.files[".xml"], 8)
        check_spreadsheet(told.files[".tsv"], "\t")
        check_shown(told.files[".json"])
        check_shown(told.out + told.err)


@pytest.mark.parametrize(
    "text", [text for text in TEXTS if "/" not in text and "\0" not in text and len(sane(text).encode()) < 200], ids=short
)
def test_hostile_paths_of_files_that_cannot_be_read(here, ordinary, text):
    (here / f"{sane(text)}.pt").write_bytes(b"<html>")
    told = run(here, "report", f"{sane(text)}.pt", sane(text))
    assert told.code == 3
    check_markdown(parsed(told.files[".md"]))
    check_page(told.files[".html"], ordinary["unread"])
    check_junit(told.files[".xml"], 2)
    check_shown(told.out + told.err)
    check_annotations(told.out.splitlines())
    assert [error["path"] for error in json.loads(told.files[".json"])["errors"]] == [sane(text), f"{sane(text)}.pt"]


def test_hostile_changes_since_a_baseline(here, ordinary):
    """What is new, gone and changed has hostile names."""
    for number, text in enumerate(
        ("<script>alert(1)</script>", "\x1b[2J", "a|b", "=1+1", "]]>", "\u202egnp", "::error::x\n::error::y")
    ):
        old = {f"gone{text}.weight": ("F32", (4,)), f"same{text}.weight": ("F32", (4, 2)), "embed.weight": ("F32", (4, 4))}
        new = {f"new{text}.weight": ("F32", (400,)), f"same{text}.weight": ("F16", (8, 2)), "embed.weight": ("F32", (4, 4))}
        (here / "old.safetensors").write_bytes(safetensors_bytes(old, {text: "before"}))
        (here / f"new{number}.safetensors").write_bytes(safetensors_bytes(new, {text: text}))
        (here / "mscope.toml").write_text('max-growth = "1 %"\nmax-parameter-growth = "1 %"\n[modules."*"]\nmax-growth = "1 %"')
        for command in ("report", "check"):
            told = run(here, command, f"new{number}.safetensors", options=("-b", "old.safetensors"))
            assert told.code == (0 if command == "report" else 1)
            check_markdown(parsed(told.files[".md"]))
            check_junit(told.files[".xml"], 4)
            check_spreadsheet(told.files[".csv"], ",")
            check_shown(told.out + told.err)
            check_shown(told.files[".json"])
            elements = Page(told.files[".html"].encode()).elements
            assert not [tag for tag, attributes, _ in elements if any(name.startswith("on") for name in attributes)]
            assert sum(tag == "script" for tag, _, _ in elements) == ordinary[command].counts["script"]
