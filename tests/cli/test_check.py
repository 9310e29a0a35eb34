"""`mscope check`: exit codes and what comes first, where rules come from, what is said of what is wrong."""

from __future__ import annotations

import json
import re

import pytest

from modelscope_cli.checks.registry import NAMES, RULES
from tests.builders.safetensors_file import safetensors_bytes
from tests.command import mscope, process, words
from tests.judged import weights

BIG, SMALL = ("--max-size", "1 GB"), ("--max-size", "1 kB")


@pytest.fixture(autouse=True)
def fenced(here):
    """No mscope.toml above the folder counts. broken.pth ends early, old.safetensors is smaller than new.safetensors."""
    (here / ".git").mkdir()
    (here / "broken.pth").write_bytes((here / "decoder.pth").read_bytes()[:2000])
    (here / "old.safetensors").write_bytes(weights({"a.weight": (100,)}))
    (here / "new.safetensors").write_bytes(weights({"a.weight": (100,), "b.weight": (10,)}))
    (here / "wrong.toml").write_text("max-siz = 5")


def check(*arguments: object, code: int = 0, **environment: str):
    done = mscope("check", *arguments, **environment)
    assert done.code == code, done
    return done


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (0, ("decoder.pth", *BIG)), (0, ("decoder.pth", "set", *BIG)), (0, ("set", *BIG)), (0, ("decoder.pth", "--max-share", "nothing=5%")),
        (0, ("new.safetensors", "-b", "old.safetensors", "--max-growth", "1 kB")),
        (1, ("decoder.pth", *SMALL)), (1, ("set", "decoder.pth", *SMALL)), (1, ("decoder.pth", "--max-share", "nothing=5%", "--strict")),
        (1, ("new.safetensors", "-b", "old.safetensors", "--max-growth", "1 B")), (1, ("decoder.pth", "--forbid-pickle", *BIG)),
        (2, ("decoder.pth",)), (2, ()), (2, ("decoder.pth", "--max-size", "500 M")), (2, ("decoder.pth", "--max-sizes", "5")),
        (2, ("decoder.pth", "--max-size")), (2, ("decoder.pth", "--max-share", "=5%")), (2, ("decoder.pth", "--max-share", "a..b=5%")),
        (2, ("decoder.pth", "-c", "wrong.toml")), (2, ("decoder.pth", "--max-growth", "5%")), (2, ("decoder.pth", *BIG, "-f", "pdf")),
        (2, ("decoder.pth", *BIG, "--limit", "sky=5")), (2, ("decoder.pth", "new.safetensors", "-b", "old.safetensors", *BIG)),
        (2, (".", "-b", "old.safetensors", *BIG)), (2, ("decoder.pth", *BIG, "-o", "")), (2, ("decoder.pth", *BIG, "-o", "-", "-o", "-")),
        (2, ("decoder.pth", *BIG, "-o", "decoder.pth")), (2, ("decoder.pth", "--require-format", " ")),
        (3, ("gone.pth", *BIG)), (3, ("broken.pth", *BIG)), (3, ("decoder.pth", *BIG, "--limit", "tensors=3")), (3, ("decoder.pth", "-c", "gone.toml")),
        (3, ("decoder.pth", "-b", "gone.json", "--max-growth", "5%")), (3, ("decoder.pth", "-b", "broken.pth", "--max-growth", "5%")),
        (3, ("decoder.pth", *BIG, "-o", "gone/out.json")), (3, (".", *BIG)),
        # what is broken weighs more than what could not be read or written, wrong usage more than either
        (1, ("decoder.pth", "gone.pth", *SMALL)), (1, ("broken.pth", "decoder.pth", *SMALL)), (1, ("decoder.pth", *SMALL, "-o", "gone/out.json")),
        (1, ("decoder.pth", "-b", "gone.json", *SMALL)), (2, ("decoder.pth", "gone.pth", *SMALL, "--max-share", "x")), (2, ("decoder.pth", "gone.pth")),
    ],
)  # fmt: skip
def test_exit_codes(code, arguments):
    done = check(*arguments, code=code)
    assert bool(done.err) is (code in (2, 3) or any(name.startswith(("gone", "broken")) for name in arguments))
    assert (code == 2) <= (done.out == "")


