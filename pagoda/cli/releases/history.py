"""`pagoda history`: what served when."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pagoda.cli.fitted_table import Column, FittedTable
from pagoda.cli.options import HomeOption, OutputFormat, OutputOption

if TYPE_CHECKING:
    from pagoda.generations.arms import ArmsChange

app = typer.Typer()


@app.command()
def history(
    *,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="How many of the latest changes.")] = 20,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """List the changes of what serves, from the release log, oldest first."""
    from pagoda.generations.release_log import open_log
    from pagoda.settings import load_settings

    log = open_log(load_settings(home))
    releases = log.state().releases
    ends = [*(release.at for release in releases[1:]), log.now()]
    shown = list(zip(releases, ends, strict=False))[-last:]
    if output == OutputFormat.JSON:
        typer.echo(json.dumps([_as_json(release) for release, _ in shown], indent=2))
    elif shown:
        Console().print(_table(shown))
    else:
        Console().print("Nothing was published yet.")


def _table(shown: list[tuple[ArmsChange, datetime]]) -> FittedTable:
    table = FittedTable(
        Column("record", right=True),
        Column("at (UTC)"),
        Column("stable"),
        Column("canary"),
        Column("for", right=True, gives_way=1),
        Column("reason", prose=24),
    )
    for release, end in shown:
        duration = timedelta(seconds=int((end - release.at).total_seconds()))
        arms = release.arms
        at = f"{release.at:%Y-%m-%d %H:%M:%S}"
        table.add_row(str(release.number), at, arms.stable or "-", arms.canary or "-", str(duration), release.reason)
    return table


def _as_json(release: ArmsChange) -> dict[str, object]:
    at = release.at.isoformat()
    return {"record": release.number, "at": at, **release.arms.model_dump(), "reason": release.reason}
