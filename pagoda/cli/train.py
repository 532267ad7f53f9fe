"""`pagoda train`: train a version without pipeline or servers, so that an experiment is one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pagoda.cli.options import DataOption, Output, OutputOption

if TYPE_CHECKING:
    from pagoda.data.dataset import Dataset
    from pagoda.data.window import Window
    from pagoda.training.artifact import FullVersionFiles

app = typer.Typer(name="train", help="Train versions without pipeline or servers.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `full` a command of its own, though it is the only one."""


@app.command()
def full(
    *,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="New folder for the version's files.")],
    config: Annotated[Path | None, typer.Option(help="Training configuration (YAML); default: the defaults.")] = None,
    parent: Annotated[Path | None, typer.Option(help="An earlier --out to warm-start from; default: none.")] = None,
    window_end: Annotated[str | None, typer.Option(help="Learn up to this moment (ISO 8601); default: all.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Train a full version: a first one over all interactions, or the next one over those since its parent's."""
    from rich.console import Console

    from pagoda.data.dataset import Dataset
    from pagoda.training.config import parse_config, read_config
    from pagoda.training.full import full_update, open_version
    from pagoda.training.progress import TerminalProgress

    chosen = read_config(config) if config else parse_config("")
    dataset = Dataset.open(data)
    earlier = open_version(parent) if parent else None
    window = _window(dataset, earlier, window_end)
    with TerminalProgress(Console(stderr=True)) as progress:
        files = full_update(dataset, window, earlier, chosen, out, progress=progress)
    _show(files, output)


def _window(dataset: Dataset, parent: FullVersionFiles | None, window_end: str | None) -> Window:
    from pagoda.data.window import Window, parse_moment
    from pagoda.errors import ConfigError

    span = dataset.span()
    start = parent.lineage.window.end if parent else span.start
    end = parse_moment(window_end, "--window-end") if window_end else span.end
    if end <= start:
        raise ConfigError(f"nothing to learn: the window would go from {start.isoformat()} to {end.isoformat()}")
    return Window(start=start, end=end)


def _show(files: FullVersionFiles, output: Output) -> None:
    from rich.console import Console
    from rich.table import Table

    metrics = {"window": files.lineage.window.key, **files.metrics()}
    console = Console()
    if output is Output.JSON:
        console.print_json(data=metrics)
        return
    table = Table("", "value", title=str(files.folder))
    for name, value in metrics.items():
        table.add_row(name.replace("_", " "), _shown(value))
    console.print(table)


def _shown(value: object) -> str:
    match value:
        case float():
            return f"{value:,.4g}"
        case int():
            return f"{value:,}"
        case list():
            return " → ".join(_shown(one) for one in value)
        case _:
            return str(value)
