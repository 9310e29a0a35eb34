"""What `mscope scan` shows to people keeps what matters at every width and in every format: places, whole calls, true words."""

from __future__ import annotations

import gzip
import json
import re

import pytest

from tests.builders.gguf_file import gguf_bytes
from tests.builders.pickle_code import call, instance, pickled
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.samples import SAMPLES
from tests.builders.zip_archive import Entry, zip_bytes
from tests.command import mscope, words

EVIL = pickled([call("posix.system", "a"), call("builtins.getattr", call("os.getenv", "x"), "get")])
TWICE = zip_bytes([Entry("one/data.pkl", EVIL), Entry("two/data.pkl", pickled(instance("shop.models.Net")))])
WIDTHS = (60, 80, 100, 160)
GADGET = "{{ cycler.__init__.__globals__ }}"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def imports_of(out: str) -> str:
    """The table of imports."""
    return out[re.search(r"^Imports ", out, re.M).start() :]


@pytest.mark.parametrize("columns", WIDTHS)
def test_every_import_is_shown_with_its_place(here, columns):
    (here / "good.pt").write_bytes(SAMPLES["state_dict.pt"])
    (report,) = json.loads(mscope("scan", "good.pt", "-f", "json").out)["checkpoints"]
    shown = words(imports_of(mscope("scan", "good.pt", columns=columns).out))
    for item in report["imports"]:
        assert f"byte {item['offset']:,} " in shown
    assert f"bytes are counted from the beginning of {report['imports'][0]['member']}" in shown


@pytest.mark.parametrize("columns", WIDTHS)
def test_members_are_shown_where_there_are_several(here, columns):
    (here / "two.zip").write_bytes(TWICE)
    shown = imports_of(mscope("scan", "two.zip", columns=columns).out)
    assert "bytes are counted" not in shown
    for item in json.loads(mscope("scan", "two.zip", "-f", "json").out)["checkpoints"][0]["imports"]:
        assert item["member"] in shown
        assert re.search(rf"byte {item['offset']:,}\b", shown)


def findings_of(report: dict) -> list[str]:
    return [f"{one['member']} byte {one['offset']:,}".strip() for one in report["findings"]]


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_folder_shows_every_finding_with_its_place(here, columns):
    (here / "set").mkdir()
    (here / "set" / "two.zip").write_bytes(TWICE)
    (here / "set" / "bare.pkl").write_bytes(EVIL)
    (here / "set" / "good.pt").write_bytes(SAMPLES["state_dict.pt"])
    (report,) = json.loads(mscope("scan", "set", "-f", "json").out)["checkpoints"]
    places = findings_of(report)
    assert len(places) >= 6
    texts = [words(mscope("scan", "set", columns=columns).out)]
    if columns == 60:
        texts += [mscope("scan", "set", "-f", "markdown").out]
        mscope("scan", "set", "-o", "out.html")
        texts += [(here / "out.html").read_text()]
    for text in texts:
        for place in places:
            assert place in text
        assert "calls" in text
    assert "mscope scan FILE shows all that a file imports and calls; -f json has it for every file" in texts[0]


def test_of_many_files_the_first_finding_and_how_many_more(here):
    (here / "set").mkdir()
    for number in range(20):
        (here / "set" / f"{number}.pkl").write_bytes(EVIL)
    done = mscope("scan", "set", columns=80)
    assert len(re.findall(r"byte \d+: calls posix.system\('a'\) \(and \d+ more\)", words(done.out))) == 20
    (here / "few").mkdir()
    (here / "few" / "many.pkl").write_bytes(pickled([call(f"posix.f{number}", "a") for number in range(9)]))
    (here / "few" / "good.pt").write_bytes(SAMPLES["state_dict.pt"])
    assert "and 4 more" in mscope("scan", "few", columns=80).out


