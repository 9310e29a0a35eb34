"""`mscope formats`: every kind of file that mscope knows, read or named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelscope_cli.cli.options import Color, Unit
from modelscope_cli.cli.output import OUTPUT, TABLE, Colors, Files, Publisher, complete_documents, outputs

if TYPE_CHECKING:
    from modelscope_cli.formats.catalogue import Entry
    from modelscope_cli.report.document import Report, Table

SCHEMA = "mscope.formats/1"
GROUPS = (  # of what is named and not read: the group, the key of its table, its title
    ("models", "models", "Models, named only"),
    ("beside models", "beside", "Beside models, named only"),
    ("no models", "others", "No models, named only"),
)

HELP = """Every kind of file that mscope knows: what is read of it, and how it is recognised.

Content decides; a suffix only breaks a tie. What is not read is named as what it is, with what to do about it.

Exit codes: 0 fine, 2 wrong usage, 3 something could not be written.

\b
Examples:
  mscope formats
  mscope formats -f markdown
  mscope formats -f json | jq '.checkpoints[0].formats[] | select(.status == "read").name'
  mscope formats -o formats.csv
"""


def formats(
    format: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            metavar="FORMAT",
            help="table, json, markdown, html, csv or tsv.",
            rich_help_panel=OUTPUT,
            show_default=False,
            autocompletion=complete_documents,
        ),
    ] = None,
    output: Files = None,
    color: Colors = Color.auto,
) -> None:
    """Print the catalogue; the help text is HELP."""
    wanted = outputs(format, output, TABLE)
    if any(each.format in ("junit", "sarif") for each in wanted):
        raise typer.BadParameter("junit and sarif are for what check and scan find", param_hint="'--format'")
    publisher = Publisher(wanted, SCHEMA, color, Unit.auto)
    publisher.add(lambda detail: to_report())
    if publisher.finish([]):
        from modelscope_cli.cli.problems import UNREADABLE

        raise typer.Exit(UNREADABLE)


def to_report() -> Report:
    """For people a table of what is read and three of what is named, for machines one of all."""
    from modelscope_cli.formats.catalogue import NAMED, READ, entries
    from modelscope_cli.report.document import Phrase, Report

    found = entries()
    read = [entry for entry in found if entry.status == READ]
    named = [entry for entry in found if entry.status == NAMED]
    sections = [all_of(found), read_table(read)]
    sections += [named_table(key, title, [entry for entry in named if entry.group == group]) for group, key, title in GROUPS]
    headline = Phrase((f"{len(read)} kinds of file are read, {len(named)} more are named as what they are",))
    return Report(SCHEMA, "mscope formats", sections, headline=headline)


def all_of(found: list[Entry]) -> Table:
    from modelscope_cli.formats.catalogue import READ
    from modelscope_cli.report.document import MACHINES, Column, Row, Table

    keys = ("name", "title", "status", "group", "files", "reads", "todo", "rule", "limits")
    rows = []
    for entry in found:
        is_read = entry.status == READ
        said = (entry.reads, "") if is_read else ("", entry.reads)
        rows.append(Row((entry.name, entry.title, entry.status, entry.group, entry.files, *said, entry.rule, entry.limits)))
    return Table("formats", "", tuple(Column(key) for key in keys), rows, MACHINES)


def read_table(found: list[Entry]) -> Table:
    from modelscope_cli.report.document import PEOPLE, Column, Row, Table

    columns = (
        Column("title", "Read", wrapped=True),
        Column("files", "Files", show_from=100, wrapped=True),
        Column("reads", "What is read", wrapped=True, yields=0.7),
        Column("rule", "Recognised by", show_from=90, wrapped=True, yields=0.9),
        Column("limits", "Good to know", show_from=150, wrapped=True),
    )
    rows = [Row((entry.title, entry.files, entry.reads, entry.rule, entry.limits)) for entry in found]
    return Table("read", "Read", columns, rows, PEOPLE)


def named_table(key: str, title: str, found: list[Entry]) -> Table:
    from modelscope_cli.report.document import PEOPLE, Column, Row, Table

    columns = (
        Column("title", title, wrapped=True),
        Column("files", "Files", show_from=100, wrapped=True),
        Column("rule", "Recognised by", wrapped=True),
        Column("todo", "What to do", show_from=150, wrapped=True),
    )
    rows = [Row((bare(entry.title), entry.files, entry.rule, entry.reads)) for entry in found]
    return Table(key, title, columns, rows, PEOPLE)


def bare(title: str) -> str:
    """A title without its article and without what it explains."""
    article, _, rest = title.partition(":")[0].partition(" ")
    return rest if article in ("a", "an", "the", "one") else f"{article} {rest}"
