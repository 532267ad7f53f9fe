"""`pagoda data import`: anyone's files as a dataset folder, a format a verb."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args, get_type_hints

import typer

from pagoda.cli.data.imported import describe, tell

if TYPE_CHECKING:
    from pagoda.data.imports.importer import Import
    from pagoda.data.imports.readers import Reader
    from pagoda.data.imports.rows.rules import RowRules
    from pagoda.data.imports.sources.base import SourceReader
    from pagoda.data.layout import Table

    AnyReader = Reader | SourceReader

importing = typer.Typer(name="import", help="Build a dataset folder.", no_args_is_help=True)
_FORMAT, _COLUMNS, _TIMES = "Form of the files", "Columns and values", "Times"
_EVENTS, _ROWS = "Events", "Rows that are left out"


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


class UnknownItems(StrEnum):
    """What happens to items that only interactions have."""

    REFUSE = "refuse"
    MAKE = "make"


Target = Annotated[Path, typer.Argument(metavar="DIR", help="New dataset folder; an existing one is not overwritten.")]


def _option(*names: str, panel: str, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, **more)


Encoding = Annotated[str, _option(panel=_FORMAT, metavar="NAME", help="Of the text, such as latin-1 or utf-16.")]


def _shared(
    path: Target,
    *,
    interactions: Annotated[
        str, typer.Option(metavar="PATH", help="File or folder of interactions, or a URI like s3://…")
    ],
    users: Annotated[
        str | None, typer.Option(metavar="PATH", help="The same of users; default: those of the interactions.")
    ] = None,
    items: Annotated[
        str | None, typer.Option(metavar="PATH", help="The same of items; default: those of the interactions.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(metavar="FILE", help="features.yaml; without: IDs only, other columns are left out.")
    ] = None,
    user_column: Annotated[str, _option(panel=_COLUMNS, metavar="NAME", help="The user's ID.")] = "user_id",
    item_column: Annotated[str, _option(panel=_COLUMNS, metavar="NAME", help="The item's ID.")] = "item_id",
    event_column: Annotated[str, _option(panel=_COLUMNS, metavar="NAME", help="The event.")] = "event",
    timestamp_column: Annotated[str, _option(panel=_COLUMNS, metavar="NAME", help="The timestamp.")] = "timestamp",
    title_column: Annotated[
        str | None, _option(panel=_COLUMNS, metavar="NAME", help="What people recognise items by.")
    ] = None,
    rename: Annotated[
        list[str] | None, _option(panel=_COLUMNS, metavar="FEATURE=NAME", help="Column of a feature; repeatable.")
    ] = None,
    items_from_log: Annotated[
        list[str] | None,
        _option(
            panel=_COLUMNS,
            metavar="FEATURE=NAME,…",
            help="Make the items of columns that the interactions have of them; the last value counts.",
        ),
    ] = None,
    drop: Annotated[
        list[str] | None, _option(panel=_COLUMNS, metavar="NAME", help="Column to leave out; repeatable.")
    ] = None,
    drop_others: Annotated[
        bool, _option("--drop-others", panel=_COLUMNS, help="Leave out all columns that no feature declares.")
    ] = False,
    id_type: Annotated[
        IdType | None,
        _option("--id-type", panel=_COLUMNS, help="Without --features; default: what the IDs look like."),
    ] = None,
    null_value: Annotated[
        list[str] | None,
        _option(panel=_COLUMNS, metavar="TEXT", help="Text that stands for a missing value, such as NA; repeatable."),
    ] = None,
    decimal: Annotated[
        str, _option(panel=_COLUMNS, metavar=". or ,", help="Between whole and fraction of numbers in text.")
    ] = ".",
    list_separator: Annotated[
        str, _option(panel=_COLUMNS, metavar="TEXT", help="Between the values of a list or vector in text.")
    ] = "|",
    timestamps: Annotated[
        TimestampFormat,
        _option(panel=_TIMES, metavar="UNIT", help="iso, or seconds, milliseconds or microseconds since 1970."),
    ] = TimestampFormat.ISO,
    timestamp_format: Annotated[
        str | None, _option(panel=_TIMES, metavar="FORMAT", help="Of other text, such as %d-%m-%Y (strptime).")
    ] = None,
    zone: Annotated[
        str | None, _option(panel=_TIMES, metavar="ZONE", help="Of timestamps that carry none: Europe/Berlin, say.")
    ] = None,
    order_column: Annotated[
        str | None,
        _option(panel=_TIMES, metavar="NAME", help="No timestamps: the order of a user's interactions, whole numbers."),
    ] = None,
    in_order: Annotated[
        bool, _option("--in-order", panel=_TIMES, help="No timestamps: rows are in the order of time.")
    ] = False,
    keep_order: Annotated[
        bool,
        _option("--keep-order", panel=_TIMES, help="Of one user's moment, rows happened in the order of the files."),
    ] = False,
    event: Annotated[
        str, _option(panel=_EVENTS, metavar="NAME", help="Of interactions without an event column.")
    ] = "click",
    map_event: Annotated[
        list[str] | None,
        _option(
            panel=_EVENTS, metavar="FROM=TO", help="Event in the files = event here; nothing: left out. Repeatable."
        ),
    ] = None,
    rating_column: Annotated[
        str | None, _option(panel=_EVENTS, metavar="NAME", help="Ratings: each is an interaction, good ones are liked.")
    ] = None,
    like_from: Annotated[
        float | None, _option(panel=_EVENTS, metavar="NUMBER", help="Ratings from here on are also a like.")
    ] = None,
    quantity_column: Annotated[
        str | None, _option(panel=_EVENTS, metavar="NAME", help="How many were bought; below 0 is a return.")
    ] = None,
    skip: Annotated[
        str,
        _option(
            panel=_ROWS,
            metavar="REASONS",
            help="null-ids, bad-values, bad-timestamps, unknown-items, unknown-events, duplicates, returns, unreadable "
            "(with commas), or all. Such rows are counted and filed in DIR.refused.csv.",
        ),
    ] = "",
    skip_limit: Annotated[
        str, _option(panel=_ROWS, metavar="N or N%", help="Stop if more rows than that are refused.")
    ] = "",
    unknown_items: Annotated[
        UnknownItems, _option(panel=_ROWS, help="Items that the items' files do not have.")
    ] = UnknownItems.REFUSE,
    min_user: Annotated[
        int, _option(panel=_ROWS, min=0, metavar="N", help="Interactions that each user that is left has at least.")
    ] = 0,
    min_item: Annotated[
        int, _option(panel=_ROWS, min=0, metavar="N", help="The same of each item; both hold in the end.")
    ] = 0,
) -> None:
    """Options of every import of files."""


def job_of(readers: AnyReader | Mapping[Table, Reader], given: dict[str, Any]) -> Import:
    """The import that options of `_shared` ask for; one reader reads all tables, or each has its own.

    Raises:
        ConfigError: Options contradict each other.
    """
    from pagoda.data.imports.casts import Conversion, TimeUnit
    from pagoda.data.imports.columns import ColumnNames
    from pagoda.data.imports.importer import Import

    columns = {
        name: given[f"{name.removesuffix('_id')}_column"] for name in ("user_id", "item_id", "event", "timestamp")
    }
    columns |= {"title": given["title_column"]} if given["title_column"] else {}
    columns |= _pairs(given["rename"], "--rename", "FEATURE=COLUMN")
    conversion = Conversion(
        TimeUnit(given["timestamps"]), given["zone"], given["list_separator"], given["timestamp_format"],
        given["decimal"], tuple(given["null_value"] or ()),
    )  # fmt: skip
    return Import(
        reader=readers["interactions"] if isinstance(readers, Mapping) else readers,
        readers=readers if isinstance(readers, Mapping) else {},
        interactions=given["interactions"],
        users=given["users"],
        items=given["items"],
        features=given["features"],
        names=ColumnNames(columns, frozenset(given["drop"] or []), given["drop_others"]),
        conversion=conversion,
        default_event=given["event"],
        id_type=None if given["id_type"] is None else given["id_type"].value,
        rules=_rules(given),
        keep_order=given["keep_order"],
    )


def _rules(given: dict[str, Any]) -> RowRules:
    from pagoda.data.imports.rows.refusals import Skip
    from pagoda.data.imports.rows.rules import Ratings, RowRules, Unknown

    if (given["rating_column"] is None) != (given["like_from"] is None):
        raise typer.BadParameter("--rating-column and --like-from go together", param_hint="--rating-column")
    ratings = None if given["rating_column"] is None else Ratings(given["rating_column"], given["like_from"])
    from_log = [pair for pairs in given["items_from_log"] or [] for pair in pairs.split(",")]
    return RowRules(
        skip=Skip.parse(given["skip"], given["skip_limit"]),
        unknown_items=Unknown(given["unknown_items"]),
        events=_pairs(given["map_event"], "--map-event", "FROM=TO", empty=True),
        ratings=ratings,
        quantity=given["quantity_column"],
        items_from_log=_pairs(from_log, "--items-from-log", "FEATURE=COLUMN"),
        order=given["order_column"],
        in_order=given["in_order"],
        min_user=given["min_user"],
        min_item=given["min_item"],
    )


def _pairs(given: list[str] | None, option: str, form: str, *, empty: bool = False) -> dict[str, str]:
    pairs = [text.partition("=") for text in given or []]
    for name, equals, value in pairs:
        if not name or not equals or not (value or empty):
            raise typer.BadParameter(f"{name!r} is not {form}", param_hint=option)
    return {name: value for name, _, value in pairs}


class Chosen(NamedTuple):
    """A reader, and the sources that it reads where `--interactions`, `--users` and `--items` do not name them."""

    reader: AnyReader
    sources: Mapping[str, Any]
    close: Callable[[], None]
    """Ends what the reader holds."""


ReaderOf = Callable[..., "AnyReader | Mapping[Table, Reader] | Chosen"]


def verb(name: str, summary: str, without: tuple[str, ...] = ()) -> Callable[[ReaderOf], Callable[..., None]]:
    """Make a verb of a function from options of its own to a reader: it has these options, and the shared ones.

    Args:
        name: Of the verb.
        summary: Its help.
        without: Shared options that it does not have; those of its own take the place of shared ones of their names.
    """

    def make(reader_of: ReaderOf) -> Callable[..., None]:
        own = _parameters(reader_of)
        left_out = {*without, *(one.name for one in own)}
        shared = [one for one in _parameters(_shared) if one.name not in left_out]

        def command(**given: Any) -> None:
            from pagoda.data.imports.importer import import_files

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
        str, _option(panel=_FORMAT, metavar="TEXT", help="Between columns; 'tab' for a tab; may be several characters.")
    ] = ",",
    quote: Annotated[
        str, _option(panel=_FORMAT, metavar="CHAR", help="Around values that hold delimiters; 'none': around none.")
    ] = '"',
    encoding: Encoding = "utf-8",
    columns: Annotated[
        list[str] | None,
        _option(
            panel=_FORMAT,
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
