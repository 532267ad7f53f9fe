"""`pagoda data`: make and check dataset folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pagoda.cli.options import OutputFormat, OutputOption

if TYPE_CHECKING:
    from pagoda.data.checks.check import Checked
    from pagoda.data.imports.readers import Reader

app = typer.Typer(name="data", help="Import and check datasets, see docs/data.md.", no_args_is_help=True)
importing = typer.Typer(help="Build a dataset folder.", no_args_is_help=True)
app.add_typer(importing, name="import")


class TimestampFormat(StrEnum):
    """How the timestamps of a file are written."""

    ISO = "iso"
    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    MICROSECONDS = "microseconds"


class IdType(StrEnum):
    """What IDs are."""

    INT64 = "int64"
    STRING = "string"


Target = Annotated[Path, typer.Argument(metavar="DIR", help="New dataset folder; an existing one is not overwritten.")]
Interactions = Annotated[Path, typer.Option(help="File or folder of interactions.")]
Users = Annotated[Path | None, typer.Option(help="File or folder of users; default: those of the interactions.")]
Items = Annotated[Path | None, typer.Option(help="File or folder of items; default: those of the interactions.")]
Features = Annotated[Path | None, typer.Option(help="features.yaml; without: IDs only, other columns are left out.")]
UserColumn = Annotated[str, typer.Option(help="Column with the user's ID.")]
ItemColumn = Annotated[str, typer.Option(help="Column with the item's ID.")]
EventColumn = Annotated[str, typer.Option(help="Column with the event.")]
TimestampColumn = Annotated[str, typer.Option(help="Column with the timestamp.")]
TitleColumn = Annotated[str | None, typer.Option(help="Column of the items that people recognise them by.")]
Rename = Annotated[list[str] | None, typer.Option(metavar="FEATURE=COLUMN", help="Column of a feature; repeatable.")]
Drop = Annotated[list[str] | None, typer.Option(help="Column to leave out; repeatable.")]
Timestamps = Annotated[TimestampFormat, typer.Option(help="ISO with a zone, or time since 1970 in UTC.")]
Zone = Annotated[str | None, typer.Option(help="Zone of timestamps that carry none, such as Europe/Berlin.")]
Event = Annotated[str, typer.Option(help="Event of interactions without an event column.")]
IdTypeOption = Annotated[
    IdType | None, typer.Option("--id-type", help="Without --features; default: what the IDs look like.")
]
Delimiter = Annotated[str, typer.Option(help="CSV: between columns; 'tab' for a tab.")]
ListSeparator = Annotated[str, typer.Option(help="Between the values of a multi-valued feature or vector in text.")]
KeepOrder = Annotated[
    bool, typer.Option("--keep-order", help="Of one user's moment, rows happened in the order of the files.")
]


@importing.command("movielens-100k")
def movielens(path: Target) -> None:
    """Import MovieLens-100K from the recbole wheel: a rating is a click, 4 and above also a like."""
    from pagoda.data.imports.movielens import import_movielens

    import_movielens(path)
    _describe(path)


@importing.command("sequences")
def sequences(
    path: Target,
    *,
    file: Annotated[Path, typer.Option(help="A line is a user and their items in the order of time: integers.")],
) -> None:
    """Import sequences without timestamps; moments are made up, so that every user's last item is of one moment."""
    from pagoda.data.imports.sequences import import_sequences

    splits = import_sequences(path, file)
    _describe(path)
    cut, test = splits.validation.start.isoformat(), splits.test.start.isoformat()
    typer.echo(f"leave-one-out: learn with --window-end {cut}, test from {test}")


