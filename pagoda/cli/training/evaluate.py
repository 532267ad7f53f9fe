"""`pagoda evaluate`: how good a version is on a window, beside what it must beat."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pagoda.cli.options import DataOption, HomeOption, OutputFormat, OutputOption, ProcessesOption, read_window

if TYPE_CHECKING:
    from pagoda.data.dataset import Dataset
    from pagoda.data.window import Window
    from pagoda.version_files.full import FullVersionFiles

app = typer.Typer()


@app.command()
def evaluate(
    *,
    version: Annotated[str, typer.Option("--version", help="Number of a registered version, or folder of a full one.")],
    data: DataOption,
    window: Annotated[
        str, typer.Option(metavar="START/END", help="ISO 8601. Default: from the version's end to the data's.")
    ] = "",
    last: Annotated[bool, typer.Option("--last", help="Ask only each user's last positive (leave-one-out).")] = False,
    repeats: Annotated[
        bool, typer.Option("--repeats", help="Ask also for what a user had before, and leave nothing out.")
    ] = False,
    rows: Annotated[int, typer.Option(min=1, help="Most positives to ask; of more, this many are drawn.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of the draw and of the intervals.")] = 0,
    processes: ProcessesOption = 1,
    plot: Annotated[Path | None, typer.Option(help="Draw recall against k and by popularity into this file.")] = None,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Rank every later positive among all items, as of its own moment, beside what it must beat."""
    from pagoda.data.dataset import Dataset
    from pagoda.evaluation.evaluate import evaluate as evaluate_towers
    from pagoda.evaluation.judgement import Judgement
    from pagoda.evaluation.rendering.picture import plot as draw
    from pagoda.evaluation.rendering.tables import as_tables
    from pagoda.updates.version_opening import open_any

    dataset = Dataset.open(data)
    opened = open_any(version, home, dataset)
    chosen = _window(window, dataset, opened.learned_until)
    if chosen.start < opened.learned_until:
        warning = f"the version has learned up to {opened.learned_until.isoformat()}, so it knows part of this window"
        Console(stderr=True).print(f"[yellow]Warning[/]: {warning}")
    report = evaluate_towers(
        opened.towers,
        dataset,
        chosen,
        version=version,
        protocol="last" if last else "each",
        limit=rows,
        seed=seed,
        repeats=repeats,
        mixture=opened.mixture,
        processes=processes,
    )
    if output is OutputFormat.JSON:
        typer.echo(report.model_dump_json(indent=1))
    else:
        Console().print(as_tables(report))
    for found in Judgement(of="itself", report=report).warnings():
        Console(stderr=True).print(f"[yellow]Warning[/]: {found}")
    if plot:
        draw(report, plot)


def version_files(version: str, home: Path | None) -> FullVersionFiles:
    """The files of a version in a folder, or of a registered one, fetched once."""
    from pagoda.errors import RequestError
    from pagoda.registry.factory import open_registry
    from pagoda.settings import load_settings
    from pagoda.version_files.full import FullVersionFiles

    folder = Path(version)
    if folder.is_dir():
        # What `pagoda train` leaves holds the version in a folder of its own, beside its state.
        folder = folder / "version" if (folder / "version").is_dir() else folder
        return FullVersionFiles(folder, folder.parent / "state")
    if not version.isdecimal():
        raise RequestError(f"--version {version!r} is neither a folder nor the number of a version")
    settings = load_settings(home)
    registry = open_registry(settings)
    record = registry.get(int(version))
    if record.update != "full":
        raise RequestError(f"--version {version}: is an incremental version; evaluate its base, version {record.base}")
    cache = settings.home / "cache" / version
    return FullVersionFiles(registry.fetch(record.version, cache / "version"), cache / "state")


def _window(text: str, dataset: Dataset, learned_until: datetime) -> Window:
    from pagoda.data.window import Window
    from pagoda.errors import DataError

    if text:
        return read_window(text)
    start, end = learned_until, dataset.span().end
    if start >= end:
        raise DataError(f"{dataset.path}: nothing after {start.isoformat()}, where the version's window ends")
    return Window(start=start, end=end)
