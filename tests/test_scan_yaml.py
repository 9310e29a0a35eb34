"""What YAML has a program call, however it is written: as PyYAML, libyaml and ruamel read it, not as it looks.

Each text was read by PyYAML 6.0.3 or omegaconf 2.3.1: in them it names os.system.
"""

from __future__ import annotations

from time import process_time

import pytest

from modelscope_cli.core.limits import DEFAULT_LIMITS
from tests.builders.safetensors_file import safetensors_bytes
from tests.builders.zip_archive import Entry, zip_bytes
from tests.scanned import codes, scanned

APPLY = "!!python/object/apply:os.system [id]"
REST = "python/object/apply:os.system [id]\n"
LONG = "a" * 3_000
TAGS = {
    "behind a next line in a comment": f"# hi\x85x: {APPLY}\n",
    "behind a line separator": f"# hi\u2028x: {APPLY}\n",
    "behind a paragraph separator": f"# hi\u2029x: {APPLY}\n",
    "behind a carriage return": f"# hi\rx: {APPLY}\n",
    "handle cut in tag:": f"%TAG !e! tag:\n---\nx: !e!yaml.org,2002:{REST}",
    "handle cut in yaml.org": f"%TAG !e! tag:yaml.\n---\nx: !e!org,2002:{REST}",
    "handle to the function": "%TAG !e! tag:yaml.org,2002:python/object/apply:os.\n---\nx: !e!system [id]\n",
    "handle !!": "%TAG !! tag:yaml.org,2002:python/object/\n---\nx: !!apply:os.system [id]\n",
    "handle !": "%TAG ! tag:yaml.org,2002:python/object/\n---\nx: !apply:os.system [id]\n",
    "handle in escapes": "%TAG !e! tag:yaml.%6frg,2002:pyt\n---\nx: !e!h%6fn/object/apply:os.system [id]\n",
    "handle of a second document": "a: 1\n...\n%TAG !e! tag:yaml.org,2002:pyth\n---\nx: !e!on/object/apply:os.system [id]\n",
    "handle ended by a next line": f"%TAG !e! tag:\x85---\nx: !e!yaml.org,2002:{REST}",
    "handle behind a mark": f"\ufeff%TAG !e! tag:\n---\nx: !e!yaml.org,2002:{REST}",
    "handle with a comment": f"%TAG !e! tag: # c\n---\nx: !e!yaml.org,2002:{REST}",
    "handle right behind a key": '%TAG !e! tag:\n---\n{"k!":!e!yaml.org,2002:python/object/apply:os.system [id]}\n',
    "verbatim": "x: !<tag:yaml.org,2002:python/object/apply:os.system> [id]\n",
    "verbatim in escapes": "x: !<tag:yaml.org,2002:pyth%6Fn/object/apply:os.system> [id]\n",
    "in escapes": "x: !!pyth%6fn/object/apply:os.%73ystem [id]\n",
    "long before the escapes": f"%TAG !{LONG}! tag:yaml.org,2002:py\n---\nx: !{LONG}!th%6fn/object/apply:os.system [id]\n",
    "in a mapping of one line": f"{{a: {APPLY}}}\n",
    "object/new": "x: !!python/object/new:os.system [id]\n",
    "behind an anchor": f"x: &a {APPLY}\n",
    "as a key": f"? {APPLY}\n: 1\n",
    "merged": f"<<: {{a: {APPLY}}}\n",
    "in a second document": f"--- 1\n--- {APPLY}\n",
    "behind a quote in what looks like a comment": f'{{a: "\n # ", b: {APPLY}}}\n',
    "behind a single quote in the same": f"{{a: 'x\n# ', b: {APPLY}}}\n",
}
TARGETS = {
    "behind a next line in a comment": "# hi\x85_target_: os.system\n",
    "behind a line separator": "# hi\u2028_target_: os.system\n",
    "behind a paragraph separator": "# hi\u2029_target_: os.system\n",
    "behind a quote in what looks like a comment": "{a: 'x\n # ', _target_: os.system}\n",
    "behind a text with #": '{"a # b": 1, _target_: os.system}\n',
    "behind a lonely quote": "a: it's\nb: 'x\n # y'\n_target_: os.system\n",
    "no blank behind the colon": '{"_target_":os.system}\n',
    "no blank, single quotes": "{'_target_':os.system}\n",
    "a comment right behind the colon": "{\"_target_\":#it's\n os.system}\n",
    "an explicit key": "? _target_\n: os.system\n",
    "an explicit key with a comment": "? _target_ # c\n: os.system\n",
    "a key in a block": "? |-\n  _target_\n: os.system\n",
    "a key in a folded block": "? >-\n  _target_\n: >-\n  os.system\n",
    "a key of escapes": '"\\x5ftarget_": os.system\n',
    "a key of long escapes": '"\\U0000005ftarget_": os.system\n',
    "a key over two lines": '? "_tar\\\n  get_"\n: os.system\n',
    "escapes and a comment that ends as one": '{"_tar\\x67et_": # it\'s \\\n os.system}\n',
    "a value of escapes": '_target_: "os\\x2esystem"\n',
    "a value over two lines": '_target_: "os.\\\n  system"\n',
    "a comment between": "_target_: # which\n  os.system\n",
    "comments between": "_target_:\n  # a\n\n  # don't\n  os.system\n",
    "a tag for texts": "_target_: !!str os.system\n",
    "a verbatim tag for texts": "_target_: !<tag:yaml.org,2002:str> os.system\n",
    "no tag": "_target_: ! os.system\n",
    "a long anchor": f"_target_: &{LONG} os.system\n",
    "a long handle": f"%TAG !{LONG}! tag:yaml.org,2002:\n---\n_target_: !{LONG}!str os.system\n",
    "an alias": "x: &a os.system\ny: {_target_: *a}\n",
    "an alias to quotes": "x: &a 'os.system'\ny: {_target_: *a}\n",
    "an alias to the next line": "x: &a\n  os.system\ny: {_target_: *a}\n",
    "an alias to a block": "x: &a |-\n  os.system\ny: {_target_: *a}\n",
    "an alias behind a tag": "x: &a !!str os.system\ny: {_target_: *a}\n",
    "an alias right behind a key": '{"x":&a os.system, "_target_":*a }\n',
    "an alias of an anchor that is set again": "x: &a os.system\ny: {_target_: *a}\n--- \nz: &a torch.nn.Linear\n",
    "an alias as key": "x: &a _target_\n*a : os.system\n",
    "an alias as explicit key": "x: &a _target_\n? *a\n: os.system\n",
    "an alias to a key of escapes": 'x: &a "_tar\\x67et_"\ny: {*a : os.system}\n',
    "an anchored key": "&k _target_: os.system\n",
    "merged": "a: &a {_target_: os.system}\nb: {<<: *a}\n",
    "what looks like a block": "a: b |\n_target_: os.system\n",
    "a block of known depth": "_target_: |2-\n    os.system\n",
    "a block with a comment": "_target_: |- # c\n  os.system\n",
    "a tab": "_target_: os.system\t# c\n",
    "a path of torch's own": f"_target_: torch.{'nn.functional.torch.' * 20}os.system\n",
    "a reference": "cls: os.system\nm:\n  _target_: ${cls}\n",
    "a reference by its path": "a: {cls: os.system}\nm:\n  _target_: '${a.cls}'\n",
    "a reference by brackets": "a: {cls: os.system}\nm:\n  _target_: ${a[cls]}\n",
    "a reference beside it": "m:\n  cls: os.system\n  _target_: ${.cls}\n",
    "two references": "a: os\nb: system\nm:\n  _target_: ${a}.${b}\n",
    "a part of a name": "b: system\nm:\n  _target_: os.${b}\n",
    "a reference to a reference": "a: ${b}\nb: os.system\nm:\n  _target_: ${a}\n",
    "a default": "m:\n  _target_: ${oc.env:NOT_SET,os.system}\n",
    "another default": "m:\n  _target_: ${oc.select:not_there,os.system}\n",
}
HONEST = {
    "commented out": ("# _target_: os.system\n  # - {_target_: 'os.system'}\nlr: 1 # !!python/object/apply:os.system\n", None),
    "commented out with quotes": ("# don't: _target_: shop.Net\nlr: 1\n", None),
    "nothing called": ("a:\n  _target_:\n  lr: 0.1\nb:\n  _target_: # which?\n  lr: 0.1\n", None),
    "data of Python": ("x: !!python/tuple [1, 2]\ny: !!python/str 'a'\n", None),
    "another key": ("my_target_: os.system\n_target_class: os.system\nx: '_target_'\n", None),
    "another handle": ("%TAG !u! tag:unity3d.com,2011:\n--- !u!1 &1\nGameObject: {m_Name: python}\n", None),
    "the usual handles": ("%TAG ! !\n%TAG !! tag:yaml.org,2002:\n---\nx: !!python/tuple [1]\n", None),
    "a reference to what is not there": ("m: {_target_: '${model.cls}', x: \"${a}\"}\n", "unknown"),
    "hydra's own": ("hydra:\n  launcher:\n    _target_: hydra._internal.core_plugins.basic_launcher.BasicLauncher\n", "unknown"),
    "SpeechBrain": ("enc: !new:speechbrain.nnet.CNN.Conv1d\n  out: 4\nseed: !apply:torch.manual_seed [1]\nlr: !ref <a>\n", "unknown"),
}


