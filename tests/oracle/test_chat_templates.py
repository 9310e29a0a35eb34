"""Chat templates held against Jinja itself: what makes a special attribute appear is never called safe."""

from __future__ import annotations

import pytest

from tests.builders.templates import CARRIERS, COMPUTED, HONEST, MAKERS, PLAIN, REACHING
from tests.scanned import scanned

jinja2 = pytest.importorskip("jinja2")


def rendered(text):
    """What Jinja makes of it outside of a sandbox, or "" where it refuses."""
    environment = jinja2.Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])
    given = {"messages": [{"role": "user", "content": "hi", "kk": "k"}], "bos_token": "__class__", "special": "__class__"}
    try:
        return environment.from_string(text).render(given)
    except (jinja2.TemplateError, TypeError, AttributeError, LookupError, ValueError):
        return ""


@pytest.mark.parametrize("carrier", CARRIERS)
def test_names_that_are_made_and_carried(carrier):
    fired = [text for text in (carrier.replace("MADE", maker) for maker in MAKERS) if "class '" in rendered(text)]
    assert [text for text in fired if scanned(text.encode(), "chat_template.jinja").verdict == "safe"] == []


def test_the_ways_work():
    """Jinja does show the class."""
    for maker in MAKERS:
        assert "class 'list'" in rendered("{% set k = MADE %}{{ messages[k] }}".replace("MADE", maker)), maker


@pytest.mark.parametrize("text", [text for text in HONEST if "generation" not in text])
def test_honest_templates_are_ones_that_jinja_takes(text):
    jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(text)


@pytest.mark.parametrize("text", [*PLAIN, *REACHING, *COMPUTED])
def test_those_that_are_not_safe_are_taken_by_jinja(text):
    environment = jinja2.Environment(extensions=["jinja2.ext.debug"])
    if text == "{{ 'no end":
        with pytest.raises(jinja2.TemplateSyntaxError):
            environment.parse(text)
    else:
        environment.parse(text)
