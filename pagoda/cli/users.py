"""`pagoda users load`: what the recall service knows of users, from a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pagoda.cli.options import HomeOption
from pagoda.cli.update import DatasetOption
from pagoda.errors import ConfigError

if TYPE_CHECKING:
    from rich.progress import Progress

    from pagoda.settings import Settings

app = typer.Typer(name="users", help="Tell the recall service what is known of users.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `load` a command of its own, though it is the only one."""


@app.command()
def load(
    *,
    data: DatasetOption,
    until: Annotated[
        str, typer.Option(help="What users did before this moment (ISO 8601); default: all, the newest included.")
    ] = "",
    home: HomeOption = None,
) -> None:
    """Write profiles, and what each user last did and had, from a dataset into the online store.

    What the store held of these users is replaced, so it can be run again at any time, also after it was killed.
    """
    from pagoda.data.window import parse_moment
    from pagoda.settings import load_settings
    from pagoda.updates.incremental import open_dataset
    from serving.recall.loading import load_store

    settings = load_settings(home)
    url = _store(settings)
    moment = parse_moment(until, "--until") if until else None
    dataset = open_dataset(settings, data)
    end = moment or dataset.span().end
    with _bar() as progress:
        task = progress.add_task("interactions", total=None)
        report = load_store(dataset, end, url, lambda rows: progress.advance(task, rows))
    typer.echo(
        f"Loaded {report.profiles:,} profiles, and what {report.users:,} users did before {end.isoformat()}: "
        f"{report.interactions:,} interactions."
    )


def _store(settings: Settings) -> str:
    if not settings.redis.url:
        raise ConfigError(f"users: set redis.url (`pagoda up` does, in {settings.home}/endpoints.yaml)")
    return settings.redis.url


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.completed:,} {task.description}"), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)
