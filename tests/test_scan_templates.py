"""Chat templates: those that leave a template engine, those that cannot be judged by reading, and those that models really have."""

from __future__ import annotations

import gzip
import json
import random
import warnings
from time import process_time

import pytest

from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.formats.jinja_tokens import meaning
from modelscope_cli.formats.scan_templates import Followed
from tests.builders.archives import tarred, zipped
from tests.builders.gguf_file import gguf_bytes
from tests.builders.templates import CARRIERS, COMPUTED, HONEST, MAKERS, PLAIN, REACHING
from tests.scanned import codes, scanned

EVIL = "{{ cycler.__init__.__globals__.os.popen('id').read() }}"


@pytest.mark.parametrize("text", PLAIN)
def test_a_word_put_together_is_told(text):
    safety = scanned(text.encode(), "chat_template.jinja")
    assert (safety.verdict, codes(safety)) == ("dangerous", {"template-gadget"})


@pytest.mark.parametrize("text", REACHING)
def test_what_no_template_of_a_model_does_is_suspicious(text):
    safety = scanned(text.encode(), "chat_template.jinja")
    assert (safety.verdict, codes(safety)) == ("suspicious", {"template-reach"})


@pytest.mark.parametrize("text", COMPUTED)
def test_what_cannot_be_told_is_unknown(text):
    safety = scanned(text.encode(), "chat_template.jinja")
    assert (safety.verdict, codes(safety)) == ("unknown", {"template-computed"})


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_name_that_is_made_is_not_safe_wherever_it_is_carried(carrier):
    """Read in a block before the block sets it, in branches, handed to macros and parts of calls."""
    text = carrier.replace("MADE", MAKERS[0])
    assert scanned(text.encode(), "chat_template.jinja").verdict in ("unknown", "suspicious", "dangerous")


@pytest.mark.parametrize("maker", MAKERS)
def test_a_name_is_not_safe_however_it_is_made(maker):
    """Out of line ends, keywords, differences of views, signs in front of filters."""
    text = "{% set k = MADE %}{{ messages[k] }}".replace("MADE", maker)
    assert scanned(text.encode(), "chat_template.jinja").verdict in ("unknown", "dangerous")


@pytest.mark.parametrize(
    "use",
    [
        pytest.param("{{ messages[NAME] }}{% set k = 'role' %}{{ k }}", id="handed-in-until-set"),
        pytest.param("{% for i in NAME %}{% set k = 'role' %}{% endfor %}{{ messages[k] }}", id="set-in-a-loop-only"),
        pytest.param(
            "{% if NAME %}{% set k = 'role' %}{% else %}{% set j = k %}{% endif %}{{ messages[k] }}", id="set-in-one-branch"
        ),
        pytest.param("{% if NAME %}{% set k = 'a' %}{% elif messages[k] %}{% endif %}", id="condition-of-another-branch"),
        pytest.param("{% for k in NAME %}{% else %}{{ messages[k] }}{% endfor %}", id="else-of-a-loop"),
        pytest.param("{% set k %}{{ messages[NAME] }}{% endset %}{{ k }}", id="while-it-is-being-set"),
        pytest.param(
            "{% generation %}{% set k = 'a' %}{% endgeneration %}{{ messages[NAME] }}",
            id="set-where-some-programs-have-a-block",
        ),
    ],
)
def test_a_name_that_may_not_be_set_yet_is_what_is_handed_in(use):
    """A publisher can hand in special tokens under any name."""
    assert codes(scanned(use.replace("NAME", "k").encode(), "chat_template.jinja")) == {"template-computed"}


@pytest.mark.parametrize("newline", ["\r", "\r\n", "\n"])
def test_line_ends_are_those_that_jinja_makes_of_them(newline):
    text = "{{ ''['\\" + newline + "__cl\\" + newline + "ass__'] }}"
    for data, name in (
        (text.encode(), "chat_template.jinja"),
        (json.dumps({"chat_template": text}).encode(), "tokenizer_config.json"),
        (gguf_bytes({"w": ("F32", (1,))}, {"tokenizer.chat_template": text}), "m.gguf"),
    ):
        assert codes(scanned(data, name)) == {"template-gadget"}


