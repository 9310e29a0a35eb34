"""Scanning what is read, under the same clock, and by the policy that was asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from modelscope_cli.cli.clock import Clock, SpentError
from modelscope_cli.cli.progress import LateProgress
from modelscope_cli.cli.reading import guarded
from modelscope_cli.core.scanned import Scanned
from modelscope_cli.errors import LimitError, ModelscopeError
from modelscope_cli.formats.looking import Looking

if TYPE_CHECKING:
    from modelscope_cli.analysis.safety import Safety
    from modelscope_cli.checks.safety import Judged
    from modelscope_cli.cli.policies import Criteria
    from modelscope_cli.cli.reading import Unread
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

    def scan(self, window: Window, read: Read, found: Scanned | None = None) -> Scanned:
        found = found or Scanned(window.name, window.size)
        work = partial(super().scan, window, read, found)
        clock = self.clock
        spent = SpentError("seconds", self.limits.seconds)
        try:
            if clock is None:
                with LateProgress(window.name), Clock.reading(self.limits, window.name):
                    return guarded(work, window.name)
            clock.keep_for_the_end()
            guarded(work, window.name)
            if clock.timed or not clock.late():
                return found
        except SpentError as error:
            spent = error
            if clock is not None:
                clock.let_go(error)
        except ModelscopeError as problem:
            found.problem = problem  # what was found until then counts
            return found
        finally:
            if clock is not None:
                clock.last()
        found.problem = spent.problem(window.name)
        return found

    def warn(self, problem: ModelscopeError, path: str) -> None:
        """Add to the refusal of a file what is wrong with it besides."""
        scanned = self.said_of(problem.path) or self.said_of(path)
        said = self.about(scanned) if scanned is not None else ""
        if said:
            problem.hint = f"{said}; {problem.hint}" if problem.hint else said


def judged_or_unread(judge: Callable[[], Safety], scanned: Scanned) -> Safety:
    """The verdict on what was scanned, or where judging fails that it is not known."""
    try:
        return guarded(judge, scanned.path)
    except ModelscopeError as problem:
        from modelscope_cli.analysis.safety import Safety

        unread = Scanned(scanned.path, scanned.nbytes)
        unread.problem = problem
        return Safety(unread)


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

        (safety,) = self.judge([scanned], scanned.path)
        return f"it is {safety.verdict}: {safety.why}" if safety.verdict in (SUSPICIOUS, DANGEROUS) else ""

    def judge(self, scans: Sequence[Scanned], path: str) -> list[Safety]:
        """The verdicts on what was scanned, in what is left of the seconds of a path. A verdict is kept, whatever comes after it."""
        clock = Clock.running_now[-1] if Clock.running_now and Clock.running_now[-1].path == path else None
        if clock is not None:
            with clock.asking() as ends:
                return self._judge(scans, ends)
        with Clock.showing(self.look.limits, path) as clock, clock.asking() as ends:
            return self._judge(scans, ends)

    def _judge(self, scans: Sequence[Scanned], ends: Callable[[], LimitError | None]) -> list[Safety]:
        from modelscope_cli.checks.safety import different

        return [judged_or_unread(partial(self.bench.one, scanned, ends), scanned) for scanned in different(scans)]

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
            return Judged(self.judge(scans, checkpoint.path), criteria.fail_on, unread, criteria.origin)

        kept: list[Judged] = []

        def once() -> Judged:
            if not kept:
                kept.append(judged())
            return kept[0]

        return once

    def unread(self, left: Unread, targets: Sequence[Target], every: Sequence[Unread]) -> Judged:
        """The verdicts on what lies at a path where no model was found, or where the one that was cannot be read.

        `every` are all such: the rest of a folder is judged with the first of them, where no model of the folder was read.
        """
        from modelscope_cli.checks.safety import Judged
        from modelscope_cli.cli.scan_paths import ScanPaths
        from modelscope_cli.formats.archive_paths import leads_inside
        from modelscope_cli.formats.locate import names_of

        if isinstance(left.problem, LimitError) and left.problem.resource in ("seconds", "memory_bytes"):
            self.look.give_up(left.problem)
        target = targets[left.number] if left.number is not None else None
        if target is not None and target.archive is not None and not self._named_inside(target):
            scans, unread = self.look.archive(target.archive)
        else:
            names = [left.path] if target is None else names_of(target)
            if target is not None and target.archive is not None:
                names.remove(target.archive.file)  # of which a member was named
            there = [
                name for name in names if leads_inside(name) or os.path.lexists(name)
            ]  # a set goes by a name that no file has
            below = ScanPaths(there or [left.path], self.look.limits, ())
            scans, unread = self.look.files([file for file, _ in below])
            unread += below.problems
        if target is not None and target.in_folder is not None:
            others = [number for number, other in enumerate(targets) if other.in_folder is target.in_folder]
            if others[0] == left.number and {*others} <= {one.number for one in every}:
                beside = self.look.around(target, targets)
                scans, unread = scans + beside.scans, unread + beside.unread
        return Judged(self.judge(scans, left.path), self.criteria.fail_on, unread, self.criteria.origin)

    def tell(self, judged: Judged, problems: list[ModelscopeError]) -> None:
        """Tell what could not be looked at, and what makes a verdict milder, each once."""
        from modelscope_cli.cli.problems import tell

        self.criteria.tell(judged.safeties)
        for problem in judged.problems:
            said = hash((problem.path, problem.message))
            if said not in self.told and all(
                (problem.path, problem.message) != (other.path, other.message) for other in problems
            ):
                self.told.add(said)
                tell(problem)
                problems.append(problem)

    def _named_inside(self, target: Target) -> bool:
        from modelscope_cli.formats.archive_paths import leads_inside

        named = [path.rstrip("/") for path in self.paths if leads_inside(path)]
        return any([target.path == path or target.path.startswith((f"{path}/", f"{path}!/")) for path in named])
