"""`pagoda items`: change items in every live collection within seconds, and for all later updates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pagoda.cli.options import HomeOption, OutputFormat, OutputOption
from pagoda.errors import RequestError

if TYPE_CHECKING:
    from pagoda.data.spec import FeatureSpec
    from pagoda.item_changes.records import ItemChange
    from pagoda.settings import Settings

app = typer.Typer(name="items", help="Add, change and remove items.")


@app.command()
def upsert(
    items: Annotated[str, typer.Argument(help="A file (.json, .jsonl, .parquet), or one item as JSON.")],
    *,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Add items, or replace all features of those that exist."""
    from pagoda.item_changes.changes import upserted
    from pagoda.settings import load_settings

    settings = load_settings(home)
    spec = _spec(settings)
    rows = _read(items)
    _append(settings, [upserted(spec, row, f"item {place}") for place, row in enumerate(rows, 1)], output)


@app.command()
def remove(
    ids: Annotated[list[str], typer.Argument(help="Item IDs.")],
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Also more of the catalogue than items.removal_share lets go.")
    ] = False,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Take items out of every collection, for good or until they are upserted again."""
    from pagoda.item_changes.changes import item_id_of, removed
    from pagoda.settings import load_settings

    settings = load_settings(home)
    spec = _spec(settings)
    _append(settings, [removed(spec, item_id_of(spec, one), f"item {one}") for one in ids], output, forced=force)


@app.command()
def undo(
    record: Annotated[int, typer.Argument(help="Number of the record, as `pagoda items log` shows it.")],
    *,
    data: Annotated[
        str, typer.Option("--data", help="Dataset of items that the log does not know; default: the stable version's.")
    ] = "",
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Restore what a record of the item log changed, by a new record. Doing it again does nothing."""
    from pagoda.item_changes.log import open_item_log
    from pagoda.item_changes.undo import undo as take_back
    from pagoda.settings import load_settings
    from pagoda.updates.item_replay import imported_items

    settings = load_settings(home)
    spec = _spec(settings)
    undone = take_back(open_item_log(settings), record, spec, lambda ids: imported_items(settings, data, ids))
    if output == OutputFormat.JSON:
        left = [{"item_id": one, "reason": why} for one, why in undone.left.items()]
        typer.echo(json.dumps({"record": undone.record, "restored": undone.restored, "left": left}))
        return
    console = Console(highlight=False, markup=False)
    if undone.already:
        console.print(f"Record {record} was undone before, by record {undone.record}.")
    elif undone.restored:
        console.print(f"{undone.restored:,} items are as before record {record}; record {undone.record} says so.")
    else:
        console.print(f"Nothing of record {record} could be restored.")
    for one, why in undone.left.items():
        console.print(f"Not restored: item {one!r}: {why}.")


@app.command("log")
def show_log(
    *,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="How many of the last records.")] = 20,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Show the last records of the item log."""
    from collections import deque

    from pagoda.item_changes.log import open_item_log
    from pagoda.settings import load_settings

    records = deque(open_item_log(load_settings(home)).records(), maxlen=last)
    rows = [
        {
            "record": one.number,
            "at": one.at.isoformat(timespec="seconds"),
            "upserted": sum(change.features is not None for change in one.changes),
            "removed": sum(change.features is None for change in one.changes),
            "undoes": one.undoes,
            "forced": one.forced,
            "by": one.by,
        }
        for one in records
    ]
    if output == OutputFormat.JSON:
        typer.echo(json.dumps(rows))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("record", "at", "upserted", "removed", "undoes", "forced", "by"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*("" if value in (None, False, "") else str(value) for value in row.values()))
    Console().print(table)


def _spec(settings: Settings) -> FeatureSpec:
    from pagoda.errors import UnavailableError
    from pagoda.generations.release_log import open_log

    state = open_log(settings).state()
    if state.stable is None:
        raise UnavailableError("items: nothing was published yet, so what an item may hold is unknown")
    return state.generations[state.stable].spec


def _read(items: str) -> list[dict[str, Any]]:
    """The items of a file, or the one that `items` itself is."""
    path = Path(items)
    try:
        if items.lstrip().startswith(("{", "[")):
            found = json.loads(items)
        elif path.suffix == ".parquet":
            import pyarrow.parquet as pq

            found = pq.read_table(path).to_pylist()
        elif path.suffix == ".jsonl":
            found = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        else:
            found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RequestError(f"items {items[:80]!r}: give a .json, .jsonl or .parquet file, or JSON ({error})") from None
    rows = found if isinstance(found, list) else [found]
    if wrong := [row for row in rows if not isinstance(row, dict)]:
        raise RequestError(f"items: each must be an object with item_id and features (got {wrong[0]!r})")
    return rows


def _append(settings: Settings, changes: Sequence[ItemChange], output: OutputFormat, *, forced: bool = False) -> None:
    from pagoda.item_changes.log import open_item_log
    from pagoda.item_changes.records import MAX_CHANGES

    log, number = open_item_log(settings), 0
    for start in range(0, len(changes), MAX_CHANGES):
        number = log.append(changes[start : start + MAX_CHANGES], forced=forced).number
    if output == OutputFormat.JSON:
        typer.echo(json.dumps({"record": number, "changes": len(changes)}))
    else:
        Console().print(f"{len(changes):,} changes, record {number} of the item log.", highlight=False)