def test_wrong_usage_reads_nothing(monkeypatch):
    read = []
    monkeypatch.setattr("modelscope_cli.formats.registry.read_window", lambda window, *_, **__: read.append(window.name))
    check("decoder.pth", *SMALL, "--max-share", "45", code=2)
    check("decoder.pth", code=2)
    assert read == []


def test_the_table_says_every_rule_and_the_failed_first():
    done = check("decoder.pth", *SMALL, "--max-parameters", "5 k", "--max-share", "embeding=5%", code=1)
    lines = done.out.splitlines()
    begin = lines.index("Checks")
    assert re.match(
        r"  ✗ max-size +37\.5 kB, 36\.5 kB above 1\.0 kB; the largest are decoder\.layers\.0–2 ×3 14\.1 kB", lines[begin + 1]
    )
    rest = "\n".join(lines[begin + 2 :])
    assert rest.index("! max-share embeding") < rest.index("did you mean 'embedding'?") < rest.index("✓ max-parameters")
    assert lines[-1] == "1 of 3 rules failed, 1 met nothing to judge"
    assert done.err == ""


def test_a_pass_says_so():
    assert check("decoder.pth", *BIG).out.endswith("1 rule passed\n")


def test_without_a_rule_nothing_passes_unless_asked_to():
    assert "there is no rule for decoder.pth" in words(check("decoder.pth", code=2).err)
    assert "mscope init decoder.pth" in words(check("decoder.pth", code=2).err)
    assert check("decoder.pth", "--allow-none").err == "mscope: decoder.pth: there is no rule, so nothing was checked\n"


def test_one_file_that_cannot_be_read_does_not_lose_the_others():
    done = check("gone.pth", "decoder.pth", "broken.pth", "set", *BIG, code=3)
    assert done.out.count("1 rule passed") == 2
    assert [line.split(": ")[1] for line in done.err.splitlines()] == ["gone.pth", "broken.pth"]
    document = json.loads(check("gone.pth", "decoder.pth", "broken.pth", "set", "--max-size", "100", "-f", "json", code=1).out)
    assert [one["passed"] for one in document["checkpoints"]] == [False, False]
    assert [error["path"] for error in document["errors"]] == ["gone.pth", "broken.pth"]


def test_one_bad_file_in_a_folder_does_not_lose_the_others(here):
    (here / "set" / "other.pt").write_bytes(b"")
    (here / "set" / "third.safetensors").write_bytes(weights({"w": (1,)}))
    done = check("set", *BIG, "-f", "json", code=3)
    document = json.loads(done.out)
    assert len(document["checkpoints"]) == 2
    assert [error["path"] for error in document["errors"]] == ["set/other.pt"]


def test_flags_for_modules():
    done = check(
        "decoder.pth", "--max-share", "embedding=1%", "--max-share", "fc=2%", "--max-share", "90%", "-f", "json", code=1
    )
    (one,) = json.loads(done.out)["checkpoints"]
    assert {(found["rule"], found["target"], found["status"]) for found in one["checks"]} == {
        ("max-share", "embedding", "failed"), ("max-share", "fc", "failed"), ("max-share", "", "passed"),
    }  # fmt: skip


def test_a_flag_given_twice_adds_words_and_replaces_a_limit():
    check("plain.safetensors", "--require-metadata", "format", "--require-metadata", "license", code=1)
    for dtypes in (("int8", "float32"), ("float32", "int8")):
        check("decoder.pth", "--allowed-dtypes", dtypes[0], "--allowed-dtypes", dtypes[1])
    check("decoder.pth", *SMALL, *BIG)
    check("decoder.pth", *BIG, *SMALL, code=1)
    check("decoder.pth", "--max-size", "fc=1 kB", *BIG, "--max-size", "fc=1 MB")


def test_a_pattern_may_have_an_equals_sign(here):
    (here / "odd.safetensors").write_bytes(weights({"a=b.weight": (3,)}))
    assert "a=b has 100.0 %" in check("odd.safetensors", "--max-share", "a=b=5%", code=1).out


