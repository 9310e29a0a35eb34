"""Chat templates: those that leave a template engine, those that cannot be judged by reading, and those that models really have."""

from __future__ import annotations

import gzip
import json
from time import process_time

import pytest

from modelscope_cli.core.limits import DEFAULT_LIMITS
from modelscope_cli.formats.scan_templates import Followed
from tests.builders.archives import tarred, zipped
from tests.builders.gguf_file import gguf_bytes
from tests.scanned import codes, scanned

EVIL = "{{ cycler.__init__.__globals__.os.popen('id').read() }}"

# By what a template puts together in reading it is plain: dangerous; what it makes of names cannot be told: unknown.
PLAIN = (
    "{{ ''['_'+'_class_'+'_'] }}",
    "{{ ''['__cl' 'ass__'] }}",
    r"{{ ''['\137\137class\137\137'] }}",
    r"{{ ''['\u005f_class__'] }}",
    r"{{ ''['\N{LOW LINE}_class__'] }}",
    "{{ ''|map('attr', x)|list }}",
    "{% filter attr('x') %}{% endfilter %}",
)
COMPUTED = (
    "{% set x='_'*2 %}{{ ''[x+'class'+x] }}",
    "{% set c='class' %}{% set u='_' %}{{ ''[u*2+c+u*2] }}",
    "{% set k %}__cl{{ 'ass__' }}{% endset %}{{ ''[k] }}",
    "{% macro f(k) %}{{ ''[k] }}{% endmacro %}{{ f(x ~ 'class__') }}",
    "{% for k in ['_' + y] %}{{ x[k] }}{% endfor %}",
    "{% set n=namespace() %}{% set n.k='_'~'x' %}{{ ''[n.k] }}",
    "{{ ''|map(attribute='_'~x) }}",
    "{{ ''|groupby(x~y) }}",
    "{{ ''[bos_token] }}",
    "{{ ''[('_','x')|join] }}",
    "{{ ''['{}class'.format(x)] }}",
    "{{ x['abc'[::-1]] }}",
    "{{ ''[(lipsum|string)[18]] }}",
    "{% set d={'in': ''} %}{{ d.in['a'+b] }}",
    "{% raw %}{#{% endraw %}{{ ''['_'~x] }}{% raw %}#}{% endraw %}",
    "{% include '/etc/passwd' %}",
    "{{ 'no end",
)
# In the manner of published models: places counted, keys looped over, texts added up, macros for tools, what is thought cut off.
HONEST = (
    "{% for message in messages[::-1] %}{% set index = (messages|length - 1) - loop.index0 %}{{ messages[index].role }}{% endfor %}",
    "{%- if messages[0]['role'] == 'system' %}{{ '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}{%- endif %}",
    "{% set content = message.content.split('</think>')[-1].lstrip('\n') %}{{ '<think>' + content[:10] + messages[loop.index0 + 1].role }}",
    "{% set ns = namespace(text='', last=0) %}{% set ns.text = ns.text + '\n\n' + messages[ns.last]['content'] %}{{ ns.text }}",
    "{% macro show(spec) %}{% for key in spec.keys() | reject('in', ['type']) %}{{ key ~ ': ' ~ spec[key] }}{% endfor %}{% endmacro %}{{ show(tool) }}",
    "{{ tools | map(attribute='function') | selectattr('name', 'equalto', 'x') | list | tojson(indent=2) }}",
    "{% set names = {'string': 'str'} %}{{ names[spec.type] if spec.type in names else spec['type'] }}",
    "{# a comment with {{ and ' #}{% raw %}{{ '{% endraw %}{{ bos_token + messages[0].content | trim }}",
)


@pytest.mark.parametrize("text", PLAIN)
def test_a_word_put_together_is_told(text):
    safety = scanned(text.encode(), "chat_template.jinja")
    assert (safety.verdict, codes(safety)) == ("dangerous", {"template-gadget"})


@pytest.mark.parametrize("text", COMPUTED)
def test_what_cannot_be_told_is_unknown(text):
    safety = scanned(text.encode(), "chat_template.jinja")
    assert (safety.verdict, codes(safety)) == ("unknown", {"template-computed"})


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
    ["{{" + "x[" * 30 + "'a'" + "]" * 30 + "}}", "{% set a = b + 'x' %}{% set b = c + a %}", "x+", "{{ '", "{{ f(x) }}{% macro f(a, b, c) %}"],
)
def test_templates_are_followed_in_time(text):
    began = process_time()
    Followed(("{{" if text == "x+" else "") + text * (DEFAULT_LIMITS.template_characters // len(text)))
    assert process_time() - began < 6
