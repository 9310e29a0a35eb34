"""Where the documents of a command go: formats, files, stdout, the step summary of a CI server. All from one read."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import typer

from modelscope_cli.cli.options import Color, Unit, console, nearest, refuse_inputs
from modelscope_cli.report.document import PICTURED, READABLE

if TYPE_CHECKING:
    from modelscope_cli.core.checkpoint import Checkpoint
    from modelscope_cli.errors import ModelscopeError
    from modelscope_cli.formats.locate import Target
    from modelscope_cli.render.registry import Renderer
    from modelscope_cli.report.document import Document, Report

OUTPUT = "Output"  # a panel of the help
TABLE = "table"
STDOUT = "-"
SUFFIXES = (".md", ".html", ".json", ".xml", ".sarif", ".csv", ".tsv")  # those that are named to people
TEXT = ("", ".txt", ".text", ".log", ".out")  # of files that get a table
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"  # the variable that names the file a step writes its summary to

T = TypeVar("T")
Make = Callable[[str], "Report"]  # a report of as much detail as is asked for
Files = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write to a file, - for stdout; may be given again. The suffix decides: .md .html .json .xml .sarif .csv .tsv.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
Colors = Annotated[Color, typer.Option("--color", help="When to use colours; NO_COLOR is obeyed.", rich_help_panel=OUTPUT)]
Units = Annotated[
    Unit, typer.Option("--unit", help="Sizes in KiB/MiB (iec, auto), kB/MB (si) or bytes.", rich_help_panel=OUTPUT)
]
Github = Annotated[
    bool,
    typer.Option(
        "--github",
        help="In a GitHub workflow: append to the step summary and print annotations.",
        rich_help_panel=OUTPUT,
    ),
]


class Output(NamedTuple):
    """A document to write: its format (`own` ones are those only one command has), and the file, None for stdout."""

    format: str
    file: str | None


def complete_documents(incomplete: str) -> list[str]:
    """Shell completion of --format."""
    from modelscope_cli.render.registry import NAMES

    return [name for name in (TABLE, *NAMES) if name.startswith(incomplete)]


def outputs(
    format: str | None,
    files: Sequence[str] | None,
    default: str,
    own: tuple[str, ...] = (TABLE,),
    without: tuple[str, ...] = (),
) -> list[Output]:
    """What to write. The suffix of a file says its format, where one is known; --format is for stdout and for other files.

    `without` are formats that the command has not.
    """
    from modelscope_cli.render.registry import NAMES, renderer_for

    known = tuple(name for name in (*own, *NAMES) if name not in without)
    suffixes = [suffix for suffix in SUFFIXES if getattr(renderer_for(suffix), "name", None) not in without]
    listed = f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"
    wanted = format.lower() if format is not None else None
    wanted = {"md": "markdown", "xml": "junit", "htm": "html"}.get(wanted or "", wanted)
    if wanted is not None and wanted not in known:
        raise typer.BadParameter(
            f"{format!r} is not one of {', '.join(known)}{nearest(wanted, known)}", param_hint="'--format'"
        )
    found: list[Output] = []
    for file in files or (STDOUT,):
        if file == "":
            raise typer.BadParameter("a file needs a name", param_hint="'--output'")
        by_suffix = renderer_for(file)
        if file == STDOUT:
            found.append(Output(wanted or default, None))
        elif by_suffix is not None and by_suffix.name in without:
            raise typer.BadParameter(
                f"{file!r}: {by_suffix.name} has no place for this: write {listed}", param_hint="'--output'"
            )
        elif by_suffix is not None:
            found.append(Output(by_suffix.name, file))
        elif wanted is not None or (TABLE in own and os.path.splitext(file)[1].lower() in TEXT):
            found.append(Output(wanted or default, file))
        else:
            raise typer.BadParameter(
                f"{file!r} does not end in {listed}: say which format with -f",
                param_hint="'--output'",
            )
    if wanted is not None and all(output.file is not None and output.format != wanted for output in found):
        raise typer.BadParameter(
            f"{format!r} contradicts {', '.join(repr(output.file) for output in found)}: the suffix of a file decides, "
            "-f is for stdout and for names without a known suffix",
            param_hint="'--format'",
        )
    if sum(output.file is None for output in found) > 1:
        raise typer.BadParameter("stdout takes one document", param_hint="'--output'")
    return found


def within_limits(name: str, work: Callable[[], T], problems: list[ModelscopeError] | None = None) -> T | None:
    """What work on an output gives, in the seconds that the files left and the memory there is. That they end it is told: None."""
    from modelscope_cli.cli.clock import Clock
    from modelscope_cli.cli.problems import tell
    from modelscope_cli.errors import LimitError

    try:
        with Clock.writing(name):
            return work()
    except LimitError as problem:
        tell(problem)
        if problems is not None:
            problems.append(problem)
        return None


class Publisher:
    """Collects the reports of a command and writes its documents: tables one by one as they come, the rest at the end."""

    def __init__(
        self, wanted: Sequence[Output], schema: str, color: Color, unit: Unit, *, github: bool = False, judging: bool = False
    ):
        from modelscope_cli.render.registry import renderer_named

        self.wanted = wanted
        # Whoever reads stdout may leave, or its disk be full: files are written and models judged all the same.
        self.judging = judging
        self.goes_on = judging or github or any(output.file is not None for output in wanted)
        self.cut_off: OSError | None = None
        self.schema = schema
        self.unit = unit
        self.github = github
        self.renderers: list[tuple[Output, Renderer | None]] = [(output, renderer_named(output.format)) for output in wanted]
        self.details = list(dict.fromkeys(renderer.detail for _, renderer in self.renderers if renderer is not None))
        if github and READABLE not in self.details:
            self.details.append(READABLE)
        self.reports: dict[str, list[Report]] = {detail: [] for detail in self.details}
        self.consoles: list[tuple[Any, Output, Any]] = []  # (console, output, buffer of a file)
        for output, renderer in self.renderers:
            if renderer is None:
                import io

                buffer = io.StringIO() if output.file is not None else None
                self.consoles.append((console(color, buffer), output, buffer))
        self.printed = 0

    @property
    def pictured(self) -> bool:
        """Whether somebody wants pictures."""
        return PICTURED in self.details

    def targets(self, targets: Sequence[Target]) -> None:
        """Files that must not be written over, whether they can be read or not."""
        for target in targets:
            self.refuse((target.path, target.index_path or target.path, *(target.shards or ())))
            self.refuse((target.archive.file,) if target.archive is not None else ())

    def model(self, checkpoint: Checkpoint) -> None:
        """The same of what was read: a model or a baseline."""
        self.refuse((checkpoint.path, *[file.path for file in checkpoint.files]))

    def refuse(self, paths: Sequence[str]) -> None:
        """Wrong usage where one of these files, whatever the command reads it for, is to be written over."""
        for output in self.wanted:
            if output.file is not None:
                refuse_inputs(output.file, paths)

    def add(self, make: Make, show: Callable[[Any, str], Report] | None = None) -> bool:
        """Take in one report, made once for each amount of detail. Returns whether something in it could not be read.

        `show` prints it to a console in the format given, where that is not the usual table.
        """
        made = {detail: make(detail) for detail in self.details}
        failed = any([report.failed for report in made.values()])
        for detail, report in made.items():
            self.reports[detail].append(report)
        for terminal, output, _ in list(self.consoles):
            try:
                failed = self.show(terminal, output.format, make, show) or failed
            except OSError as error:
                self.lose_stdout(error)
        self.printed += 1
        return failed

    def show(self, terminal: Any, format: str, make: Make, show: Callable[[Any, str], Report] | None) -> bool:
        """Print a report to a console. Returns whether something in it could not be read."""
        if self.printed:
            terminal.print()
        if show is not None and format != TABLE:
            return show(terminal, format).failed
        from modelscope_cli.render.terminal import Page

        report = self.reports[READABLE][-1] if READABLE in self.reports else make(READABLE)
        Page(terminal, self.unit.value).show(report)
        return report.failed

    def lose_stdout(self, error: OSError) -> None:
        """Nothing more can be written to stdout: go on without it where there is something else to do."""
        if not self.goes_on:
            raise error
        self.cut_off = error
        self.consoles = [each for each in self.consoles if each[1].file is not None]

    def finish(self, problems: Sequence[ModelscopeError]) -> bool:
        """Write what was kept back. Returns whether something could not be written; the other files are there all the same."""
        from modelscope_cli.cli.options import written

        wrong = False
        for _, output, buffer in self.consoles:
            if output.file is not None:
                data = buffer.getvalue().encode("utf-8", "backslashreplace")
                wrong = not within_limits(output.file, partial(written, output.file, data)) or wrong
        for output, renderer in self.renderers:
            if renderer is not None and output.file is not None:
                pieces = self.pieces(renderer, problems)
                wrong = not within_limits(output.file, partial(written, output.file, pieces)) or wrong
        if self.github:
            wrong = not within_limits("the summary", partial(self.append_summary, problems)) or wrong
        try:
            wrong = not within_limits("the output", partial(self.print_rest, problems)) or wrong
        except OSError as error:
            self.lose_stdout(error)
        if self.cut_off is None or isinstance(self.cut_off, BrokenPipeError):
            return wrong
        if not self.judging:
            raise self.cut_off
        from modelscope_cli.cli.app import unwritable

        unwritable(self.cut_off)
        return True

    def print_rest(self, problems: Sequence[ModelscopeError]) -> bool:
        """What goes to stdout at the end. Annotations are for the log: where stdout is a document, they go to stderr."""
        from modelscope_cli.cli.problems import print_line, say
        from modelscope_cli.render.github import annotations

        if self.cut_off is not None:
            return True
        whole = next((renderer for output, renderer in self.renderers if renderer is not None and output.file is None), None)
        if whole is not None:
            for piece in self.pieces(whole, problems):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        if self.github:
            for line in annotations(self.document(READABLE, problems)):
                (say if whole is not None else print_line)(line)
            sys.stdout.flush()
        return True

    def document(self, detail: str, problems: Sequence[ModelscopeError]) -> Document:
        """Everything there is to say, in so much detail."""
        from modelscope_cli.cli.problems import as_problem
        from modelscope_cli.report.document import Document

        return Document(self.schema, self.reports[detail], [as_problem(problem) for problem in problems])

    def pieces(self, renderer: Renderer, problems: Sequence[ModelscopeError]) -> Iterator[bytes]:
        """The document in a format, bit by bit: it may be far larger than what it is made from."""
        from modelscope_cli.render.registry import Look, pieces

        return pieces(renderer, self.document(renderer.detail, problems), Look(self.unit.value))

    def append_summary(self, problems: Sequence[ModelscopeError]) -> bool:
        """Append to the step summary. Returns whether that could be written."""
        from modelscope_cli.cli.problems import say
        from modelscope_cli.render.registry import renderer_named

        summary = os.environ.get(STEP_SUMMARY)
        if not summary:
            say(f"mscope: {STEP_SUMMARY} is not set, so there is no step summary to append to")
            return True
        markdown = renderer_named("markdown")
        if markdown is None:
            raise AssertionError("there is no Markdown")
        try:
            with open(summary, "ab") as file:
                file.write(b"".join(self.pieces(markdown, problems)) + b"\n")
        except OSError as error:
            say(f"mscope: {summary}: the step summary cannot be written: {(error.strerror or str(error)).lower()}")
            return False
        return True
