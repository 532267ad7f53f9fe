"""`pagoda config`: the settings of an installation."""

from __future__ import annotations

import json

import typer

from pagoda.cli.options import HomeOption, OutputFormat, OutputOption

app = typer.Typer(name="config", help="The settings of an installation.", no_args_is_help=True)


@app.command()
def show(output: OutputOption = OutputFormat.TABLE, home: HomeOption = None) -> None:
    """Show every setting as it holds and where it comes from; secrets are masked."""
    from rich.console import Console

    from pagoda.cli.fitted_table import Column, FittedTable
    from pagoda.settings.origins import resolved

    found = resolved(home)
    if output is OutputFormat.JSON:
        typer.echo(json.dumps({one.key: {"value": one.value, "from": one.origin} for one in found}, indent=2))
        return
    table = FittedTable(Column("setting"), Column("value", prose=20), Column("from"))
    for one in found:
        table.add_row(one.key, one.value if isinstance(one.value, str) else json.dumps(one.value), one.origin)
    Console().print(table)
