"""Scanning what is read, under the same clock, and by the policy that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from modelscope_cli.cli.clock import Clock, TimeUpError
from modelscope_cli.cli.progress import LateProgress
from modelscope_cli.cli.reading import guarded
from modelscope_cli.core.scanned import Scanned
from modelscope_cli.errors import LimitError, ModelscopeError
from modelscope_cli.formats.looking import Looking

if TYPE_CHECKING:
    from modelscope_cli.checks.safety import Judged
    from modelscope_cli.cli.policies import Criteria
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.core.limits import Limits
    from modelscope_cli.core.window import Window
    from modelscope_cli.formats.locate import Target
    from modelscope_cli.formats.registry import Read


class Timed(Looking):
    """Scans within the seconds of the limits: those that reading the same file leaves, or of a file that is only scanned all."""

    def __init__(self, limits: Limits):
        super().__init__(limits)
        self.clock: Clock | None = None  # that of a file that is being read
        self.about: Callable[[Scanned], str] = lambda _: ""  # what is wrong with a file, in words

    def scan(self, window: Window, read: Read) -> Scanned:
        work = partial(super().scan, window, read)
        clock = self.clock
        try:
            if clock is None:
                with LateProgress(window.name), Clock(self.limits.seconds, window.name):
                    return guarded(work, window.name)
            found = guarded(work, window.name)
            if clock.timed or not clock.late():
                return found
        except TimeUpError:
            pass
        except ModelscopeError as problem:
            return unlooked(window, problem)
        if clock is not None:
            clock.begin()
        seconds = self.limits.seconds
        return unlooked(window, LimitError("seconds", seconds, f"more than {seconds:,}", path=window.name))

    def warn(self, problem: ModelscopeError, path: str) -> None:
        """Add to the refusal of a file what is wrong with it besides."""
        scanned = self.said_of(problem.path) or self.said_of(path)
        said = self.about(scanned) if scanned is not None else ""
        if said:
            problem.hint = f"{said}; {problem.hint}" if problem.hint else said


def unlooked(window: Window, problem: ModelscopeError) -> Scanned:
    """A file that could not be gone through."""
    found = Scanned(window.name, window.size)
    found.problem = problem
    return found


class Safeties:
    """The verdicts on what a command reads: files are scanned while they are read, and judged by one policy."""

    def __init__(self, bounds: Limits, criteria: Criteria, paths: Sequence[str]):
        from modelscope_cli.checks.safety import Bench

        self.look = Timed(bounds)
        self.look.about = self.about
        self.bench = Bench(criteria.policy)
        self.criteria = criteria
        self.paths = paths
        self.told: set[int] = set()

    def about(self, scanned: Scanned) -> str:
        """That a file is suspicious or dangerous, and why; nothing of any other."""
        from modelscope_cli.core.scan_codes import DANGEROUS, SUSPICIOUS

        (safety,) = self.bench.judge([scanned])
        return f"it is {safety.verdict}: {safety.why}" if safety.verdict in (SUSPICIOUS, DANGEROUS) else ""

    def looking_at(self, target: Target) -> Timed | None:
        """What to read a target with: a member of an archive that was named as a whole is scanned with the archive."""
        return self.look if target.archive is None or self._named_inside(target) else None

    def of(self, checkpoint: Checkpoint, target: Target, targets: Sequence[Target], *, around: bool) -> Callable[[], Judged]:
        """The verdicts on a checkpoint, with those on the rest of the folder that was named if `around`."""

        def judged() -> Judged:
            from modelscope_cli.checks.safety import Judged

            scans, unread = self.look.own(checkpoint, target)
            if around and (scans or unread):
                beside = self.look.around(target, targets)
                scans, unread = scans + beside.scans, unread + beside.unread
            criteria = self.criteria
            return Judged(self.bench.judge(scans), criteria.fail_on, unread, criteria.origin)

        kept: list[Judged] = []

        def once() -> Judged:
            if not kept:
                kept.append(judged())
            return kept[0]

        return once

    def tell(self, judged: Judged, problems: list[ModelscopeError]) -> None:
        """Tell what could not be looked at, and what makes a verdict milder, each once."""
        from modelscope_cli.cli.problems import tell

        self.criteria.tell(judged.safeties)
        for problem in judged.problems:
            said = hash((problem.path, problem.message))
            if said not in self.told and all(problem is not other for other in problems):
                self.told.add(said)
                tell(problem)
                problems.append(problem)

    def _named_inside(self, target: Target) -> bool:
        from modelscope_cli.formats.archive_paths import leads_inside

        named = [path.rstrip("/") for path in self.paths if leads_inside(path)]
        return any([target.path == path or target.path.startswith((f"{path}/", f"{path}!/")) for path in named])
