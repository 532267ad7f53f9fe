"""`pagoda data`: make and check dataset folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pagoda.cli.data.auto import auto
from pagoda.cli.data.export import exporting
from pagoda.cli.data.imported import warn
from pagoda.cli.data.sources import importing
from pagoda.cli.options import OutputFormat, OutputOption

if TYPE_CHECKING:
    from pagoda.data.checks.check import Checked

app = typer.Typer(name="data", help="Import and check datasets, see docs/data.md.", no_args_is_help=True)
importing.command()(auto)
app.add_typer(importing)
app.add_typer(exporting)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder.")],
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Read a whole dataset and report everything that is wrong with it; exit 1 if anything is."""
    from pagoda.data.checks.check import check_dataset

    checked = check_dataset(path)
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(checked.as_dict(), indent=2))
    else:
        _print(path, checked)
    if not checked.report.ok:
        raise typer.Exit(1)


def _print(path: Path, checked: Checked) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    report = checked.report
    for kind, count in report.counts.items():
        named = [problem for problem in report.problems if problem.kind is kind]
        more = f", the first {len(named)}" if count > len(named) else ""
        console.print(f"[bold red]{kind.value}[/] ({count:,}{more})")
        for problem in named:
            console.print(f"  {escape(str(problem))}")
    rows = ", ".join(f"{count:,} {table}" for table, count in checked.rows.items())
    if checked.tied_share:
        rows += f"; {checked.tied_share:.1%} share their moment with another item of the same user"
    found = _found(report.total, len(checked.warnings))
    console.print(f"{path}: {rows}; {found}", markup=False)
    warn(checked.warnings)


def _found(problems: int, warnings: int) -> str:
    if problems:
        return f"{problems:,} problems"
    return "nothing is wrong" if not warnings else f"nothing breaks the contract, {warnings} to look at"
