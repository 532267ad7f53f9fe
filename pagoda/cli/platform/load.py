"""`pagoda load`: requests at a recall service at a given rate, and how long their answers take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pagoda.cli.options import HomeOption, OutputFormat, OutputOption

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.progress import Progress

    from pagoda.load_test.outcomes import Outcomes
    from pagoda.settings import Settings

app = typer.Typer()


class ArrivalsChoice(StrEnum):
    """How requests follow each other."""

    POISSON = "poisson"
    CONSTANT = "constant"


@app.command()
def load(
    url: Annotated[str, typer.Argument(help="Base URL of the recall service. Default: this installation's.")] = "",
    *,
    rate: Annotated[
        float, typer.Option(min=0, help="Requests a second; 0: each connection asks again when it has its answer.")
    ] = 100.0,
    seconds: Annotated[float, typer.Option(min=0.1)] = 30.0,
    arrivals: Annotated[ArrivalsChoice, typer.Option(help="Moments of the requests.")] = ArrivalsChoice.POISSON,
    connections: Annotated[int, typer.Option(min=1, max=900, help="At once.")] = 64,
    data: Annotated[Path | None, typer.Option(help="Dataset folder whose users ask.")] = None,
    users: Annotated[int, typer.Option(min=1, help="Without --data: users 1 to this ask.")] = 1000,
    zipf: Annotated[float, typer.Option(min=0, help="Exponent of the users' activity; 0: all alike.")] = 1.0,
    k: Annotated[int, typer.Option(min=1, max=1000, help="Items of an answer.")] = 100,
    exclude_seen: Annotated[bool, typer.Option("--exclude-seen", help="Leave out what users have had.")] = False,
    timeout: Annotated[float, typer.Option(min=0.01, help="Seconds after which a request has failed.")] = 5.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    plot: Annotated[Path | None, typer.Option(help="Write a picture by second (PNG).")] = None,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Send load to a recall service. Latency runs from the moment a request was due, whatever came before it."""
    from rich.console import Console
    from rich.text import Text

    from pagoda.access.tokens import token_for
    from pagoda.load_test import rendering
    from pagoda.load_test.plan import LoadPlan
    from pagoda.load_test.report import report_of
    from pagoda.load_test.sending import send
    from pagoda.settings import load_settings

    settings = load_settings(home)
    url = url or _own_url(settings)
    plan = LoadPlan(
        users=_users(data) if data else range(1, users + 1),
        rate=rate,
        seconds=seconds,
        arrivals=arrivals.value,
        zipf=zipf,
        k=k,
        exclude_seen=exclude_seen,
        seed=seed,
    )
    with _bar() as progress:
        outcomes = send(
            plan,
            url,
            connections=connections,
            timeout_seconds=timeout,
            token=token_for(settings, "ask", url),
            progress=_shown(progress, rate * seconds),
        )
    report = report_of(plan, outcomes, url, connections)
    if plot:
        rendering.plot(report, plot)
    if output is OutputFormat.JSON:
        typer.echo(report.model_dump_json(indent=1))
    else:
        Console().print(rendering.as_table(report), *([Text(str(plot), style="dim")] if plot else []), sep="\n")


def _own_url(settings: Settings) -> str:
    from pagoda.errors import ConfigError

    if not settings.recall.url:
        raise ConfigError(f"load: give the URL of a recall service; none is known in {settings.home}")
    return settings.recall.url


def _users(data: Path) -> Sequence[int | str]:
    from pagoda.data.dataset import Dataset

    dataset = Dataset.open(data)
    name = "user_key" if dataset.spec.id_type == "string" else "user_id"
    return [user for batch in dataset.user_batches() for user in batch.column(name).to_pylist()]


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)


def _shown(progress: Progress, expected: float) -> Callable[[Outcomes], None]:
    task = progress.add_task("requests", total=expected or None)

    def show(outcomes: Outcomes) -> None:
        progress.update(task, completed=len(outcomes.kinds), refresh=True)

    return show
