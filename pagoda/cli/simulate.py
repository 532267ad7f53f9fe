"""`pagoda simulate`: a dataset from a world whose truth is known."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


class DriftChoice(StrEnum):
    """How much interests move."""

    NONE = "none"
    LOW = "low"
    DEFAULT = "default"
    HIGH = "high"


Target = Annotated[Path, typer.Argument(metavar="DIR", help="New dataset folder; an existing one is not overwritten.")]
Start = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day, UTC.")]
NewUsers = Annotated[float, typer.Option(min=0, max=0.9, help="Share of users who arrive after the start.")]
NewItems = Annotated[float, typer.Option(min=0, max=0.9, help="Share of items that arrive after the start.")]


@app.command()
def simulate(
    path: Target,
    *,
    users: Annotated[int, typer.Option(min=1)] = 5_000,
    items: Annotated[int, typer.Option(min=24)] = 2_000,
    days: Annotated[int, typer.Option(min=1, max=3650)] = 14,
    events: Annotated[int, typer.Option(min=1, help="Rows to aim at, of all events.")] = 5_000_000,
    drift: Annotated[DriftChoice, typer.Option(help="How much interests move.")] = DriftChoice.DEFAULT,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    start: Start = datetime(2024, 1, 1, tzinfo=UTC),
    new_users: NewUsers = 0.05,
    new_items: NewItems = 0.1,
) -> None:
    """Simulate users whose interests move: write what a platform would have logged, and `world.yaml` with the truth."""
    from pagoda.data.world import make_config
    from pagoda.data.world import simulate as run

    settings = {
        "users": users,
        "items": items,
        "days": days,
        "events": events,
        "drift": drift.value,
        "seed": seed,
        "start": start.replace(tzinfo=UTC),
        "new_users": new_users,
        "new_items": new_items,
    }
    config = make_config(settings)
    began = time.perf_counter()
    rows = run(config, path)
    seconds = time.perf_counter() - began
    typer.echo(f"{path}: {rows:,} interactions of {days} days in {seconds:.1f} s ({rows / seconds:,.0f} rows/s)")