def test_flags_come_over_the_file(here):
    (here / "mscope.toml").write_text('max-size = "1 kB"\n[modules.fc]\nmax-share = "1 %"')
    check("decoder.pth", code=1)
    check("decoder.pth", *BIG, code=1)
    check("decoder.pth", *BIG, "--max-share", "fc=50%")
    (here / "other.toml").write_text('max-size = "1 GB"')
    check("decoder.pth", "-c", "other.toml")


def test_the_file_of_a_folder_above_counts(here, monkeypatch):
    (here / "mscope.toml").write_text("max-size = 5")
    monkeypatch.chdir(here / "set")
    check(".", code=1)


def test_a_pyproject(here):
    (here / "pyproject.toml").write_text("[tool.modelscope-cli]\nmax-size = 5")
    check("decoder.pth", code=1)
    check("decoder.pth", "--config", "pyproject.toml", code=1)


def test_without_a_path_the_files_of_the_configuration_are_checked(here):
    assert "in [models] of mscope.toml" in words(check(code=2).err)
    (here / "mscope.toml").write_text('[models."*.safetensors"]\nmax-size = 600\n[models."set"]\nmax-size = 1')
    done = check("-f", "json", code=1)
    found = {one["path"]: one["passed"] for one in json.loads(done.out)["checkpoints"]}
    assert found == {
        "new.safetensors": True,
        "old.safetensors": True,
        "plain.safetensors": True,
        "set/model.safetensors": False,
    }
    (here / "mscope.toml").write_text('[models."*.none"]\nmax-size = 1')
    assert "[models] in mscope.toml finds none" in words(check(code=2).err)
    (here / "mscope.toml").write_text('[models."renamed.pth"]\nmax-size = 1\n[models."decoder.pth"]\nmax-size = "1 GB"')
    assert "mscope: renamed.pth: no such file or folder\n" in check(code=3).err


def test_each_file_may_have_a_baseline_of_its_own(here):
    (here / "mscope.toml").write_text(
        'max-growth = "0 %"\nbaseline = "old.safetensors"\n[models."decoder.pth"]\nbaseline = "decoder.pth"'
    )
    check("decoder.pth")
    check("old.safetensors", "decoder.pth")
    done = check("new.safetensors", "decoder.pth", code=1)
    assert done.out.count("did not grow") == 1
    assert "grew by" in done.out


def test_a_baseline_that_is_missing_says_how_to_make_one():
    done = check("decoder.pth", "-b", "gone.json", "--max-growth", "5%", code=3)
    assert done.err == "mscope: gone.json: no such file or folder - mscope baseline save PATH -o gone.json makes one\n"
    done = check("decoder.pth", "--max-growth", "5%", code=2)
    assert "max-growth needs something to compare with: --baseline FILE" in words(done.err)


def test_a_baseline_of_the_command_itself(here):
    assert mscope("baseline", "save", "decoder.pth").code == 0
    done = check("decoder.pth", "-b", "decoder.baseline.json", "--max-growth", "0 %", "--max-parameter-growth", "0")
    assert done.out.count("did not grow") == 2
    check("new.safetensors", "-b", "decoder.baseline.json", "--max-growth", "0 %")
    assert "grew by" in check("decoder.pth", "-b", "old.safetensors", "--max-growth", "0 %", code=1).out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max-siz = 5", "there is no rule 'max-siz'; did you mean 'max-size'?"), ("[modules.a]\nmax-shar = 5", "did you mean 'max-share'?"),
        ("max-size = '500 M'", "write MB or MiB"), ("max-size", "is not TOML"), ("max-size = " + "1" * 5000, "is not TOML"),
        ("max-growth = '5 %'", "mscope.toml: max-growth needs something to compare with"),
    ],
)  # fmt: skip
def test_a_wrong_configuration_is_wrong_usage(here, text, said):
    (here / "mscope.toml").write_text(text)
    done = check("decoder.pth", *BIG, code=2)
    assert said in words(done.err)
    assert "mscope.toml" in words(done.err)


