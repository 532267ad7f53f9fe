"""`pagoda train`: train a version without pipeline or servers, so that an experiment is one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pagoda.cli.judging import Judging, say
from pagoda.cli.options import DataOption, HomeOption, OutputFormat, OutputOption, TeacherScaleOption, scale_of
from pagoda.errors import ConfigError

if TYPE_CHECKING:
    from pagoda.data.dataset import Dataset
    from pagoda.data.window import Window
    from pagoda.evaluation.judgement import Judgement
    from pagoda.version_files.full import FullVersionFiles

app = typer.Typer(name="train", help="Train versions without pipeline or servers.", no_args_is_help=True)


@app.command()
def full(
    *,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="New folder for the version's files.")],
    config: Annotated[Path | None, typer.Option(help="Training configuration (YAML); default: the defaults.")] = None,
    parent: Annotated[Path | None, typer.Option(help="An earlier --out to warm-start from; default: none.")] = None,
    window_end: Annotated[str | None, typer.Option(help="Learn up to this moment (ISO 8601); default: all.")] = None,
    mined: Annotated[Path | None, typer.Option(help="Hard negatives that `pagoda mine` wrote.")] = None,
    teacher: Annotated[Path | None, typer.Option(help="A ranker's scores (Parquet), for `distillation`.")] = None,
    teacher_scale: TeacherScaleOption = None,
    relevance: Annotated[
        Path | None,
        typer.Option(help="An earlier --out that says what is irrelevant, for `negatives.bad` [--parent]."),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that train it together [the configuration's `distributed.processes`: 1]."),
    ] = None,
    judge: Annotated[
        bool, typer.Option("--judge/--no-judge", help="Say what it is worth over popularity and item-kNN or EASE.")
    ] = True,
    repeats: Annotated[
        bool, typer.Option("--repeats", help="Judge also by what a user had before, and leave nothing out.")
    ] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Train a full version: a first one over all interactions, or the next one over those since its parent's.

    It is judged by what came after its window; where nothing did, its parent is by this window, or for a first version
    a training of the same kind on all but the last tenth, before it is trained itself: OUT/judgement.json and .html.

    When it is killed, the same command goes on where it was.
    """
    from rich.console import Console

    from pagoda.config.distributed import DistributedConfig
    from pagoda.config.training import parse_config, read_config
    from pagoda.data.dataset import Dataset
    from pagoda.training.distillation.score_file import Teacher
    from pagoda.training.distributed.update import update_by_processes
    from pagoda.training.full.side_inputs import SideInputs
    from pagoda.training.full.update import open_version
    from pagoda.training.progress import TerminalProgress

    scale = scale_of(teacher, teacher_scale)
    chosen = read_config(config) if config else parse_config("")
    if processes is not None:
        chosen = chosen.model_copy(update={"distributed": DistributedConfig(processes=processes)})
    dataset = Dataset.open(data)
    earlier = open_version(parent) if parent else None
    window, checkpoints = _window(dataset, earlier, window_end), out.with_name(f"{out.name}.checkpoint")
    asked = open_version(relevance) if relevance else None
    beside = SideInputs(mined, Teacher(teacher, scale) if teacher else None, asked)
    console = Console(stderr=True)
    judging = Judging(dataset, window, chosen, out, console=console, repeats=repeats) if judge else None
    judged = judging.before(earlier, beside) if judging else None
    with TerminalProgress(console) as progress:
        files = update_by_processes(
            dataset, window, earlier, chosen, out, beside=beside, progress=progress, checkpoints=checkpoints
        )
    if judging:
        judged = judged or judging.after(files, earlier)
        judging.write(judged)
    _show(files, output, judged)