def test_the_only_file_of_a_folder_is_named(here):
    (here / "set").mkdir()
    (here / "set" / "inner.pkl").write_bytes(EVIL)
    assert re.search(r"^File +set/inner.pkl$", mscope("scan", "set", columns=60).out, re.M)
    assert "`set/inner.pkl`" in mscope("scan", "set", "-f", "markdown").out
    assert not re.search(r"^File ", mscope("scan", "set/inner.pkl").out, re.M)


@pytest.mark.parametrize("columns", range(60, 110, 3))
def test_a_byte_and_its_number_stay_together(here, columns):
    (here / "two.zip").write_bytes(zip_bytes([Entry("archive/extra/readme.txt", EVIL), Entry("b", EVIL)]))
    out = mscope("scan", "two.zip", columns=columns).out
    assert not re.search(r"\bbyte *$|\bbyte {2,}", out, re.M)


def test_several_paths_are_a_list_for_programs(here):
    (here / "a.pkl").write_bytes(EVIL)
    (here / "b.pkl").write_bytes(EVIL)
    (several,) = json.loads(mscope("scan", "a.pkl", "b.pkl", "-f", "json").out)["checkpoints"]
    assert (several["path"], several["paths"]) == (None, ["a.pkl", "b.pkl"])
    (one,) = json.loads(mscope("scan", "a.pkl", "-f", "json").out)["checkpoints"]
    assert (one["path"], one["paths"]) == ("a.pkl", ["a.pkl"])
    assert mscope("scan", "a.pkl", "b.pkl").out.startswith("Path     a.pkl and 1 more\n")


@pytest.mark.parametrize(
    ("name", "data", "words_of_it"),
    [
        (
            "m.gguf",
            gguf_bytes({"w": ("F32", (2,))}, {"tokenizer.chat_template": GADGET}),
            "rendering its chat template can run",
        ),
        ("chat_template.jinja", GADGET.encode(), "rendering its chat template can run what its author wanted"),
        ("cut.safetensors", safetensors_bytes({"w": ("F32", (20,))})[:-40], "it could not be read, or not to its end"),
        ("m.7z", b"7z\xbc\xaf\x27\x1c" + bytes(99), "not all of it could be looked at"),
        ("evil.pkl", EVIL, "loading it can run what its author wanted"),
        ("shop.pkl", pickled(instance("shop.Net")), "loading it may execute what nobody has judged"),
        ("both.zip", zip_bytes([Entry("a.pkl", EVIL), Entry("chat_template.jinja", GADGET.encode())]), "loading it can run"),
        (
            "both.zip",
            zip_bytes([Entry("a.pkl", pickled(instance("shop.Net"))), Entry("b", b"7z\xbc\xaf\x27\x1c" + bytes(99))]),
            "loading it may execute",
        ),
    ],
    ids=["gguf", "jinja", "cut", "7z", "pickle", "unjudged", "pickle and template", "unjudged and unseen"],
)
def test_the_words_of_a_verdict_fit_what_it_rests_on(here, name, data, words_of_it):
    (here / name).write_bytes(data)
    (verdict,) = re.findall(r"^Verdict +(.*)$", mscope("scan", name, columns=160).out, re.M)
    assert words_of_it in verdict
    assert words_of_it in mscope("scan", name, "-f", "markdown").out