@pytest.mark.parametrize("text", TAGS.values(), ids=TAGS)
def test_tags(text):
    assert codes(scanned(text.encode(), "a.yaml")) == {"dangerous-target"}


@pytest.mark.parametrize("text", TARGETS.values(), ids=TARGETS)
def test_targets(text):
    safety = scanned(text.encode(), "a.yaml")
    assert safety.verdict == "dangerous"
    assert any(found.subject.endswith("os.system") for found in safety.found)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_tags_in_other_encodings(encoding):
    assert scanned(f"x: {APPLY}\n".encode(encoding), "a.yaml").verdict == "dangerous"


@pytest.mark.parametrize(("text", "verdict"), HONEST.values(), ids=HONEST)
def test_honest_texts(text, verdict):
    assert scanned(text.encode(), "a.yaml").verdict == verdict


@pytest.mark.parametrize("tag", ["!new:os.system", "!apply:os.system ['id']", "!name:os.system", "!ne%77:os.system"])
def test_tags_of_hyperpyyaml(tag):
    assert codes(scanned(f"x: {tag}\n".encode(), "hyperparams.yaml")) == {"dangerous-target"}


@pytest.mark.parametrize("prefix", ["!new:", "!ne", "!apply:os.", "!"])
def test_handles_for_tags_of_hyperpyyaml(prefix):
    rest = next(tag for tag in ("!new:os.system", "!apply:os.system") if tag.startswith(prefix)).removeprefix(prefix)
    assert codes(scanned(f"%TAG !e! {prefix}\n---\nx: !e!{rest}\n".encode(), "hyperparams.yaml")) == {"dangerous-target"}