def import_files(
    context: typer.Context,
    path: Target,
    *,
    interactions: Interactions,
    users: Users = None,
    items: Items = None,
    features: Features = None,
    user_column: UserColumn = "user_id",
    item_column: ItemColumn = "item_id",
    event_column: EventColumn = "event",
    timestamp_column: TimestampColumn = "timestamp",
    title_column: TitleColumn = None,
    rename: Rename = None,
    drop: Drop = None,
    timestamps: Timestamps = TimestampFormat.ISO,
    zone: Zone = None,
    event: Event = "click",
    id_type: IdTypeOption = None,
    delimiter: Delimiter = ",",
    list_separator: ListSeparator = "|",
    keep_order: KeepOrder = False,
) -> None:
    """Import files of interactions, and of users and items if there are any; columns may have other names."""
    from pagoda.data.imports.casts import Conversion, TimeUnit
    from pagoda.data.imports.columns import ColumnNames
    from pagoda.data.imports.importer import Import
    from pagoda.data.imports.importer import import_files as run

    columns = {"user_id": user_column, "item_id": item_column, "event": event_column, "timestamp": timestamp_column}
    columns |= {"title": title_column} if title_column else {}
    job = Import(
        reader=_reader(context.info_name, delimiter),
        interactions=interactions,
        users=users,
        items=items,
        features=features,
        names=ColumnNames(columns | _pairs(rename or []), frozenset(drop or [])),
        conversion=Conversion(TimeUnit(timestamps), zone, list_separator),
        default_event=event,
        id_type=None if id_type is None else id_type.value,
        keep_order=keep_order,
    )
    done = run(path, job)
    if done.left_out:
        typer.echo(f"left out, since there is no feature file: {', '.join(sorted(done.left_out))}")
    _describe(path)
    _warn(done.warnings)


importing.command("csv", help="Import CSV files with a header line, plain or compressed.")(import_files)
importing.command("parquet", help="Import Parquet files.")(import_files)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder.")],
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Read a whole dataset and report everything that is wrong with it; exit 1 if anything is."""
    from pagoda.data.checks.check import check_dataset

    checked = check_dataset(path)
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(checked.as_dict(), indent=2))
    else:
        _print(path, checked)
    if not checked.report.ok:
        raise typer.Exit(1)


def _print(path: Path, checked: Checked) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    report = checked.report
    for kind, count in report.counts.items():
        named = [problem for problem in report.problems if problem.kind is kind]
        more = f", the first {len(named)}" if count > len(named) else ""
        console.print(f"[bold red]{kind.value}[/] ({count:,}{more})")
        for problem in named:
            console.print(f"  {escape(str(problem))}")
    rows = ", ".join(f"{count:,} {table}" for table, count in checked.rows.items())
    if checked.tied_share:
        rows += f"; {checked.tied_share:.1%} share their moment with another item of the same user"
    found = _found(report.total, len(checked.warnings))
    console.print(f"{path}: {rows}; {found}", markup=False)
    _warn(checked.warnings)


def _found(problems: int, warnings: int) -> str:
    if problems:
        return f"{problems:,} problems"
    return "nothing is wrong" if not warnings else f"nothing breaks the contract, {warnings} to look at"


def _warn(warnings: Sequence[str]) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    for warning in warnings:
        console.print(f"[yellow]Warning[/]: {escape(warning)}")


def _reader(format_: str | None, delimiter: str) -> Reader:
    from pagoda.data.imports.readers import CsvReader, ParquetReader

    if format_ == "parquet":
        return ParquetReader()
    return CsvReader("\t" if delimiter == "tab" else delimiter)


def _pairs(renames: list[str]) -> dict[str, str]:
    pairs = [rename.partition("=") for rename in renames]
    for name, _, column in pairs:
        if not name or not column:
            raise typer.BadParameter(f"{name!r} is not FEATURE=COLUMN", param_hint="--rename")
    return {name: column for name, _, column in pairs}


def _describe(path: Path) -> None:
    from rich.console import Console

    from pagoda.data.dataset import Dataset

    dataset = Dataset.open(path)
    span = dataset.span()
    users = sum(batch.num_rows for batch in dataset.user_batches())
    Console(soft_wrap=True).print(
        f"{path}: {dataset.count():,} interactions, {users:,} users, {dataset.items().num_rows:,} items, "
        f"{span.start:%Y-%m-%d} to {span.end:%Y-%m-%d}",
        highlight=False,
        markup=False,
    )
