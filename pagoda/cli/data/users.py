"""`pagoda users`: what the recall service knows of users, from a dataset; and forgetting one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pagoda.cli.options import HomeOption, OutputFormat, OutputOption
from pagoda.cli.training.update import DatasetOption
from pagoda.errors import ConfigError

if TYPE_CHECKING:
    from rich.progress import Progress

    from pagoda.settings import Settings

app = typer.Typer(name="users", help="Tell the recall service what is known of users.", no_args_is_help=True)


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
    from serving.users.loading import load_store

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


@app.command("forget")
def forget_user(
    user: Annotated[str, typer.Argument(help="The user's ID. `-`: the first line of standard input.")],
    *,
    data: Annotated[str, typer.Option("--data", help="Dataset folder or URL; default: that of the events.")] = "",
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Delete all that is known of a user, and have the next versions leave them out.

    Run it again if it was killed or a server did not answer.
    """
    from pagoda.generations.release_log import open_log
    from pagoda.settings import load_settings
    from serving.users.forgetting import forget, parse_user

    settings = load_settings(home)
    _store(settings)
    state = open_log(settings).state()
    spec = state.generations[state.stable].spec if state.stable else None
    given = typer.get_text_stream("stdin").readline().strip() if user == "-" else user
    done = forget(settings, parse_user(spec, given), settings.dataset(data))
    if output == OutputFormat.JSON:
        typer.echo(done.model_dump_json())
        return
    typer.echo(
        f"Forgotten: {done.store} keys of the online store, {done.waiting} events that waited, {done.outcomes} entries "
        f"of outcomes, rows of {done.files} files. Receipt {done.receipt}.\n"
        "The next version leaves them out; `pagoda retention --delete` says when no older one is left."
    )


@app.command("interests")
def say_interests(
    user: Annotated[str, typer.Argument(help="The user's ID.")],
    interests: Annotated[list[str] | None, typer.Argument(help="Categories; none: as if they had said none.")] = None,
    *,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Say what a user likes, in place of what they said before: their next answer knows it."""
    from pagoda.client.client import Client

    with Client(home=home) as client:
        said = client.say_interests(user, interests or [])
    if output == OutputFormat.JSON:
        typer.echo(said.model_dump_json())
    elif said.stored:
        typer.echo(f"User {user} likes {', '.join(said.interests) or 'nothing that they would say'}.")
    else:
        typer.echo(f"User {user} is being forgotten: nothing is stored.")


def _store(settings: Settings) -> str:
    if not settings.redis.url:
        raise ConfigError(f"users: set redis.url (`pagoda up` does, in {settings.home}/endpoints.yaml)")
    return settings.redis.url


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.completed:,} {task.description}"), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)
