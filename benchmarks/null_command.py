"""The least a command of this kind can cost: a Typer app that reads nothing and prints a 20-row rich table."""

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer()


@app.command()
def main() -> None:
    table = Table("module", "parameters", "bytes")
    for row in range(20):
        table.add_row(f"row {row}", "0", "0")
    Console().print(table)


if __name__ == "__main__":
    app()
