"""`pagoda explore`: what exploring new items cost and brought."""

from __future__ import annotations

from typing import Annotated

import typer

from pagoda.cli.options import DataOption, OutputFormat, OutputOption, read_window

app = typer.Typer(
    name="explore", help="New items in places that chance gives, see docs/training.md.", no_args_is_help=True
)


@app.command()
def report(
    *,
    data: DataOption,
    window: Annotated[str, typer.Option(metavar="START/END", help="ISO 8601. Default: all of the data.")] = "",
    clicks: Annotated[int, typer.Option(min=1, help="From how many clicks on an item is known.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals.")] = 0,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Say what was clicked by channel, what explored places cost in clicks, and how many items they made known."""
    from rich.console import Console

    from pagoda.data.dataset import Dataset
    from pagoda.evaluation.exploration.estimates import exploration_report
    from pagoda.evaluation.rendering.exploration import exploration_tables

    dataset = Dataset.open(data)
    found = exploration_report(dataset, read_window(window) if window else dataset.span(), clicks=clicks, seed=seed)
    if output is OutputFormat.JSON:
        typer.echo(found.model_dump_json(indent=1))
    else:
        Console().print(exploration_tables(found))
