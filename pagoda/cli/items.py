"""`pagoda items`: change items in every live collection within seconds, and for all later updates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pagoda.cli.options import HomeOption, Output, OutputOption
from pagoda.errors import RequestError

if TYPE_CHECKING:
    from pagoda.data.spec import FeatureSpec
    from pagoda.registry.items import ItemChange
    from pagoda.settings import Settings

app = typer.Typer(name="items", help="Add, change and remove items.")


@app.command()
def upsert(
    items: Annotated[str, typer.Argument(help="A file (.json, .jsonl, .parquet), or one item as JSON.")],
    *,
    output: OutputOption = Output.TABLE,
    home: HomeOption = None,
) -> None:
    """Add items, or replace all features of those that exist."""
    from pagoda.index.items import upserted
    from pagoda.settings import load_settings

    settings = load_settings(home)
    spec = _spec(settings)
    rows = _read(items)
    _append(settings, [upserted(spec, row, f"item {place}") for place, row in enumerate(rows, 1)], output)


@app.command()
def remove(
    ids: Annotated[list[str], typer.Argument(help="Item IDs.")],
    *,
    output: OutputOption = Output.TABLE,
    home: HomeOption = None,
) -> None:
    """Take items out of every collection, for good or until they are upserted again."""
    from pagoda.index.items import removed
    from pagoda.settings import load_settings

    settings = load_settings(home)
    spec = _spec(settings)
    _append(settings, [removed(spec, _id(spec, one), f"item {one}") for one in ids], output)


def _spec(settings: Settings) -> FeatureSpec:
    from pagoda.errors import UnavailableError
    from pagoda.registry.log import open_log

    state = open_log(settings).state()
    if state.stable is None:
        raise UnavailableError("items: nothing was published yet, so what an item may hold is unknown")
    return state.generations[state.stable].spec


def _id(spec: FeatureSpec, text: str) -> int | str:
    if spec.id_type == "string":
        return text
    try:
        return int(text)
    except ValueError:
        raise RequestError(f"item {text!r}: IDs of this dataset are integers") from None


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


def _append(settings: Settings, changes: Sequence[ItemChange], output: Output) -> None:
    from pagoda.registry.items import MAX_CHANGES, open_item_log

    log, number = open_item_log(settings), 0
    for start in range(0, len(changes), MAX_CHANGES):
        number = log.append(changes[start : start + MAX_CHANGES]).number
    if output == Output.JSON:
        typer.echo(json.dumps({"record": number, "changes": len(changes)}))
    else:
        Console().print(f"{len(changes):,} changes, record {number} of the item log.", highlight=False)
