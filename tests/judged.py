"""Hold bytes to rules, without a file: what a mscope.toml would say of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_cli.analysis.overview import inspect
from modelscope_cli.checks.check import Check, check
from modelscope_cli.checks.rule import Subject
from modelscope_cli.checks.settings import Settings, settings_of
from modelscope_cli.render.cells import words
from modelscope_cli.report.document import Verdict
from tests.builders.safetensors_file import safetensors_bytes
from tests.opened import opened

Shapes = Mapping[str, tuple[int, ...]]


def weights(shapes: Shapes, dtype: str = "F32", metadata: dict[str, str] | None = None) -> bytes:
    """A safetensors file of tensors of one dtype."""
    return safetensors_bytes({name: (dtype, shape) for name, shape in shapes.items()}, metadata)


def subject(data: bytes, old: bytes | None = None, name: str = "model.pt") -> Subject:
    """What a rule looks at."""
    return Subject(inspect(opened(data, name)), opened(old, "old.pt") if old is not None else None)


def judged(data: bytes, table: Mapping[str, Any], old: bytes | None = None, *, strict: bool = False) -> Check:
    """The verdicts of a table of rules on the bytes of a file."""
    settings = Settings().over(settings_of(dict(table), "", "."))
    return check(subject(data, old), settings.demands, strict=strict)


def only(result: Check) -> Verdict:
    """The verdict where there is one."""
    (verdict,) = result.verdicts
    return verdict


def said(verdict: Verdict) -> str:
    """The message and what to do, as people read them."""
    message = words(verdict.message, "auto", exact=True)
    return f"{message} - {verdict.todo}" if verdict.todo else message
