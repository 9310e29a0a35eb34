"""Every option of `mscope inspect` does what its help says."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest

from modelscope_cli.analysis.grouping import KEYS, SORTS
from modelscope_cli.core.limits import Limits
from tests.builders.safetensors_file import entry, raw_bytes, safetensors_bytes
from tests.command import CODES, Done, mscope, words
from tests.printed import blocks, rows

pytestmark = pytest.mark.usefixtures("here")
SIZE = 37_519  # of decoder.pth


def table(*options: str, path: str = "decoder.pth", columns: int = 160):
    """The rows of the main table, sizes in bytes."""
    done = mscope("inspect", path, "--unit", "bytes", *options, columns=columns)
    assert (done.code, done.err) == (0, "")
    return rows(blocks(done.out)[1])


def labels(*options: str, path: str = "decoder.pth", level: int = 0) -> list[str]:
    return [row.label for row in table(*options, path=path) if row.level == level]


def refused(done: Done, *said: str) -> None:
    """Wrong usage: exit code 2, nothing on stdout, and the words that help."""
    assert (done.code, done.out) == (2, "")
    for part in said:
        assert part in words(done.err), words(done.err)


# --by -----------------------------------------------------------------------------------------------------------------

FIRST = {
    "module": ["embedding", "decoder.layers.0–2 ×3", "fc"],
    "kind": ["Linear", "MultiheadAttention", "Embedding", "LayerNorm"],
    "dtype": ["float32"],
    "role": ["weight", "bias"],
    "layer": ["embedding", "decoder.layers.0", "decoder.layers.1", "decoder.layers.2", "fc"],
    "shard": ["decoder.pth"],
    "storage": ["0", "1", "2"],
    "tensor": ["embedding.weight", "decoder.layers.0.self_attn.in_proj_weight"],
    "section": ["data"],
}


@pytest.mark.parametrize("key", KEYS)
def test_by_one_key(key):
    found = labels("--by", key)
    assert found[: len(FIRST[key])] == FIRST[key]
    assert found[-1] == "TOTAL"


@pytest.mark.parametrize("second", KEYS)
@pytest.mark.parametrize("first", KEYS)
def test_by_two_keys(first, second):
    found = table("--by", f"{first}, {second}", "-d", "0", "-n", "0")
    assert found[-1].nbytes == SIZE == sum(row.nbytes for row in found[:-1] if row.level == 0)
    assert any(row.level == 1 for row in found)


def test_a_hierarchy_names_its_keys_in_the_heading():
    assert "Role › Dtype" in mscope("inspect", "decoder.pth", "--by", "role,dtype").out


@pytest.mark.parametrize(("typed", "meant"), [("modul", "module"), ("dtypes", "dtype"), ("role,tensr", "tensor")])
def test_a_key_with_a_slip_in_it(typed, meant):
    refused(mscope("inspect", "decoder.pth", "--by", typed), "--by", f"did you mean {meant!r}?", "storage")


@pytest.mark.parametrize("typed", ["", ",", "role,", "colour of the sky"])
def test_a_key_that_is_like_none(typed):
    done = mscope("inspect", "decoder.pth", "--by", typed)
    refused(done, "module, kind, dtype")
    assert "did you mean" not in done.err


# Which rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "levels"), [(("-d", "1"), 1), (("--depth", "2"), 2), (("-d", "0"), 3), (("-d", "9"), 3)])
def test_depth(option, levels):
    assert max(row.level for row in table(*option)) + 1 == levels


def test_the_depth_that_fits_a_page_says_that_there_is_more():
    options = ("--by", "layer,tensor", "-n", "0")
    assert "1 of 2 levels shown; -d 0 shows all" in mscope("inspect", "decoder.pth", *options).out
    assert "levels shown" not in mscope("inspect", "decoder.pth", *options, "-d", "1").out


def test_top_puts_the_rest_into_one_row():
    found = table("--by", "tensor", "-n", "3")
    body = [row for row in found if not row.label.startswith("[")]
    assert [row.label for row in body[3:]] == ["(54 more)", "TOTAL"]
    assert len(table("--by", "tensor", "--top", "0")) == 57 + 5 + 1


def test_top_keeps_the_sections():
    assert [label for label in labels("-n", "1") if label[0] == "["] == [
        "[header]",
        "[pickle]",
        "[record]",
        "[padding]",
        "[directory]",
    ]


@pytest.mark.parametrize(("option", "least"), [("-d", "-1"), ("-n", "-1"), ("-d", "many"), ("-n", "1.5")])
def test_depth_and_top_are_counts(option, least):
    refused(mscope("inspect", "decoder.pth", option, least), option)


def test_sort_by_bytes():
    figures = [row.nbytes for row in table("--by", "tensor", "--sort", "bytes", "-n", "0") if row.label[0] not in "[T"]
    assert figures == sorted(figures, reverse=True)
    assert figures[0] == 1600


def test_sort_by_parameters_and_by_tensors():
    assert labels("--by", "kind", "--sort", "parameters")[0] == "Linear"
    assert labels("--by", "role", "--sort", "tensors", path="training.ckpt")[0] == "optimizer"


def test_sort_by_bytes_sorts_sections_too_when_they_are_the_rows():
    figures = [row.nbytes for row in table("--by", "section", "--sort", "bytes") if row.label != "TOTAL"]
    assert figures == sorted(figures, reverse=True)


def test_sort_by_name_counts_numbers():
    found = labels("--by", "storage", "--sort", "name", "-n", "0")
    assert found[:11] == ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]


@pytest.mark.parametrize("order", SORTS)
def test_reverse_turns_every_order_round_but_leaves_the_sections_last(order):
    def names(*options: str) -> list[str]:
        return [row.label for row in table("--by", "layer", "--sort", order, *options) if row.label[0] != "["]

    there, back = names(), names("--reverse")
    assert there[-1] == back[-1] == "TOTAL"
    assert sorted(there) == sorted(back)
    if order in ("order", "name"):
        assert there[:-1] == back[-2::-1]


def test_an_order_that_is_none():
    refused(mscope("inspect", "decoder.pth", "--sort", "size"), "'size'", "parameters")


# Which tensors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_the_total_stays_the_size_of_the_file_under_a_filter(key):
    found = {row.label: row for row in table("--by", key, "--include", r"norm\d", "-n", "0", "-d", "1")}
    assert found["TOTAL"].nbytes == SIZE
    assert found["[filtered out]"].nbytes == (4378 - 144) * 4
    assert found["[filtered out]"].parameters == 4378 - 144


def test_exclude():
    found = {row.label: row for row in table("--by", "kind", "--exclude", "^decoder")}
    assert set(found) >= {"Embedding", "Linear", "[filtered out]"}
    assert "LayerNorm" not in found
    assert found["[filtered out]"].parameters == 4378 - 850


def test_include_and_exclude_together():
    found = labels("--by", "tensor", "--include", "norm1", "--exclude", "bias|layers.0")
    assert found[:2] == ["decoder.layers.1.norm1.weight", "decoder.layers.2.norm1.weight"]
    assert found[2] == "[header]"


def test_a_filter_that_keeps_all_filters_nothing():
    assert "[filtered out]" not in labels("--include", ".")


def test_a_filter_that_keeps_nothing_is_no_error():
    found = {row.label: row for row in table("--include", "nothing is called so")}
    assert found["[filtered out]"].parameters == found["TOTAL"].parameters == 4378


@pytest.mark.parametrize("option", ["--include", "--exclude"])
def test_a_filter_that_is_no_pattern(option):
    refused(mscope("inspect", "decoder.pth", option, "(oops"), option, "'(oops' is not a regular expression")


def test_no_fold():
    assert labels("--no-fold", level=0)[:3] == ["embedding", "decoder.layers", "fc"]
    assert labels("--no-fold", "-d", "2", level=1) == ["0", "1", "2"]
    assert labels("--fold") == labels()


# Figures ---------------------------------------------------------------------------------------------------------------


def test_units():
    def total(*options: str) -> str:
        out = mscope("inspect", "decoder.pth", *options).out
        return next(line for line in out.splitlines() if line.startswith("TOTAL"))

    assert " 36.6 KiB " in total()
    assert total("--unit", "auto") == total("--unit", "iec") == total()
    assert " 37.5 kB " in total("--unit", "si")
    assert " 37,519 " in total("--unit", "bytes")
    refused(mscope("inspect", "decoder.pth", "--unit", "miles"), "'miles'")


# Formats ---------------------------------------------------------------------------------------------------------------


def test_table_is_the_default():
    assert mscope("inspect", "decoder.pth").out == mscope("inspect", "decoder.pth", "-f", "table").out


def test_tree():
    out = mscope("inspect", "module.pth", "-f", "tree").out
    assert re.match(r"Model\(  # [\d,]+ parameters\n  \(fc\): Linear\(", out)
    assert out.endswith("\n)\n")


def test_a_tree_says_no_parameters_only_where_there_are_none():
    for options in ((), ("--include", "in_proj_weight"), ("--exclude", "weight")):
        assert "no parameters" not in mscope("inspect", "decoder.pth", "-f", "tree", *options).out
    assert "(drop): (no parameters)" in mscope("inspect", "state_dict.pt", "-f", "tree").out


def test_a_tree_does_not_deny_the_parameters_of_a_module_of_no_known_kind(here):
    (here / "strange.safetensors").write_bytes(safetensors_bytes({"a.box.left": ("F32", (2, 3)), "b.weight": ("F32", (2, 2))}))
    out = mscope("inspect", "strange.safetensors", "-f", "tree").out
    assert "# 6" in out
    assert "no parameters" not in out


def test_json():
    done = mscope("inspect", "decoder.pth", "--format", "json")
    document = json.loads(done.out)
    assert document["schema"] == "mscope.inspect/1"
    assert document["errors"] == []
    (found,) = document["checkpoints"]
    assert found["path"] == "decoder.pth"
    assert found["bytes"] == SIZE
    assert found["parameters"] == 4378
    assert len(found["tensors"]) == 57
    assert found["tensors"][0]["name"] == "embedding.weight"
    assert found["tensors"][0]["shape"] == [50, 8]


def test_json_has_every_row_however_few_are_wanted():
    short = json.loads(mscope("inspect", "decoder.pth", "-f", "json", "--by", "tensor", "-n", "1", "-d", "1").out)
    (found,) = short["checkpoints"]
    assert len([row for row in found["groups"] if not row["section"]]) == 57


def test_json_of_a_hierarchy_adds_up():
    (found,) = json.loads(mscope("inspect", "decoder.pth", "-f", "json", "--by", "role,dtype").out)["checkpoints"]
    *body, total = found["groups"]
    assert sum(row["bytes"] for row in body if row["depth"] == 0) == total["bytes"] == SIZE


def test_a_format_that_is_none():
    refused(mscope("inspect", "decoder.pth", "-f", "yaml"), "'yaml'", "json")


# Output file -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["table", "tree", "json"])
def test_output_is_what_stdout_would_have_got(here, format):
    shown = mscope("inspect", "decoder.pth", "-f", format)
    done = mscope("inspect", "decoder.pth", "-f", format, "-o", "report.out")
    assert done == Done(0, "", "")
    assert (here / "report.out").read_text(encoding="utf-8") == shown.out


def test_output_replaces_a_file_and_leaves_nothing_beside_it(here):
    before = {path.name for path in here.iterdir()}
    (here / "report.json").write_text("old and much longer " * 10_000)
    assert mscope("inspect", "plain.safetensors", "-f", "json", "-o", "report.json").code == 0
    json.loads((here / "report.json").read_text(encoding="utf-8"))
    assert {path.name for path in here.iterdir()} == before | {"report.json"}


@pytest.mark.skipif(sys.platform == "win32", reason="permission bits")
def test_output_obeys_the_mask(here):
    before = os.umask(0o027)
    try:
        mscope("inspect", "decoder.pth", "-o", "report.txt")
    finally:
        os.umask(before)
    assert (here / "report.txt").stat().st_mode & 0o777 == 0o640


def test_a_dash_is_stdout(here):
    for format in ("table", "json"):
        assert mscope("inspect", "decoder.pth", "-f", format, "-o", "-") == mscope("inspect", "decoder.pth", "-f", format)
    assert not (here / "-").exists()


@pytest.mark.parametrize("format", ["table", "json"])
@pytest.mark.parametrize("output", ["missing/report", "decoder.pth/report", "set"])
def test_output_that_cannot_be_written(here, format, output):
    before = sorted(path.name for path in here.rglob("*"))
    done = mscope("inspect", "decoder.pth", "-f", format, "-o", output)
    assert (done.code, done.out) == (3, "")
    assert re.fullmatch(rf"mscope: {output}: cannot be written: .+\n", done.err)
    assert sorted(path.name for path in here.rglob("*")) == before


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_written_to(here):
    (here / "set").chmod(0o500)
    done = mscope("inspect", "decoder.pth", "-o", "set/report")
    (here / "set").chmod(0o700)
    assert (done.code, done.err) == (3, "mscope: set/report: cannot be written: permission denied\n")


def test_output_of_what_could_be_read_beside_what_could_not(here):
    done = mscope("inspect", "decoder.pth", "gone.pt", "-f", "json", "-o", "report.json")
    assert (done.code, done.out) == (3, "")
    document = json.loads((here / "report.json").read_text(encoding="utf-8"))
    assert [found["path"] for found in document["checkpoints"]] == ["decoder.pth"]
    assert [error["path"] for error in document["errors"]] == ["gone.pt"]


# Colours ---------------------------------------------------------------------------------------------------------------


def test_colours_only_when_asked_or_on_a_terminal():
    assert not CODES.search(mscope("inspect", "decoder.pth").out)
    assert not CODES.search(mscope("inspect", "decoder.pth", "--color", "never").out)
    assert CODES.search(mscope("inspect", "decoder.pth", "--color", "always").out)


def test_colours_change_nothing_else():
    plain, coloured = (mscope("inspect", "decoder.pth", "--color", when).out for when in ("never", "always"))
    assert [line.rstrip() for line in CODES.sub("", coloured).split("\n")] == [line.rstrip() for line in plain.split("\n")]


def test_no_color_is_obeyed_unless_colours_are_asked_for_here_and_now():
    assert not CODES.search(mscope("inspect", "decoder.pth", NO_COLOR="1").out)
    assert CODES.search(mscope("inspect", "decoder.pth", "--color", "always", NO_COLOR="1").out)


def test_colours_in_an_output_file_only_when_asked(here):
    mscope("inspect", "decoder.pth", "-o", "plain.txt")
    mscope("inspect", "decoder.pth", "--color", "always", "-o", "coloured.txt")
    assert not CODES.search((here / "plain.txt").read_text(encoding="utf-8"))
    assert CODES.search((here / "coloured.txt").read_text(encoding="utf-8"))


# Reading ---------------------------------------------------------------------------------------------------------------


def test_only_takes_a_shard_by_itself():
    shard = "set/model-00001-of-00002.safetensors"
    assert "56  in 2 tensors" in mscope("inspect", shard, "--only").out
    assert "76  in 4 tensors" in mscope("inspect", shard).out


def test_lenient_shows_what_can_be_shown_and_still_fails(here):
    header = {"a": entry("F32", (2,), 0, 8), "b": entry("F32", (4,), 8, 24)}
    (here / "cut.safetensors").write_bytes(raw_bytes(header, 16))
    strict = mscope("inspect", "cut.safetensors")
    assert (strict.code, strict.out) == (3, "")
    lenient = mscope("inspect", "cut.safetensors", "--lenient")
    assert lenient.code == 3
    assert "TOTAL" in lenient.out
    assert "✗" in lenient.out


def test_limit():
    low = mscope("inspect", "plain.safetensors", "--limit", "header_bytes=10")
    assert low.code == 3
    assert re.fullmatch(
        r"mscope: plain.safetensors: header bytes: [\d,]+ found, the limit is 10.* --limit header_bytes=VALUE\n", low.err
    )
    assert mscope("inspect", "plain.safetensors", "--limit", "header_bytes=100_000", "--limit", "tensors=5").code == 0
    assert mscope("inspect", "plain.safetensors", "--limit", "tensors=4").code == 3


WRONG_LIMITS = [
    "header=10",
    "=10",
    "tensors",
    "tensors=",
    "tensors=-1",
    "tensors=many",
    "tensors=1e3",
    "Tensors=5",
    "tensors=²",
]


@pytest.mark.parametrize("wrong", WRONG_LIMITS)
def test_a_limit_that_is_none(wrong):
    done = mscope("inspect", "plain.safetensors", "--limit", wrong)
    refused(done, "--limit")
    if wrong.partition("=")[0] not in Limits._fields:
        for name in Limits._fields:
            assert name in words(done.err)


def test_an_unknown_option_names_the_nearest():
    refused(mscope("inspect", "decoder.pth", "--dept", "2"), "--depth")
