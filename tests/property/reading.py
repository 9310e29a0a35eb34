"""What must hold for any bytes at all: they are read and analysed, or refused with a ModelscopeError."""

from __future__ import annotations

from modelscope_cli.analysis.grouping import KEYS, Grouping
from modelscope_cli.analysis.ledger import Ledger
from modelscope_cli.analysis.overview import inspect, to_report, to_tree_report
from modelscope_cli.analysis.size_row import total
from modelscope_cli.core.checkpoint import Checkpoint
from modelscope_cli.core.limits import DEFAULT_LIMITS, Limits
from modelscope_cli.core.window import MemoryWindow
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.registry import read_window
from modelscope_cli.render.json import render
from modelscope_cli.render.registry import Look
from modelscope_cli.report.document import EVERYTHING, Document


def read_bytes(data: bytes, name: str, limits: Limits = DEFAULT_LIMITS, *, lenient: bool = False) -> Checkpoint | None:
    """The checkpoint, checked, or None where reading raised a ModelscopeError. Anything else that is raised is a bug."""
    try:
        checkpoint = read_window(MemoryWindow(data, name), limits, lenient=lenient)
    except ModelscopeError:
        return None
    if all(note.code != "baseline" for note in checkpoint.notes):  # which speaks of other files
        check_byte_maps(checkpoint, len(data))
    return checkpoint


def check_byte_maps(checkpoint: Checkpoint, nbytes: int) -> None:
    """The regions follow one another from the first byte to the last."""
    assert checkpoint.nbytes == nbytes
    for file, byte_map in zip(checkpoint.files, checkpoint.byte_maps, strict=True):
        position = 0
        for region in byte_map.regions:
            assert region.start == position
            assert region.stop > region.start
            position = region.stop
        assert position == file.nbytes == byte_map.size
    assert sum(checkpoint.sections().values()) == nbytes


def check_analyses(checkpoint: Checkpoint) -> None:
    """Every report can be made, and groups add up to the files and to the parameters."""
    ledger = Ledger(checkpoint)
    for key in KEYS:
        rows = Grouping(ledger).rows([key])
        assert total(rows).nbytes == checkpoint.nbytes, key
        assert total(rows).parameters == ledger.total_parameters(), key
    overview = inspect(checkpoint)
    assert render(Document("test", [to_report(overview, EVERYTHING)]), Look())
    assert to_tree_report(overview).sections
