"""`pagoda update full | incremental`: run an update now, from interactions to served."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pagoda.cli.options import (
    HomeOption,
    OutputFormat,
    OutputOption,
    TeacherScaleOption,
    config_text,
    scale_of,
)

if TYPE_CHECKING:
    from pagoda.settings import Settings

app = typer.Typer(name="update", help="Run an update now: train, check, register, publish.", no_args_is_help=True)
DatasetOption = Annotated[str, typer.Option("--data", help="Dataset folder or URL, see docs/data.md.")]
CatchUpOption = Annotated[
    str, typer.Option(help="Before it is offered, learn up to this moment on its own base: ISO 8601, or `now`.")
]


class ReleaseChoice(StrEnum):
    """How what was learned comes to the users."""

    AUTO = "auto"
    ROLLOUT = "rollout"
    NOW = "now"


ReleaseOption = Annotated[
    ReleaseChoice,
    typer.Option(
        help="rollout: step by step; now: at once; auto: by a rollout where a driver runs, "
        "incremental ones as the setting rollout.incremental says."
    ),
]


@app.command()
def full(
    *,
    data: DatasetOption,
    window_end: Annotated[str, typer.Option(help="Learn up to this moment (ISO 8601); default: all.")] = "",
    config: Annotated[Path | None, typer.Option(help="Training configuration (YAML); default: the defaults.")] = None,
    catch_up: CatchUpOption = "",
    release: ReleaseOption = ReleaseChoice.AUTO,
    teacher: Annotated[str, typer.Option(help="A ranker's scores, file or URL (Parquet), for `distillation`.")] = "",
    teacher_scale: TeacherScaleOption = None,
    home: HomeOption = None,
) -> None:
    """Run the pipeline full-update on this machine: a new tower and new item vectors, on their way to the users."""
    from pagoda.cli.judging import say
    from pagoda.generations.release_log import open_log
    from pagoda.generations.versions import JUDGEMENT, WARNING
    from pagoda.settings import load_settings
    from pagoda.updates.exclusive import exclusive
    from pipelines.full_update import full_update
    from pipelines.local import run_locally

    arguments = {"dataset": data, "window_end": window_end, "config": config_text(config)}
    scores = {"teacher": _absolute(teacher), "teacher_scale": scale_of(teacher, teacher_scale)}
    settings = load_settings(home)
    with exclusive(settings.home, "full"):
        further = {"catch_up": catch_up, "release": release.value, **scores}
        generation = run_locally(full_update, settings, {**arguments, **further}, _report)
    _settle(settings, data)
    state = open_log(settings).state()
    tags = state.versions[state.generations[generation].full_version].tags
    say(tags.get(JUDGEMENT, ""), [tags[WARNING]] if WARNING in tags else [])
    if state.stable == generation:
        typer.echo(f"{generation} answers now.")
    else:
        typer.echo(f"The rollout of {generation} began; `pagoda rollout watch` shows how it goes.")


@app.command()
def incremental(
    *,
    data: DatasetOption,
    now: Annotated[str, typer.Option(help="The present (ISO 8601); default: the clock's, see docs/updates.md.")] = "",
    release: ReleaseOption = ReleaseChoice.AUTO,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Bring what users did since the last update into every generation that answers requests."""
    from pagoda.data.window import parse_moment
    from pagoda.rollout.releasing import Release as How
    from pagoda.rollout.releasing import update_users
    from pagoda.settings import load_settings
    from pagoda.updates.exclusive import exclusive
    from pagoda.updates.summary import as_json, in_words

    settings = load_settings(home)
    with exclusive(settings.home, "incremental"):
        outcomes = update_users(settings, data, parse_moment(now, "--now") if now else None, How(release.value))
    _settle(settings, data)
    if output is OutputFormat.JSON:
        typer.echo(json.dumps([as_json(base, outcome) for base, outcome in outcomes.items()], indent=2))
        return
    for base, outcome in outcomes.items():
        typer.echo(in_words(base, outcome))
    if not outcomes:
        typer.echo("No generation answers requests yet; run `pagoda update full` first.")


def _absolute(place: str) -> str:
    """A path as every step finds it, or a URL as it is."""
    from pagoda.storage.copies import local_path

    path = local_path(place) if place else None
    return place if path is None else str(path.resolve())


def _settle(settings: Settings, data: str) -> None:
    from pagoda.standalone.endpoints import settle_dataset

    if told := settle_dataset(settings, data):
        typer.echo(told, err=True)


def _report(step: str, status: str) -> None:
    if status != "running":
        typer.echo(f"{step}: {status.lower()}", err=True)
