"""The rule about what loading a file can execute, and the verdicts it rests on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from modelscope_cli.checks.rule import Demand, Subject
from modelscope_cli.core.limits import DEFAULT_LIMITS, Limits
from modelscope_cli.errors import SourceError
from modelscope_cli.report.document import Verdict

if TYPE_CHECKING:
    from modelscope_cli.analysis.safety import Safety
    from modelscope_cli.core.checkpoint import Checkpoint

MOST_NAMED = 3


def safeties_of(checkpoint: Checkpoint, limits: Limits = DEFAULT_LIMITS) -> list[Safety]:
    """The verdict on each file of a checkpoint. Raises SourceError for one that is not there, as with a description of a model."""
    from modelscope_cli.analysis.safety import Safety
    from modelscope_cli.formats.registry import read_window
    from modelscope_cli.formats.scanning import scan_file

    if checkpoint.path.endswith(".baseline.json"):
        raise SourceError("a description of a model, not the model", path=checkpoint.path)
    found = []
    for file in checkpoint.files:
        path = file.path
        if not os.path.exists(path):
            beside = os.path.join(checkpoint.path if os.path.isdir(checkpoint.path) else os.path.dirname(checkpoint.path), path)
            path = beside if os.path.exists(beside) else path
        one = len(checkpoint.files) == 1
        found.append(Safety(scan_file(path, limits, (lambda window, bounds: checkpoint) if one else read_window)))
    return found


def forbid_unsafe(subject: Subject, demand: Demand) -> Verdict:
    """Whether a file is suspicious or dangerous, as `mscope scan` judges it."""
    from modelscope_cli.analysis.policy import grave
    from modelscope_cli.analysis.safety import worst
    from modelscope_cli.core.scan_codes import SUSPICIOUS

    try:
        safeties = safeties_of(subject.checkpoint)
    except SourceError as problem:
        return demand.failed("not scanned", f"it cannot be scanned: {problem.message}", "scan the file itself")
    level = worst(safeties)
    if grave(level) < grave(SUSPICIOUS):
        names = sorted({item.path for safety in safeties for item in safety.imports if item.judgement.level == level != "safe"})
        said = f"it is {level}" + (
            f": {', '.join(names[:MOST_NAMED])}{', …' if len(names) > MOST_NAMED else ''} not judged" if names else ""
        )
        return demand.passed(level, said)
    wrong = [safety for safety in safeties if safety.verdict is not None and grave(safety.verdict) >= grave(SUSPICIOUS)]
    wrong.sort(key=lambda safety: -grave(safety.verdict or "safe"))
    said = "; ".join(f"{os.path.basename(safety.path)} is {safety.verdict}: {safety.why}" for safety in wrong[:MOST_NAMED])
    return demand.failed(level, said, f"mscope scan {subject.checkpoint.path} tells all of it; do not load it")