@pytest.mark.parametrize("written", [r"a\db", r"\é", r"\a\v\x41\101\u0041\N{LATIN SMALL LETTER A}", "\\\nx", r"\'\\", "é"])
def test_strings_mean_what_jinja_has_python_read(written):
    """As in jinja2/lexer.py."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = written.encode("ascii", "backslashreplace").decode("unicode-escape")
    assert meaning(f"'{written}'") == expected


@pytest.mark.parametrize("text", HONEST)
def test_templates_of_models_are_safe(text):
    assert scanned(text.encode(), "chat_template.jinja").verdict == "safe"


@pytest.mark.parametrize("pack", [zipped, tarred, lambda files: gzip.compress(tarred(files))])
@pytest.mark.parametrize(
    "file", [("m.gguf", gguf_bytes({"w": ("F32", (1,))}, {"tokenizer.chat_template": EVIL})), ("chat_template.jinja", EVIL.encode()),
             ("tokenizer_config.json", json.dumps({"chat_template": EVIL}).encode())]
)  # fmt: skip
def test_templates_inside_archives(pack, file):
    name, data = file
    safety = scanned(pack({f"m/{name}": data}), "x.bin")
    assert safety.verdict == "dangerous"
    assert codes(safety) == {"template-gadget"}


@pytest.mark.parametrize("length", [100, 70_000, 200_000])
def test_all_of_a_template_in_gguf_is_judged(length):
    """The reader keeps its first 64 KiB."""
    for key in ("tokenizer.chat_template", "tokenizer.chat_template.tool_use"):
        data = gguf_bytes({"w": ("F32", (1,))}, {key: "x" * length + EVIL})
        assert scanned(data, "m.gguf").verdict == "dangerous"
        assert scanned(data[:-2], "m.gguf").verdict == "dangerous"


def test_a_template_too_long_to_be_followed_is_not_safe():
    assert scanned(b"x" * (DEFAULT_LIMITS.template_characters + 1), "a.jinja").verdict == "unknown"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_json_as_python_reads_bytes(encoding):
    data = json.dumps({"chat_template": EVIL}).encode(encoding)
    assert json.loads(data)
    assert scanned(data, "tokenizer_config.json").verdict == "dangerous"


@pytest.mark.parametrize(
    "document",
    [
        {"chat_template": {"default": EVIL}},
        {"chat_template": [{"name": "tool", "template": EVIL}]},
        {"chat_template": [EVIL]},
        {"processor": {"chat_template": EVIL}},
        {"prompt_template": EVIL},
        {"chat_template": EVIL, "x": float("nan")},
    ],
)
def test_templates_wherever_they_stand_in_json(document):
    assert scanned(json.dumps(document).encode(), "tokenizer_config.json").verdict == "dangerous"
    hidden = json.dumps(document).replace("template", "templ\\u0061te").encode()
    assert json.loads(hidden) == json.loads(json.dumps(document)) or "x" in document
    assert scanned(hidden, "tokenizer_config.json").verdict == "dangerous"
    padded = json.dumps({"vocab": "x" * (9 << 20), **document}).encode()
    assert scanned(padded, "tokenizer_config.json").verdict == "dangerous"


def test_a_long_document_in_which_nothing_matters():
    data = json.dumps({"vocab": ["x" * 50] * 200_000}).encode()
    assert len(data) > 8 << 20
    safety = scanned(data, "tokenizer.json")
    assert (safety.verdict, safety.unseen) == (None, [])


@pytest.mark.parametrize(
    "text",
    [
        "{{" + "x[" * 30 + "'a'" + "]" * 30 + "}}",
        "{{ f({'a': b, 'c': [d, e]}, g=(h, i)) }}",
        "{{ f(*" * 20 + "a" + ")" * 20 + "}}",
        "{% set a = b + 'x' %}{% set b = c + a %}",
        "{% set a = [a] + b %}{{ x[a[0]] }}",
        "{% set n.k = n.l %}{{ n[k] }}",
        "{% for a in b %}{{ loop.previtem }}{% endfor %}",
        "{% if a %}{% set k = 1 %}{% else %}{% set k = 2 %}{% endif %}{{ k }}",
        "{% for k in k %}{% else %}{% set k %}{{ k }}{% endset %}{% endfor %}",
        "{{ ｋ }}",
        "{% for a in b %}",
        "{{ f(x) }}{% macro f(a, b, c) %}",
        "{% macro f(a) %}{% endmacro %}{{ (f)(a) }}",
        "{{ a.b|c }}",
        "{{ '",
        "x.y",
        "x|y",
        "x+",
        "x if y else ",
        "not ",
        "- ",
        "x()",
    ],
)
def test_templates_are_followed_in_time(text):
    began = process_time()
    Followed(("{{" if "{" not in text else "") + text * (DEFAULT_LIMITS.template_characters // len(text)))
    assert process_time() - began < 6


def test_names_that_sixty_blocks_may_set_are_followed_in_time():
    began = process_time()
    blocks = "{% for i in y %}{% if a %}{% set k = k %}{% endif %}" * 59
    Followed(blocks + "{{ k ~ k ~ k }}" * ((DEFAULT_LIMITS.template_characters - len(blocks)) // 15))
    assert process_time() - began < 6


PIECES = [
    "{{", "}}", "{%", "%}", "{%-", "-%}", "for", "in", "if", "else", "endif", "endfor", "set", "endset", "macro",
    "endmacro", "call", "endcall", "with", "endwith", "filter", "raw", "endraw", "namespace", "dict", "cycler", "joiner",
    "loop", "self", "caller", "recursive", "is", "not", "and", "or", "x", "ns", "messages", "k", "'a'", "1", "1.5", "0.x",
    "(", ")", "[", "]", "{", "}", ".", ",", ":", "|", "~", "+", "-", "*", "%", "**", "=", "==", "map", "attribute", "sum",
    "append", "{#", "#}",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_whatever_stands_in_a_template_is_followed_or_refused_in_words(seed):
    dice = random.Random(seed)
    for _ in range(150):
        text = " ".join(dice.choices(PIECES, k=dice.randrange(40)))
        assert Followed(text).strange is not None
        real = dice.choice((*HONEST, *COMPUTED, *REACHING))
        at = dice.randrange(len(real))
        Followed(real[:at])
        Followed(f"{real[:at]} {dice.choice(PIECES)} {real[at + dice.randrange(4) :]}")
