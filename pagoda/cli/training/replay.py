"""`pagoda replay`: what each policy of updates would have been worth on a log of one's own."""

from __future__ import annotations

import re
import tempfile
from contextlib import ExitStack
from datetime import time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pagoda.cli.options import DataOption, OutputFormat, OutputOption

if TYPE_CHECKING:
    from pagoda.replay.plan import ReplayConfig

app = typer.Typer()
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@app.command()
def replay(
    *,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="New folder for replay.json and replay.png.")],
    config: Annotated[Path | None, typer.Option(help="Training configuration (YAML); default: the defaults.")] = None,
    every: Annotated[str, typer.Option(help="Between incremental updates: 30m, 1h.")] = "30m",
    full_at: Annotated[str, typer.Option(help="UTC time of day of the full update: midnight or HH:MM.")] = "midnight",
    window_days: Annotated[int, typer.Option(min=1, help="Days that a full update learns, one after the other.")] = 1,
    first: Annotated[str, typer.Option(help="What the first version learns, to the nearest full update: 3d.")] = "3d",
    policies: Annotated[
        str, typer.Option(help="Comma-separated, of frozen, full, incremental, full+incremental; default: all.")
    ] = "",
    without_history: Annotated[
        bool, typer.Option("--without-history", help="As if the dataset declared no history.")
    ] = False,
    rows: Annotated[int, typer.Option(min=1, help="Most positives to ask; of more, this many are drawn.")] = 200_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw and of the intervals.")] = 0,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Walk a log in event time, answer every positive before learning it, and compare policies of updates."""
    from rich.console import Console
    from rich.text import Text

    from pagoda.config.training import parse_config, read_config
    from pagoda.data.dataset import Dataset
    from pagoda.errors import ConflictError
    from pagoda.replay import replay as replaying
    from pagoda.replay.dataset_view import view_without_history
    from pagoda.replay.progress import ReplayTerminalProgress
    from pagoda.replay.rendering import as_tables, plot
    from pagoda.storage.atomic import build_folder

    chosen = _config(
        {
            "every": _duration(every, "--every"),
            "full_at": _time_of_day(full_at),
            "window_days": window_days,
            "first": _duration(first, "--first"),
            "rows": rows,
            "seed": seed,
        },
        policies,
    )
    train = read_config(config) if config else parse_config("")
    if out.exists():
        raise ConflictError(f"{out} exists already; choose a new folder for --out")
    with ExitStack() as stack:
        folder = stack.enter_context(build_folder(out))
        if without_history:
            data = view_without_history(data, Path(stack.enter_context(tempfile.TemporaryDirectory())) / "data")
        progress = stack.enter_context(ReplayTerminalProgress(Console(stderr=True)))
        report = replaying.replay(Dataset.open(data), chosen, train, folder, progress=progress)
        (folder / "replay.json").write_text(report.model_dump_json(indent=1))
        plot(report, folder / "replay.png")
    if output is OutputFormat.JSON:
        typer.echo(report.model_dump_json(indent=1))
    else:
        Console().print(as_tables(report), Text(f"{out}/replay.json, {out}/replay.png", style="dim"), sep="\n")


def _config(settings: dict[str, object], policies: str) -> ReplayConfig:
    from pydantic import ValidationError

    from pagoda.errors import ConfigError, explain
    from pagoda.replay.plan import ReplayConfig

    chosen = {"policies": [policy.strip() for policy in policies.split(",")]} if policies else {}
    try:
        return ReplayConfig.model_validate(settings | chosen)
    except ValidationError as error:
        raise ConfigError(explain(error, "replay")) from error


def _duration(text: str, name: str) -> timedelta:
    from pagoda.errors import ConfigError

    found = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    if not found:
        raise ConfigError(f"{name} {text!r} is no duration, like 30m, 6h or 3d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _time_of_day(text: str) -> time:
    from pagoda.errors import ConfigError

    if text == "midnight":
        return time()
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", text)
    if not found:
        raise ConfigError(f"--full-at {text!r} is neither midnight nor a UTC time of day like 03:30")
    return time(int(found[1]), int(found[2]))
