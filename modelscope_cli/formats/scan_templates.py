"""Chat templates: Jinja text that whoever talks to the model renders, in a sandbox at best. Nothing is rendered here.

    {{ expression }}   {% statement %}   {# comment #}   {% raw %} … {% endraw %}

Two looks. Words by which a template leaves its sandbox are searched for, also in strings put together from several. And every
expression is followed (jinja_values) as far as it decides which attribute is taken and what is called: what a template reaches by a
name that it puts together itself cannot be judged by reading, and few templates of models do it.

Facts: jinja2/lexer.py and parser.py (strings side by side are one string), jinja2/sandbox.py (attributes of generators and frames);
CVE-2024-34359 in llama-cpp-python.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from modelscope_cli.formats.jinja_tokens import Token, as_python_reads, blocks_of
from modelscope_cli.formats.jinja_tree import Tree
from modelscope_cli.formats.jinja_values import Values

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

MOST_TEXTS = 64
KEPT = 1 << 16  # characters of a template that are handed on

GADGETS = re.compile(
    r"__(?:class|mro|base|bases|subclasses|globals|builtins|import|init|getattribute|dict|code|reduce|loader|spec)__"
    r"|\|\s*attr\s*\(|\bfilter\s+attr\b|\bpopen\b|\bsubprocess\b|\bos\s*\.\s*(?:system|exec|spawn)|\b(?:eval|exec)\s*\(|\bimportlib\b"
    r"|\b(?:cycler|joiner|namespace|lipsum|self|config|request|url_for|get_flashed_messages)\s*\.\s*_{1,2}\w+"
    r"|\\x5f\\x5f|['\"]_{2}['\"]\s*[~+]"
    r"|\b(?:gi_frame|gi_code|cr_frame|cr_code|ag_frame|ag_code|tb_frame|f_globals|f_builtins|f_locals|f_back|func_globals|func_code)\b"
)


def is_template(key: str, value: Any) -> bool:
    """Whether a key speaks of a template that Jinja renders."""
    name = key.lower()
    return "chat_template" in name or ("template" in name and isinstance(value, str) and ("{{" in value or "{%" in value))


def template(walk: Walk, where: str, text: str) -> None:
    """Judge a template, and keep it to be shown."""
    most = walk.limits.template_characters
    followed = Followed(text[:most])
    words = {match[0].strip() for part in (text, *followed.strings) for match in GADGETS.finditer(part)}
    found = sorted(words.union(followed.words))
    if found:
        shown = ", ".join(found[:4])
        walk.sign("template-gadget", where, f"the chat template reaches for {shown}: a way out of a template engine")
    elif followed.reaching:
        walk.sign("template-reach", where, f"the chat template {followed.reaching}, as no model's does")
    elif followed.strange:
        walk.sign("template-computed", where, f"the chat template {followed.strange}: what it reaches for cannot be told")
    if len(walk.found.texts) < MOST_TEXTS:
        walk.found.texts.append((where, text[:KEPT]))
    if len(text) > most:
        walk.unseen(where, f"what follows the first {most:,} characters of its chat template (--limit template_characters=N)")
    elif len(text) > KEPT:
        walk.unseen(where, f"the template has {len(text):,} characters, {KEPT:,} are shown", quiet=True)


class Followed:
    """What the expressions of a template take.

    `strange` says what cannot be told, `reaching` what no template of a model does; `words` are special attributes, and `strings` those
    that are put together of several.
    """

    def __init__(self, text: str):
        self.strange = ""
        self.reaching = ""
        self.words: list[str] = []
        self.strings: list[str] = []
        try:
            blocks = blocks_of(text)
            read = [[as_python_reads(token) for token in block] for block in blocks]
            values = Values(tree := Tree([joined(block, self.strings) for block in read]))
        except ValueError as problem:
            self.strange = str(problem)
            return
        except RecursionError:
            self.strange = "has too many brackets in one another"
            return
        self.words, self.reaching, self.strange = values.words, values.reaching, values.strange
        if read != blocks:
            self.strange = self.strange or "has names in letters that Python takes for others"
        if tree.foreign:
            self.strange = f"takes in another file ({tree.foreign})"


def joined(block: list[Token], strings: list[str]) -> list[Token]:
    """The block with strings side by side as one; what comes of them, and of those added up, goes into `strings`."""
    result: list[Token] = []
    added = ""
    for token in block:
        if token.kind == "string" and result and result[-1].kind == "string":
            result[-1] = Token("string", result[-1].text + token.text)
            added += token.text
        elif token.kind == "string":
            added += token.text
            result.append(token)
        else:
            if token.text not in ("+", "~"):
                strings += [added] if added else []
                added = ""
            result.append(token)
    strings += [added] if added else []
    return result