def test_what_could_not_be_looked_at_reads_as_a_sentence(here):
    (here / "m.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(99))
    assert "m.7z: not all of it could be looked at: packed with 7-Zip, which is not unpacked here" in mscope("scan", "m.7z").err


def test_members_are_joined_in_one_way(here):
    (here / "m.gz").write_bytes(gzip.compress(gzip.compress(zip_bytes([Entry("a/data.pkl", EVIL)]))))
    (report,) = json.loads(mscope("scan", "m.gz", "-f", "json").out)["checkpoints"]
    assert {item["member"] for item in report["imports"]} == {"unpacked/unpacked/a/data.pkl"}
    whole = SAMPLES["state_dict.pt"]
    behind = pickled(call("torch.storage._load_from_bytes", whole))
    (here / "behind.zip").write_bytes(
        zip_bytes([Entry("m.bin", behind), Entry("chat.json", b'{"chat_template": "{{ a.__class__ }}"}')])
    )
    (report,) = json.loads(mscope("scan", "behind.zip", "-f", "json").out)["checkpoints"]
    members = {row["member"] for table in ("findings", "imports", "templates") for row in report[table]}
    assert any(member.startswith("m.bin/bytes at ") for member in members)
    assert "chat.json/chat_template" in members
    assert not any(":" in member for member in members)


FENCE = re.compile(r"^(`{3,})\n(.*?)\n\1$", re.M | re.S)
TEMPLATE = "```\n# no heading\n````\n{{ bos_token }}{% for message in messages %}\n<script>x</script> @everyone"


def test_a_template_is_a_block_of_markdown_that_it_cannot_end(here):
    (here / "chat_template.jinja").write_text(TEMPLATE)
    (here / "m.gguf").write_bytes(gguf_bytes({"w": ("F32", (2,))}, {"tokenizer.chat_template": "{{ a }}\x1b[2J\r\n::error::x"}))
    text = mscope("scan", "chat_template.jinja", "-f", "markdown").out
    (block,) = FENCE.findall(text)
    assert block == ("`````", TEMPLATE)
    out = mscope("scan", "m.gguf", "-f", "markdown").out
    assert "```\n{{ a }}\\x1b[2J\\r\n:\\:error::x\n```\n" in out
    mscope("scan", "chat_template.jinja", "m.gguf", "-o", "out.html")
    page = (here / "out.html").read_text()
    assert "&lt;script&gt;x&lt;/script&gt; @everyone</pre>" in page
    assert "\x1b" not in page


@pytest.mark.parametrize("columns", [60, 100])
def test_a_template_in_a_terminal_has_its_lines(here, columns):
    (here / "chat_template.jinja").write_text("{% for m in messages %}\n    {{ m }}\n" + "{{ x }}" * 400)
    out = mscope("scan", "chat_template.jinja", columns=columns).out
    assert "\n    {% for m in messages %}\n        {{ m }}\n    {{ x }}{{ x }}" in out
    assert max(map(len, out.splitlines())) <= columns
    assert re.search(r"\n    … and [\d,]+ characters more: -f json has them\n", out)


def test_a_report_keeps_a_call_in_one_piece(here):
    (here / "evil.pkl").write_bytes(EVIL)
    out = mscope("report", "evil.pkl", "-f", "markdown").out
    assert re.search(
        r"^- ❌ `byte \d+`: it calls `builtins.getattr\(os.getenv\('x'\), 'get'\)`: `builtins.getattr` ", out, re.M
    )
    assert re.search(r"^- ❌ `byte \d+`: it calls `posix.system\('a'\)`: `posix.system` starts programs$", out, re.M)


def test_inspect_says_in_a_line_what_is_wrong(here):
    (here / "odd.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (2,))}).replace(b'"F32"', b'"f32"'))
    done = mscope("inspect", "odd.safetensors")
    assert done.code == 3
    assert re.fullmatch(r"mscope: odd.safetensors: dtype 'f32' is not known: [^\n]*\n", done.err)


@pytest.mark.parametrize("name", ["m.npy", "m.npz", "m.keras", "odd.pt"])
def test_inspect_says_that_scan_judges_what_it_does_not_read(here, name):
    from tests.builders.foreign import FOREIGN

    data = next((row[1] for row in FOREIGN if row[2].endswith(name[1:]) and row[0] in ("npy", "npz", "keras-zip")), None)
    (here / name).write_bytes(data or zip_bytes([Entry("archive/data.pkl", EVIL)], count=2))
    done = mscope("inspect", name, columns=200)
    assert done.code == 3
    assert "mscope scan says what loading it can run" in done.err
    (here / "cut.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (2,))})[:-4])
    assert "mscope scan" not in mscope("inspect", "cut.safetensors").err