def test_many_lines_for_one_handle_are_no_finding():
    text = "".join(f"%TAG !e! tag:example.org,2000:a{number}/\n---\nx: !e!b 1\n...\n" for number in range(100))
    assert codes(scanned(text.encode(), "a.yaml")) == set()
    same = "%TAG !y! tag:yaml.org,2002:\n--- !y!map\nx: !y!str python\n...\n" * 100
    assert codes(scanned(same.encode(), "a.yaml")) == set()


def flood(count: int) -> str:
    return "".join(f"a{number}:\n  _target_: shop.C{number}\n" for number in range(count))


def test_many_harmless_names_hide_no_other():
    members = [Entry(f"{number:02}.yaml", flood(900).replace("shop", f"shop{number}").encode()) for number in range(3)]
    members += [Entry("model.safetensors", safetensors_bytes({"w": ("F32", (2,))})), Entry("z.yaml", f"x: {APPLY}\n".encode())]
    safety = scanned(zip_bytes(members), "m.zip")
    assert (safety.verdict, safety.found[0].code, safety.found[0].where) == ("dangerous", "dangerous-target", "z.yaml")


@pytest.mark.parametrize("last", [f"x: {APPLY}\n", "x: {_target_: os.system}\n", '{"_target_": "os.system"}'])
def test_names_beyond_the_limit_are_told_and_suspicious(last):
    members = [Entry("a.yaml", flood(50).encode()), Entry("z.json" if last.startswith("{") else "z.yaml", last.encode())]
    members.append(Entry("again.yaml", flood(50).encode()))
    limited = scanned(zip_bytes(members), "m.zip", DEFAULT_LIMITS._replace(scanned_names=50))
    (found,) = [one for one in limited.found if one.code == "too-many-names"]
    assert (limited.verdict, found.where) == ("suspicious", members[1].name)
    assert "more than 50 functions and classes" in str(found.message)
    assert "--limit scanned_names=N" in str(found.message)
    assert scanned(zip_bytes(members[::2]), "m.zip", DEFAULT_LIMITS._replace(scanned_names=50)).verdict == "unknown"


