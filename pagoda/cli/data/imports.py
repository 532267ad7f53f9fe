"""`pagoda data import`: anyone's files as a dataset folder, a format a verb."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args, get_type_hints

import typer

from pagoda.cli.data.import_options import FORMAT, Encoding, Engine, Target, job_of, option, shared_options
from pagoda.cli.data.imported import describe, tell
from pagoda.distribution import missing
from pagoda.errors import ConfigError

if TYPE_CHECKING:
    from pagoda.cli.data.import_options import AnyReader
    from pagoda.data.imports.imported import Imported
    from pagoda.data.imports.job import Import
    from pagoda.data.imports.readers import Reader
    from pagoda.data.layout import Table

importing = typer.Typer(name="import", help="Build a dataset folder.", no_args_is_help=True)


class Chosen(NamedTuple):
    """A reader, and the sources that it reads where `--interactions`, `--users` and `--items` do not name them."""

    reader: AnyReader
    sources: Mapping[str, Any]
    close: Callable[[], None]
    """Ends what the reader holds."""


ReaderOf = Callable[..., "AnyReader | Mapping[Table, Reader] | Chosen"]


def verb(
    name: str, summary: str, without: tuple[str, ...] = (), engine: Engine | None = None
) -> Callable[[ReaderOf], Callable[..., None]]:
    """Make a verb of a function from options of its own to a reader: it has these options, and the shared ones.

    Args:
        name: Of the verb.
        summary: Its help.
        without: Shared options that it does not have; those of its own take the place of shared ones of their names.
        engine: The one that it works with; None: whoever calls it says.
    """

    def make(reader_of: ReaderOf) -> Callable[..., None]:
        own = _parameters(reader_of)
        left_out = {*without, *(one.name for one in own), *(["engine"] if engine else [])}
        shared = [one for one in _parameters(shared_options) if one.name not in left_out]

        def command(**given: Any) -> None:
            import_files = _importer(engine or given.pop("engine"))
            made = reader_of(**{one.name: given.pop(one.name) for one in own})
            path = given.pop("path")
            if not isinstance(made, Chosen):
                tell(import_files(path, job_of(made, given)))
            else:
                with closing(SimpleNamespace(close=made.close)):
                    tell(import_files(path, job_of(made.reader, {**given, **made.sources})))
            describe(path)

        command.__signature__ = inspect.Signature([*shared, *own])  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in (*shared, *own)}
        importing.command(name, help=summary)(command)
        return command

    return make


def _importer(engine: Engine) -> Callable[[Path, Import], Imported]:
    if engine is Engine.SPARK:
        with needs_extra("spark"):
            from pagoda.data.spark import importer as spark
        return spark.import_files
    from pagoda.data.imports.importer import import_files

    return import_files


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Says which extra a missing package belongs to."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(missing(error.name or name, name)) from error


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Its parameters, their annotations evaluated; what it returns is imported for type checkers alone."""
    given = {name: text for name, text in function.__annotations__.items() if name != "return"}
    hints = get_type_hints(SimpleNamespace(__annotations__=given), function.__globals__, include_extras=True)
    found = inspect.signature(function).parameters.values()
    return [one.replace(annotation=hints[one.name]) for one in found]


@verb("csv", "Import CSV files, plain or compressed.")
def csv(
    *,
    delimiter: Annotated[
        str, option(panel=FORMAT, metavar="TEXT", help="Between columns; 'tab' for a tab; may be several characters.")
    ] = ",",
    quote: Annotated[
        str, option(panel=FORMAT, metavar="CHAR", help="Around values that hold delimiters; 'none': around none.")
    ] = '"',
    encoding: Encoding = "utf-8",
    columns: Annotated[
        list[str] | None,
        option(
            panel=FORMAT,
            metavar="NAME,NAME,…",
            help="Of files without a header line: the interactions', or with TABLE= before it those of another table.",
        ),
    ] = None,
) -> Mapping[Table, Reader]:
    """Readers of CSV, which know each table's columns."""
    from pagoda.data.imports.readers import CsvReader
    from pagoda.data.layout import Table

    tables = get_args(Table)
    given: dict[str, tuple[str, ...]] = {}
    for one in columns or []:
        table, equals, names = one.rpartition("=")
        if table not in (*tables, "") or (equals and not table):
            raise typer.BadParameter(f"{table!r} is none of {', '.join(tables)}", param_hint="--columns")
        given[table or "interactions"] = tuple(names.split(","))
    by, around = "\t" if delimiter == "tab" else delimiter, None if quote == "none" else quote
    return {table: CsvReader(by, around, encoding, given.get(table, ())) for table in tables}


@verb("jsonl", "Import JSON lines, plain or compressed; a value inside is called outer.inner.")
def jsonl(*, encoding: Encoding = "utf-8") -> Reader:
    """A reader of JSON lines."""
    from pagoda.data.imports.readers import JsonLinesReader

    return JsonLinesReader(encoding)


@verb("parquet", "Import Parquet files.")
def parquet() -> Reader:
    """A reader of Parquet."""
    from pagoda.data.imports.readers import ParquetReader

    return ParquetReader()


@importing.command("movielens-100k")
def movielens(path: Target) -> None:
    """Import MovieLens-100K from the recbole wheel: a rating is a click, 4 and above also a like."""
    from pagoda.data.imports.movielens import import_movielens

    import_movielens(path)
    describe(path)


@importing.command("sequences")
def sequences(
    path: Target,
    *,
    file: Annotated[Path, typer.Option(help="A line is a user and their items in the order of time: integers.")],
) -> None:
    """Import sequences without timestamps; moments are made up, so that every user's last item is of one moment."""
    from pagoda.data.imports.sequences import import_sequences

    splits = import_sequences(path, file)
    describe(path)
    cut, test = splits.validation.start.isoformat(), splits.test.start.isoformat()
    typer.echo(f"leave-one-out: learn with --window-end {cut}, test from {test}")
