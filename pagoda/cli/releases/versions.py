"""`pagoda versions`: what is registered, and what of it serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pagoda.cli.options import HomeOption, OutputFormat, OutputOption

if TYPE_CHECKING:
    from pagoda.generations.state import ReleaseState
    from pagoda.generations.versions import VersionRecord

app = typer.Typer()
_SHOWN_METRIC = "recall@50"


@app.command()
def versions(
    *,
    full: Annotated[bool, typer.Option("--full", help="Full versions only.")] = False,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="How many of the latest.")] = 20,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """List the full and incremental versions of the model, oldest first."""
    from pagoda.generations.standing import as_json

    state = _state(home)
    records = [record for record in state.versions.values() if not full or record.update == "full"]
    records = sorted(records, key=lambda record: record.version)[-last:]
    if output == OutputFormat.JSON:
        typer.echo(json.dumps([as_json(state, record) for record in records], indent=2))
    elif records:
        Console().print(_table(state, records))
        _say_worth(records)
    else:
        Console().print("No version is registered yet.")


def _state(home: Path | None) -> ReleaseState:
    from pagoda.generations.release_log import open_log
    from pagoda.settings import load_settings

    return open_log(load_settings(home)).state()


def _table(state: ReleaseState, records: list[VersionRecord]) -> Table:
    from pagoda.generations.standing import standing_of

    # As wide as a terminal of 80 columns; a generation's name tells the base, `--output json` the rest.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    right = {"version", "parent", "rows", _SHOWN_METRIC}
    for name in ("version", "update", "parent", "learned up to", "rows", _SHOWN_METRIC, "generation", ""):
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    for record in records:
        id_, standing = standing_of(state, record)
        table.add_row(
            str(record.version),
            record.update,
            str(record.parent or ""),
            f"{record.window.end:%Y-%m-%d %H:%M}",
            "" if record.rows is None else f"{record.rows:,}",
            f"{record.metrics[_SHOWN_METRIC]:.4f}" if _SHOWN_METRIC in record.metrics else "",
            id_ or "",
            standing,
        )
    return table


def _say_worth(records: list[VersionRecord]) -> None:
    """What the newest full version was found to be worth, and of every one that is shown what of that is bad."""
    from pagoda.generations.versions import JUDGEMENT, WARNING

    console, judged = Console(), [record for record in records if JUDGEMENT in record.tags]
    if judged:
        console.print(Text(f"Version {judged[-1].version}: {judged[-1].tags[JUDGEMENT]}"), soft_wrap=True)
    for record in judged:
        if WARNING in record.tags:
            console.print(Text(f"Version {record.version}: {record.tags[WARNING]}.", style="yellow"), soft_wrap=True)