@app.command()
def incremental(
    *,
    data: DataOption,
    base: Annotated[Path, typer.Option(help="The --out of the full version whose user rows change.")],
    out: Annotated[Path, typer.Option(help="New folder for the segment and its state.")],
    chain: Annotated[
        list[Path] | None, typer.Option(help="An earlier --out over the same base; repeat, the oldest first.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Training configuration (YAML); default: the base's.")] = None,
    window_end: Annotated[str | None, typer.Option(help="Learn up to this moment (ISO 8601); default: all.")] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Learn what happened since the base, or since the chain over it, into user rows alone."""
    from pagoda.config.training import read_config
    from pagoda.data.dataset import Dataset
    from pagoda.data.window import Window, parse_moment
    from pagoda.training.full.update import open_version
    from pagoda.training.incremental.update import incremental_update, open_chain, watermark_of

    dataset, full_version, parent = Dataset.open(data), open_version(base), open_chain(chain or [])
    end = parse_moment(window_end, "--window-end") if window_end else dataset.span().end
    start = watermark_of(full_version, parent)
    if end <= start:
        raise ConfigError(f"nothing to learn: the window would go from {start.isoformat()} to {end.isoformat()}")
    chosen, window = read_config(config) if config else full_version.config, Window(start=start, end=end)
    files = incremental_update(dataset, window, full_version, parent, chosen, out=out)
    if files is None:
        typer.echo(f"Nothing to learn: no positive in window {window.key}. Nothing was written.", err=True)
        return
    about = files.description.model_dump(exclude={"files", "frozen", "window"})
    _print(str(files.folder), {"window": window.key, **about}, output)


@app.command()
def teacher(
    *,
    data: DataOption,
    version: Annotated[
        str, typer.Option("--version", help="Full version whose best 200 items a user are scored: folder or number.")
    ],
    out: Annotated[Path, typer.Option(help="New Parquet file: user_id, item_id, score (logit).")],
    window_start: Annotated[
        str | None, typer.Option(help="Learn from this moment on (ISO 8601); default: all.")
    ] = None,
    window_end: Annotated[str | None, typer.Option(help="Learn up to this moment (ISO 8601); default: all.")] = None,
    home: HomeOption = None,
) -> None:
    """Train a ranker that attends to the history (DIN), and write its scores for `pagoda train full --teacher`.

    It is trained like the version: seed, batches, epochs, dimensions and optimiser. It never serves.
    """
    from tempfile import TemporaryDirectory

    from rich.console import Console

    from pagoda.cli.training.evaluate import version_files
    from pagoda.data.dataset import Dataset
    from pagoda.storage.atomic import make_folder
    from pagoda.training.full.own_teacher import RANKS, OwnTeacher
    from pagoda.training.progress import TerminalProgress
    from pagoda.updates.mining.mine import mine

    if out.exists():
        raise ConfigError(f"{out}: exists already")
    make_folder(out.parent)
    dataset, files = Dataset.open(data), version_files(version, home)
    window = _between(dataset.span(), window_start, window_end)
    with TerminalProgress(Console(stderr=True)) as progress:
        ranker = OwnTeacher.trained(dataset, window, files.config, progress)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        found = Path(folder) / "found.parquet"
        mine(dataset, files, found, moment=window.end, ranks=RANKS)
        rows = ranker.write_scores(found, out)
    typer.echo(f"{out}: {rows:,} scores")


def _window(dataset: Dataset, parent: FullVersionFiles | None, window_end: str | None) -> Window:
    start = parent.lineage.window.end.isoformat() if parent else None
    return _between(dataset.span(), start, window_end)


def _between(span: Window, window_start: str | None, window_end: str | None) -> Window:
    """From a moment to another, each as ISO 8601; None: where the data begin or end."""
    from pagoda.data.window import Window, parse_moment

    start = parse_moment(window_start, "--window-start") if window_start else span.start
    end = parse_moment(window_end, "--window-end") if window_end else span.end
    if end <= start:
        raise ConfigError(f"nothing to learn: the window would go from {start.isoformat()} to {end.isoformat()}")
    return Window(start=start, end=end)


def _show(files: FullVersionFiles, output: OutputFormat, judged: Judgement | None) -> None:
    found = {"window": files.lineage.window.key, **files.metrics()}
    if judged and output is OutputFormat.JSON:
        found["judgement"] = {"of": judged.of, "share": judged.share, **judged.figures, **judged.tags()}
    _print(str(files.folder), found, output)
    if judged and output is not OutputFormat.JSON:
        say(judged.in_words(), judged.warnings())


def _print(title: str, metrics: dict[str, object], output: OutputFormat) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if output is OutputFormat.JSON:
        console.print_json(data=metrics)
        return
    console.print(Text(title, style="italic"), soft_wrap=True)
    table = Table("", "value")
    for name, value in metrics.items():
        table.add_row(name.replace("_", " "), Text(_shown(value)))
    console.print(table)


def _shown(value: object) -> str:
    match value:
        case float():
            return f"{value:,.4g}"
        case int():
            return f"{value:,}"
        case list():
            return " → ".join(_shown(one) for one in value)
        case dict():
            return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
        case _:
            return str(value)