def test_hostile_keys_of_a_configuration_are_shown_not_sent(here):
    for text in ('"\\u001b[2J\\u202e" = 5', '[modules."\\u001b[2J\\u202e"]\nfoo = 5', '[modules."\\u001b[2J\\u202e"]\nmax-size = "5 M"', "max-size = '\x1b[2J'",
                 'max-size = "\\u001b[2J\\u202e"', 'baseline = ["\\u001b[2J\\u202e"]', '[models."\\u001b[2J\\u202e"]\nfoo = 5'):  # fmt: skip
        (here / "mscope.toml").write_text(text)
        done = check("decoder.pth", *BIG, code=2)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", done.err), text


def test_a_hostile_name_of_a_configuration_is_shown_not_sent(here):
    for name in ("\x1b[2J\u202e.toml", "a\n::error::x.toml"):
        (here / name).write_text("max-siz = 5")
        done = check("decoder.pth", "-c", name, code=2)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]|^::", done.err, re.MULTILINE)


@pytest.mark.parametrize("flag", ["--max-siz", "--forbid-pickel"])
def test_an_unknown_flag_names_the_nearest(flag):
    done = check("decoder.pth", flag, "5", code=2)
    assert re.search(r"--max-size|--forbid-pickle", words(done.err))


def test_list_rules_lists_every_rule():
    done = check("--list-rules")
    assert done.err == ""
    for rule in RULES:
        assert re.search(rf"^  {rule.name} +{re.escape(rule.summary)}$", done.out, re.MULTILINE)
        assert f"{rule.name} = {rule.example}   about " in done.out
    assert done.out.count("; needs a baseline") == sum(rule.needs_baseline for rule in RULES)
    assert check("gone.pth", "--list-rules").out == done.out


@pytest.mark.parametrize("columns", [80, 120])
def test_help_shows_every_rule_and_option(columns):
    text = words(check("--help", columns=columns).out)
    options = (
        "--config",
        "--baseline",
        "--strict",
        "--allow-none",
        "--list-rules",
        "--format",
        "--output",
        "--github",
        "--color",
        "--only",
        "--limit",
    )
    for option in (*(f"--{name}" for name in NAMES), *options):
        assert option in text
    for said in ("Exit codes: 0 all passed, 1 a rule failed", "[tool.modelscope-cli]", "[MODULE=]VALUE", "Examples:"):
        assert said in text


def test_colours_only_where_they_are_wanted():
    for environment, options, coloured in (({}, (), False), ({}, ("--color", "always"), True), ({"NO_COLOR": "1"}, (), False)):
        done = process("check", "decoder.pth", *SMALL, *options, env=environment)
        assert done.returncode == 1
        assert ("\x1b[" in done.stdout) is coloured


def test_an_encoding_without_our_letters():
    done = process("check", "decoder.pth", *SMALL, encoding="ascii")
    assert done.returncode == 1
    assert done.stdout.isascii()
    assert "x max-size" in done.stdout


def test_a_duplicate_path_is_checked_once():
    assert check("set", "set/model.safetensors.index.json", "./set", *BIG).out.count("1 rule passed") == 1


def test_a_shard_by_itself():
    shard = "set/model-00001-of-00002.safetensors"
    whole, part = (json.loads(check(shard, *BIG, "-f", "json", *only).out)["checkpoints"][0] for only in ((), ("--only",)))
    assert part["parameters"] < whole["parameters"]


def test_a_set_of_which_a_shard_is_damaged_never_passes(here):
    shard = here / "set" / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:40])
    done = check("set", *BIG, code=3)
    assert "✓ max-size" in done.out
    assert "model-00002-of-00002.safetensors" in done.out[done.out.index("Findings") :]
    assert json.loads(check("set", *BIG, "-f", "json", code=3).out)["checkpoints"][0]["findings"][0]["severity"] == "error"
    check("set", *SMALL, code=3)
    shard.unlink()
    check("set", *BIG, code=3)


def test_nothing_is_measured_against_a_damaged_baseline(here):
    shard = here / "set" / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:40])
    done = check("decoder.pth", "-b", "set", "--max-growth", "1000 %", code=3)
    assert "set/model.safetensors: not whole, so nothing can be measured against it" in done.err
    assert done.out == ""


def test_a_dtype_that_is_not_known_is_told(here):
    (here / "odd.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (1,))}).replace(b'"F32"', b'"F9z"'))
    assert "F9z" in check("odd.safetensors", *BIG, code=3).out.partition("Findings")[2]
