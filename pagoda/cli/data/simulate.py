"""`pagoda simulate`: a dataset from a world whose truth is known, and its users at a live recall service."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from typer.core import TyperGroup

from pagoda.cli.options import HomeOption, OutputFormat, OutputOption
from pagoda.errors import ConfigError

if TYPE_CHECKING:
    from pagoda.simulation.traffic import Played


class _WorldUnlessSaid(TyperGroup):
    """`pagoda simulate DIR` is `pagoda simulate world DIR`, so that the short form stays short."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = ["world", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="simulate",
    help="A world whose truth is known: its log as a dataset, or its users at a live recall service.",
    cls=_WorldUnlessSaid,
    no_args_is_help=True,
)


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
def world(
    path: Target,
    *,
    users: Annotated[int, typer.Option(min=1)] = 5_000,
    items: Annotated[int, typer.Option(min=24)] = 2_000,
    days: Annotated[int, typer.Option(min=1, max=3650)] = 14,
    events: Annotated[int, typer.Option(min=1, help="Rows to aim at, of all events.")] = 5_000_000,
    drift: Annotated[DriftChoice, typer.Option(help="How much interests move.")] = DriftChoice.DEFAULT,
    tastes: Annotated[int, typer.Option(min=1, max=4, help="Lasting interests that a user has at once.")] = 1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    start: Start = datetime(2024, 1, 1, tzinfo=UTC),
    new_users: NewUsers = 0.05,
    new_items: NewItems = 0.1,
) -> None:
    """Simulate users whose interests move: write what a platform would have logged, and `world.yaml` with the truth."""
    from pagoda.simulation import make_config
    from pagoda.simulation import simulate as run

    settings = {
        "users": users,
        "items": items,
        "days": days,
        "events": events,
        "drift": drift.value,
        "tastes": tastes,
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


@app.command()
def traffic(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder of the world, with its world.yaml.")],
    url: Annotated[str, typer.Argument(help="Base URL of the recall service. Default: this installation's.")] = "",
    *,
    rate: Annotated[float, typer.Option(min=0.1, help="Requests a second, whatever becomes of earlier ones.")] = 50.0,
    seconds: Annotated[float, typer.Option(min=1)] = 60.0,
    shown: Annotated[int, typer.Option(min=1, max=100, help="Items of an answer that users look at.")] = 5,
    k: Annotated[int, typer.Option(min=1, max=1000, help="Items of an answer.")] = 50,
    seen_again: Annotated[bool, typer.Option("--seen-again", help="Also ask for what users have had.")] = False,
    impressions: Annotated[bool, typer.Option("--impressions", help="Log what was shown, not only clicks.")] = False,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Let the world's users ask a live recall service, and click what they truly prefer."""
    from pagoda.access.tokens import token_for
    from pagoda.settings import load_settings
    from pagoda.simulation import World
    from pagoda.simulation.traffic import Script, Shown, play

    settings = load_settings(home)
    url = url or settings.recall.url
    if not url:
        raise ConfigError("there is no recall service: name its URL, or run `pagoda up`")
    script = Script(
        rate=rate, seconds=seconds, shown=shown, k=k, exclude_seen=not seen_again, impressions=impressions, seed=seed
    )
    tokens = Shown(ask=token_for(settings, "ask", url), events=token_for(settings, "events", url))
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("requests", total=rate * seconds, told="")

        def report(played: Played) -> None:
            told = f"{len(played.answers):,} asked, {played.failed} failed"
            progress.update(task, completed=len(played.answers), told=told)

        played = play(World.open(path), url, script, report, tokens=tokens)
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(played.summary(), indent=2))
    else:
        Console().print(_played(played))
    if played.failed:
        raise typer.Exit(1)


def _played(played: Played) -> Table:
    found = played.summary()
    latency = found["latency_ms"]
    title = (
        f"{found['requests']:,} requests, {found['failed']} failed, {found['clicks']:,} clicks; "
        f"p50 {latency['p50']} ms, p99 {latency['p99']} ms"
    )
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("", "answers", "clicked", "click rate"):
        table.add_column(name, justify="right" if name else "left")
    for kind in ("arms", "generations"):
        for name, group in found[kind].items():
            table.add_row(name, f"{group['answers']:,}", f"{group['clicked']:,}", f"{group['click_rate']:.1%}")
    return table
