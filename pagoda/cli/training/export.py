"""`pagoda export`: what a version knows, as files for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pagoda.cli.options import DataOption, HomeOption

app = typer.Typer(name="export", help="Write what a version knows as files for others.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `vectors` a command of its own while it is the only one."""


@app.command()
def vectors(
    *,
    version: Annotated[str, typer.Option("--version", help="Number of a registered version, or folder of a full one.")],
    data: DataOption,
    out: Annotated[Path, typer.Option(help="New folder for users.parquet and items.parquet.")],
    at: Annotated[
        str,
        typer.Option(help="Users as of this moment (ISO 8601 with zone), with what they did before it; default: now."),
    ] = "",
    home: HomeOption = None,
) -> None:
    """Write the vectors of all users and items by ID."""
    from datetime import UTC, datetime

    from pagoda.data.dataset import Dataset
    from pagoda.data.window import parse_moment
    from pagoda.storage.atomic import build_folder
    from pagoda.updates.version_opening import open_any
    from pagoda.version_files.vector_export import export_items, export_users

    moment = parse_moment(at, "--at") if at else datetime.now(UTC)
    dataset = Dataset.open(data)
    towers = open_any(version, home, dataset).towers
    with build_folder(out) as aside:
        items = export_items(towers, dataset, aside / "items.parquet")
        users = export_users(towers, dataset, moment, aside / "users.parquet")
    typer.echo(f"{out}: vectors of {users:,} users as of {moment.isoformat()} and of {items:,} items")
