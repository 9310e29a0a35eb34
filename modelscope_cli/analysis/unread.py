"""What can be said of a model whose tensors are not read, or cannot be: what it is, and what loading it could run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelscope_cli.analysis.full_report import SCHEMA, safety_sections, warning
from modelscope_cli.core.place import SEPARATOR, short_name
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.report.document import MACHINES, Bytes, Fact, Facts, Phrase, Report, Section, Verdicts

if TYPE_CHECKING:
    from modelscope_cli.analysis.safety import Safety

NOT_YET = ", not read yet"


def header(path: str, problem: ModelscopeError, safeties: Sequence[Safety]) -> Facts:
    """The path, what it was scanned of, and in a line why nothing is said of tensors."""
    name = short_name(path) if SEPARATOR in path else os.path.basename(os.path.normpath(path))
    return Facts(
        "",
        "",
        [
            Fact("path", "Path", path, name),
            Fact("format", "Format", None, audience=MACHINES),
            Fact("bytes", "Size", Bytes(sum(safety.scanned.nbytes for safety in safeties))),
            Fact("not_read", "Model", unread_line(problem)),
        ],
    )


def unread_line(problem: ModelscopeError) -> str:
    """Why nothing is said of tensors."""
    if problem.message.endswith(NOT_YET):
        return f"its tensors are not read: {problem.message.removesuffix(NOT_YET)}"
    return f"not read: {problem.message}"


def to_report(
    path: str, problem: ModelscopeError, safeties: Sequence[Safety], detail: str, verdicts: Verdicts | None = None
) -> Report:
    """The document of `mscope report` about what lies at a path where no model could be read: its safety, and the rules."""
    warnings, tables = safety_sections(safeties, detail)
    sections: list[Section] = [
        header(path, problem, safeties),
        *warnings,
        *([verdicts] if verdicts is not None else []),
        *tables,
    ]
    line = " · ".join(filter(None, (warning(safeties), unread_line(problem))))
    return Report(SCHEMA, path, sections, True, Phrase((line,)))
