"""mscope.toml and pyproject.toml: which one counts, what it says of which file, and what a slip in it is told."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_cli.checks.registry import NAMES, RULES
from modelscope_cli.checks.settings import LARGEST, Settings, find_settings, read_settings, settings_of
from modelscope_cli.errors import ModelscopeError, SettingsError, SourceError
from modelscope_cli.report.document import Bytes


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of its own, beyond which nothing is looked for."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(text: str, path: str = "mscope.toml") -> Settings:
    Path(path).write_text(text, encoding="utf-8")
    found = read_settings(path)
    assert found is not None
    return found


def limits(found: Settings) -> dict[str, object]:
    """What is asked: rule, or rule of pattern → value."""
    return {f"{demand.rule.name} {demand.target}".rstrip(): demand.value for demand in found.demands}


def refused(text: str, path: str = "mscope.toml") -> str:
    """The message for a configuration that is not understood."""
    Path(path).write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        read_settings(path)
    assert caught.value.path == path
    assert len(caught.value.message) < 600
    return caught.value.message


def test_every_key_of_a_file(here):
    found = written(
        """
        baseline = "base.json"
        strict = true
        max-size = "500 MB"
        forbid-waste = true
        forbid-pickle = false
        [modules."decoder.layers.*"]
        max-parameters = "4.3 M"
        max-size = 100
        [modules.embedding]
        max-share = 0.45
        [models."weights/*.pth"]
        max-size = "200 MB"
        baseline = "weights/base.json"
        modules.embedding.max-share = "40 %"
        """
    )
    assert (found.baseline, found.strict, found.origin, found.folder) == ("base.json", True, "mscope.toml", str(here))
    everywhere = {
        "max-size": 500_000_000, "forbid-waste": True, "max-parameters decoder.layers.*": 4_300_000, "max-size decoder.layers.*": 100,
        "max-share embedding": 0.45,
    }  # fmt: skip
    assert limits(found.for_paths(["other.pth"])) == everywhere
    mine = found.for_paths(["weights/a.pth"])
    assert (mine.baseline, mine.strict) == (os.path.join("weights", "base.json"), True)
    assert limits(mine) == everywhere | {"max-size": 200_000_000, "max-share embedding": 0.4}
    assert all(demand.origin == "mscope.toml" for demand in mine.demands)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_example_of_every_rule_is_one(here, rule):
    (demand,) = written(f"{rule.name} = {rule.example}").demands
    assert demand.rule is rule
    assert demand.value


def test_an_empty_file_asks_nothing(here):
    assert written("").demands == ()


def test_sizes_come_through_as_they_were_meant(here):
    assert type(written("max-size = 5")[2][0].value) is Bytes


# Which file counts


def test_mscope_toml_comes_before_pyproject_toml(here):
    Path("pyproject.toml").write_text("[tool.modelscope-cli]\nmax-size = 1\n")
    assert limits(find_settings()) == {"max-size": 1}
    Path("mscope.toml").write_text("max-size = 2\n")
    assert limits(find_settings()) == {"max-size": 2}


def test_the_nearest_folder_upwards_counts(here, monkeypatch):
    inner = here / "a" / "b" / "c"
    inner.mkdir(parents=True)
    (here / "mscope.toml").write_text('max-size = 1\nbaseline = "base.json"')
    monkeypatch.chdir(inner)
    found = find_settings()
    assert limits(found) == {"max-size": 1}
    assert found.origin == os.path.join("..", "..", "..", "mscope.toml")
    assert found.baseline == os.path.join("..", "..", "..", "base.json")
    (here / "a" / "pyproject.toml").write_text("[tool.modelscope-cli]\nmax-size = 3\n")
    assert limits(find_settings()) == {"max-size": 3}
    (here / "a" / "b" / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
    assert limits(find_settings()) == {"max-size": 3}
    (here / "a" / "b" / "mscope.toml").write_text("")
    assert find_settings() == Settings(os.path.join("..", "mscope.toml"), str(here / "a" / "b"))


def test_nothing_is_looked_for_beyond_the_repository(here, monkeypatch):
    (here / "mscope.toml").write_text("max-size = 1")
    (here / "inner").mkdir()
    (here / "inner" / ".git").write_text("gitdir: elsewhere")
    monkeypatch.chdir(here / "inner")
    assert find_settings() == Settings()


def test_without_any_there_are_none(here):
    assert find_settings() == Settings()
    assert find_settings().for_paths(["any.pth"]).demands == ()


def test_a_folder_called_like_the_file_is_none(here):
    Path("mscope.toml").mkdir()
    assert find_settings() == Settings()


def test_a_pyproject_without_our_table(here):
    for text in ("", "[tool.ruff]\n", "tool = 1\n", "[project]\nname = 'x'\n"):
        Path("pyproject.toml").write_text(text)
        assert find_settings() == Settings()
        assert read_settings("pyproject.toml", required=False) is None
        assert "has no table [tool.modelscope-cli]" in refused(text, "pyproject.toml")


def test_a_broken_pyproject_matters_only_where_it_speaks_of_us(here):
    Path("pyproject.toml").write_text("[tool.ruff\n")
    assert find_settings() == Settings()
    Path("pyproject.toml").write_text("[tool.modelscope-cli]\nmax-size =\n")
    with pytest.raises(SettingsError, match="is not TOML"):
        find_settings()


def test_a_table_that_is_none(here):
    assert "is not a table" in refused("[tool]\nmodelscope-cli = 5", "pyproject.toml")


@pytest.mark.parametrize("path", ["gone.toml", ".", "gone/mscope.toml", "a\0b", "x" * 5000])
def test_a_file_that_cannot_be_read(here, path):
    with pytest.raises(SourceError, match="cannot be read"):
        read_settings(path)


# Which rules are about which file


FITS = {
    "model.pth": {"model.pth"},
    "./model.pth": {"model.pth"},
    "*.pth": {"model.pth", "b.pth", "[ab].pth", "a+.pth"},
    "mod?l.pth": {"model.pth"},
    "weights": {"weights/a.pth", "weights/b.safetensors"},
    "weights/": {"weights/a.pth", "weights/b.safetensors"},
    "weights/*": {"weights/a.pth", "weights/b.safetensors", "weights/deep/c.pth"},
    "weights/*.pth": {"weights/a.pth"},
    "**/*.pth": {"model.pth", "b.pth", "[ab].pth", "a+.pth", "weights/a.pth", "weights/deep/c.pth", "weights/deep/more/d.pth"},
    "weights/**/*.pth": {"weights/a.pth", "weights/deep/c.pth", "weights/deep/more/d.pth"},
    "weights/**": {"weights/a.pth", "weights/b.safetensors", "weights/deep/c.pth", "weights/deep/more/d.pth"},
    "**/more/*": {"weights/deep/more/d.pth"},
    "../outside.pth": {"../outside.pth"},
    "../*.pth": {"../outside.pth"},
    "[ab].pth": {"[ab].pth"},
    "a+.pth": {"a+.pth"},
    ".pth": set(),
    "model": set(),
    "MODEL.pth": set(),
}
CANDIDATES = set[str]().union(*FITS.values())


@pytest.mark.parametrize(("pattern", "paths"), FITS.items())
def test_which_files_a_pattern_is_about(here, pattern, paths):
    found = settings_of({"models": {pattern: {"max-size": 1}}}, "mscope.toml", str(here))
    for spelt in (lambda path: path, lambda path: f"./{path}", lambda path: f"x/../{path}", lambda path: str(here / path)):
        assert {path for path in CANDIDATES if found.for_paths([spelt(path)]).demands} == paths


def test_a_pattern_is_relative_to_its_file_wherever_we_are(here, monkeypatch):
    found = written('[models."weights/*.pth"]\nmax-size = 1')
    (here / "weights").mkdir()
    monkeypatch.chdir(here / "weights")
    assert found.for_paths(["a.pth"]).demands
    assert not found.for_paths(["weights/a.pth"]).demands
    assert found.for_paths([str(here / "weights" / "a.pth")]).demands


def test_later_patterns_come_over_earlier_ones(here):
    found = written('[models."*.pth"]\nmax-size = 1\nmax-parameters = 9\n[models."a.*"]\nmax-size = 2')
    assert limits(found.for_paths(["a.pth"])) == {"max-size": 2, "max-parameters": 9}
    assert limits(found.for_paths(["b.pth"])) == {"max-size": 1, "max-parameters": 9}


def test_a_file_may_be_let_off_a_switch(here):
    found = written('forbid-pickle = true\nforbid-waste = true\n[models."old.pth"]\nforbid-pickle = false')
    assert limits(found.for_paths(["new.pth"])) == {"forbid-pickle": True, "forbid-waste": True}
    assert limits(found.for_paths(["old.pth"])) == {"forbid-waste": True}


def test_over_replaces_the_same_rule_of_the_same_module_only():
    first = settings_of({"max-size": 1, "max-parameters": 2, "modules": {"a": {"max-size": 3}}, "baseline": "x"}, "", ".")
    second = settings_of({"max-size": 10, "modules": {"b": {"max-size": 30}}, "strict": True}, "", ".")
    both = first.over(second)
    assert limits(both) == {"max-size": 10, "max-parameters": 2, "max-size a": 3, "max-size b": 30}
    assert (both.baseline, both.strict) == ("x", True)
    assert second.over(first).baseline == "x"
    assert first.over(second._replace(baseline="y")).baseline == "y"
    assert limits(first) == {"max-size": 1, "max-parameters": 2, "max-size a": 3}


def test_the_files_that_patterns_find(here, monkeypatch):
    for path in ("a.pth", "b.pth", "weights/c.pth", "weights/deep/d.pth", "[x].pth", "x.pth"):
        (here / path).parent.mkdir(parents=True, exist_ok=True)
        (here / path).write_bytes(b"")

    def found(*patterns: str) -> list[str]:
        return settings_of({"models": {pattern: {} for pattern in patterns}}, "mscope.toml", str(here)).paths()[0]

    assert found() == []
    assert found("*.pth") == ["[x].pth", "a.pth", "b.pth", "x.pth"]
    assert found("b.pth", "*.pth", "a.pth") == ["b.pth", "[x].pth", "a.pth", "x.pth"]
    assert found("weights/**/*.pth") == ["weights/c.pth", "weights/deep/d.pth"]
    assert found("[x].pth") == ["[x].pth"]
    assert found("./a.pth") == ["a.pth"]
    assert found("*.none") == []
    assert found("gone.pth", "a.pth") == ["gone.pth", "a.pth"], "a model that was asked for is missed when it is gone"
    monkeypatch.chdir(here / "weights")
    assert found("*.pth") == ["../[x].pth", "../a.pth", "../b.pth", "../x.pth"]


# Slips


@pytest.mark.parametrize(
    ("key", "hint"),
    [("max-sizes", "max-size"), ("max_size", "max-size"), ("MAX-SIZE", "max-size"), ("forbid-pickel", "forbid-pickle"),
     ("module", "modules"), ("base-line", "baseline")],
)  # fmt: skip
def test_an_unknown_rule_names_the_nearest(here, key, hint):
    assert refused(f"{key} = 5") == f"there is no rule {key!r}; did you mean {hint!r}?"


def test_an_unknown_rule_near_none_is_told_all(here):
    said = refused("zzz = 5")
    assert all(name in said for name in NAMES)


def test_an_unknown_rule_of_a_module_or_model(here):
    assert "did you mean 'max-share'?" in refused('[modules."a.b"]\nmax-shar = 5')
    assert "a.b" in refused('[modules."a.b"]\nmax-shar = 5')
    assert "did you mean 'max-share'?" in refused('[models."a.pth"]\nmax-shar = 5')
    assert "there is no rule 'models'; did you mean 'modules'?" in refused('[models."a.pth".models."b"]\nmax-size = 5')


@pytest.mark.parametrize("rule", [rule for rule in RULES if "a module" not in rule.scopes], ids=lambda rule: rule.name)
def test_a_rule_about_the_whole_is_not_about_a_module(here, rule):
    assert "is about the whole model only" in refused(f"[modules.embedding]\n{rule.name} = {rule.example}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('max-size = "500 M"', "max-size: '500 M' may mean 1000s or 1024s: write MB or MiB"), ("max-size = true", "max-size: True is not understood"),
        ("max-size = [1]", "max-size: [1] is not understood"), ("max-size = 1979-05-27", "is not understood"), ("max-size = nan", "nan is not understood"),
        ("max-size = 5e8", "500000000.0 is not understood"), ("max-size = -1", "-1 is out of range"), ("max-size = {a = 1}", "is not understood"),
        ("max-share = 45", "45 is not a share"), ("max-share = inf", "inf is not a share"), ("allowed-dtypes = []", "the list is empty"),
        ("allowed-dtypes = [1]", "is not a list of words"), ('forbid-waste = "yes"', "neither true nor false"), ("forbid-waste = 1", "neither true nor false"),
        ("baseline = 5", "is not the name of a file"), ('baseline = ""', "is not the name of a file"), ('strict = "yes"', "neither true nor false"),
        ("strict = 1", "neither true nor false"), ("modules = 5", "modules is a table of tables"), ("[modules]\nembedding = 5", "modules is a table of tables"),
        ("models = []", "models is a table of tables"),
        ("[models]\nmax-size = 5", "models is a table of tables"),
        ("[[modules]]\na = 1", "modules is a table of tables"),
        ('[modules."a..b"]\nmax-size = 1', "is not a module pattern"), ('[modules.""]\nmax-size = 1', "is not a module pattern"),
        ('[modules."a"]\nmax-size = "5 M"', "max-size of 'a': '5 M' may mean"), ('[modules."a.5-0"]\nmax-size = 1', "goes from more to less"),
        ("max-size = 1\nmax-size = 2", "is not TOML"), ("max-size", "is not TOML"), ("\ufeffmax-size = 1", "is not TOML"), ("max-size = '\x00'", "is not TOML"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told(here, text, said):
    assert said in refused(text)


def test_bytes_that_are_no_text(here):
    Path("mscope.toml").write_bytes(b"max-size = '\xff\xfe'")
    with pytest.raises(SettingsError, match="is not TOML"):
        read_settings("mscope.toml")


@pytest.mark.parametrize(
    "text",
    [
        "max-size = " + "1" * 5000, "baseline = 0x" + "f" * 9000, "strict = 0x" + "f" * 9000, "max-size = 0x" + "f" * 9000, "max-share = 0b" + "1" * 20_000,
        "max-size = " + "[" * 100_000, "a" * 100_000 + " = 1", 'max-size = "' + "9" * 100_000 + '"', "[modules." + "a" * 100_000 + "]\nmax-size = 1",
        "[modules." + ".".join("a" * 2000) + "]\nmax-size = 1", "[modules." + "a" * 100_000 + "]\nb = 1", "baseline = [" + "'x'," * 10_000 + "]",
        '[modules."' + "0-9999," * 100 + '0"]\nmax-size = 1', "x = " + "{a = " * 5000, "max-size = 1e999999999",
    ],
    ids=lambda text: f"{text[:16]} {len(text)}",
)  # fmt: skip
def test_hostile_values_are_told_in_few_words(here, text):
    refused(text)


def test_a_file_longer_than_any_configuration(here):
    assert f"longer than a configuration of {LARGEST:,} bytes" in refused("#" * (LARGEST + 1))
    assert written("#" * LARGEST).demands == ()


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no endless file")
def test_a_file_without_an_end():
    with pytest.raises(SettingsError, match="longer than a configuration"):
        read_settings("/dev/zero")


TOML_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(["5 MB", "40 %", "float32", 5])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)  # fmt: skip
KEYS = st.sampled_from([*NAMES, "modules", "models", "baseline", "strict", "zzz", ""])


@settings(deadline=None)
@given(
    st.dictionaries(
        KEYS,
        st.one_of(
            TOML_VALUES, st.dictionaries(st.text(max_size=8), st.dictionaries(KEYS, TOML_VALUES, max_size=3), max_size=2)
        ),
        max_size=5,
    )
)
def test_any_table_is_settings_or_a_settings_error(table):
    try:
        found = settings_of(table, "mscope.toml", ".")
    except SettingsError as error:
        refusal = error
        assert refusal.path == "mscope.toml"
        return
    for demand in found.for_paths(["model.pth"]).demands:
        assert demand.rule.name in NAMES
        assert demand.value is not False


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_settings_or_a_settings_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "mscope.toml"
    path.write_bytes(data)
    try:
        assert read_settings(str(path)) is not None
    except ModelscopeError as error:
        refusal = error
        assert re.search("is not TOML|there is no rule", str(refusal))


def test_above_the_folder_only_in_a_repository(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "mscope.toml").write_text("max-size = 1\n")
    assert limits(find_settings(str(inner))) == {}
    (tmp_path / "a" / ".git").mkdir()
    assert limits(find_settings(str(inner))) == {}
    (tmp_path / ".git").mkdir()
    (tmp_path / "a" / ".git").rmdir()
    assert limits(find_settings(str(inner))) == {"max-size": 1}