def test_names_of_endless_letters_are_told():
    safety = scanned(f"_target_: shop.{'a.' * 2_000}os.system\n".encode(), "a.yaml")
    assert "too-many-names" in codes(safety)
    assert all(len(str(found.message)) < 500 for found in safety.found)


def test_findings_beyond_a_hundred_are_counted_with_a_code_of_their_level():
    lines = [f"a{number}: {{_target_: os.system{number}}}\n" for number in range(150)]
    lines += [f"b{number}: {{_target_: textwrap.f{number}}}\n" for number in range(30)]
    safety = scanned("".join(lines).encode(), "a.yaml")
    assert len(safety.found) == 102
    left = [found for found in safety.found if "not listed" in str(found.message)]
    assert [(found.level, found.code) for found in left] == [("dangerous", "dangerous-target"), ("suspicious", "suspicious-target")]


BOMBS = {
    "anchors": "a: *x\n" + "&" * 2_000_000,
    "anchors in a row": "a: *x\n" + "&a " * 1_000_000,
    "tags of keys": '"_target_":!' * 300_000,
    "tags of keys apart": "_target_: !" * 300_000,
    "keys of keys": '"_target_":' * 300_000,
    "blanks": "_target_:" + " " * 3_000_000 + ":",
    "comments": "_target_: #\n" * 200_000,
    "quotes in comments": "_target_: # 'a.b\n" * 100_000,
    "keys in comments": "_target_:\n" + "# ' _target_:\n" * 200_000,
    "keys in comments of an anchor": "_target_: *a\n&a\n" + "# ' &a\n" * 200_000,
    "handles": "%TAG !a! tag:\n---\n" + "!a!" * 1_000_000,
    "prefixes of a handle": "".join(f"%TAG !a! tag:yaml.org,2002:x{n}\n" for n in range(64)) + "---\n" + "!a!" * 1_000_000,
    "prefixes that begin the same": "".join(f"%TAG !a! {'tag:yaml.org,2002:python/'[:n]}\n" for n in range(1, 26)) + "---\n" + "!a!t" * 900_000,
    "prefixes of python": "".join(f"%TAG !a! tag:yaml.org,2002:python/{n}\n" for n in range(64)) + "---\n" + "!a!b:c " * 500_000,
    "prefixes of data": "".join(f"%TAG !a! tag:yaml.org,2002:python/str:{n}\n" for n in range(64)) + "---\n" + "!a!b:c " * 500_000,
    "many handles": "".join(f"%TAG !{'a' * n}! tag:yaml.org,2002:py\n" for n in range(1, 65)) + "---\n" + f"!{'a' * 65}" * 50_000,
    "escapes": "_target_: " + "\\x5f" * 700_000,
    "references": "".join(f"a{n}: ${{a{n + 1}}}${{a{n + 2}}}\n_target_: ${{a{n}}}\n" for n in range(40_000)),
    "references in references": "_target_: " + "${" * 1_000_000,
    "dots": "_target_: " + "a." * 1_500_000,
    "aliases": "k: &a _target_\n" + "*a : " * 500_000,
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_texts_that_would_take_for_ever(text):
    began = process_time()
    scanned(text.encode(), "a.yaml")
    assert process_time() - began < 6
