"""The options that every import of files has, and the import that they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pagoda.data.imports.choices import TimeUnit, UnknownItems

if TYPE_CHECKING:
    from pagoda.data.imports.job import Import
    from pagoda.data.imports.readers import Reader
    from pagoda.data.imports.rows.rules import RowRules
    from pagoda.data.imports.sources.base import SourceReader
    from pagoda.data.layout import Table

    AnyReader = Reader | SourceReader

FORMAT, _COLUMNS, _TIMES = "Form of the files", "Columns and values", "Times"
_EVENTS, _ROWS = "Events", "Rows that are left out"


class Engine(StrEnum):
    """What does an import."""

    PAGODA = "pagoda"
    SPARK = "spark"


class IdType(StrEnum):
    """What IDs are."""

    INT64 = "int64"
    STRING = "string"


Target = Annotated[Path, typer.Argument(metavar="DIR", help="New dataset folder; an existing one is not overwritten.")]


def option(*names: str, panel: str, **more: Any) -> Any:
    """An option of an import, in a panel of its help."""
    return typer.Option(*names, rich_help_panel=panel, **more)


Encoding = Annotated[str, option(panel=FORMAT, metavar="NAME", help="Of the text, such as latin-1 or utf-16.")]


def shared_options(
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
    user_column: Annotated[str, option(panel=_COLUMNS, metavar="NAME", help="The user's ID.")] = "user_id",
    item_column: Annotated[str, option(panel=_COLUMNS, metavar="NAME", help="The item's ID.")] = "item_id",
    event_column: Annotated[str, option(panel=_COLUMNS, metavar="NAME", help="The event.")] = "event",
    timestamp_column: Annotated[str, option(panel=_COLUMNS, metavar="NAME", help="The timestamp.")] = "timestamp",
    title_column: Annotated[
        str | None, option(panel=_COLUMNS, metavar="NAME", help="What people recognise items by.")
    ] = None,
    rename: Annotated[
        list[str] | None, option(panel=_COLUMNS, metavar="FEATURE=NAME", help="Column of a feature; repeatable.")
    ] = None,
    items_from_log: Annotated[
        list[str] | None,
        option(
            panel=_COLUMNS,
            metavar="FEATURE=NAME,…",
            help="Make the items of columns that the interactions have of them; the last value counts.",
        ),
    ] = None,
    drop: Annotated[
        list[str] | None, option(panel=_COLUMNS, metavar="NAME", help="Column to leave out; repeatable.")
    ] = None,
    drop_others: Annotated[
        bool, option("--drop-others", panel=_COLUMNS, help="Leave out all columns that no feature declares.")
    ] = False,
    id_type: Annotated[
        IdType | None,
        option("--id-type", panel=_COLUMNS, help="Without --features; default: what the IDs look like."),
    ] = None,
    null_value: Annotated[
        list[str] | None,
        option(panel=_COLUMNS, metavar="TEXT", help="Text that stands for a missing value, such as NA; repeatable."),
    ] = None,
    decimal: Annotated[
        str, option(panel=_COLUMNS, metavar=". or ,", help="Between whole and fraction of numbers in text.")
    ] = ".",
    list_separator: Annotated[
        str, option(panel=_COLUMNS, metavar="TEXT", help="Between the values of a list or vector in text.")
    ] = "|",
    timestamps: Annotated[
        TimeUnit,
        option(panel=_TIMES, metavar="UNIT", help="iso, or seconds, milliseconds or microseconds since 1970."),
    ] = TimeUnit.ISO,
    timestamp_format: Annotated[
        str | None, option(panel=_TIMES, metavar="FORMAT", help="Of other text, such as %d-%m-%Y (strptime).")
    ] = None,
    zone: Annotated[
        str | None, option(panel=_TIMES, metavar="ZONE", help="Of timestamps that carry none: Europe/Berlin, say.")
    ] = None,
    time_column: Annotated[
        str | None, option(panel=_TIMES, metavar="NAME", help="The time of day, where the timestamps are dates alone.")
    ] = None,
    order_column: Annotated[
        str | None,
        option(panel=_TIMES, metavar="NAME", help="No timestamps: the order of a user's interactions, whole numbers."),
    ] = None,
    in_order: Annotated[
        bool, option("--in-order", panel=_TIMES, help="No timestamps: rows are in the order of time.")
    ] = False,
    keep_order: Annotated[
        bool,
        option("--keep-order", panel=_TIMES, help="Of one user's moment, rows happened in the order of the files."),
    ] = False,
    event: Annotated[
        str, option(panel=_EVENTS, metavar="NAME", help="Of interactions without an event column.")
    ] = "click",
    map_event: Annotated[
        list[str] | None,
        option(
            panel=_EVENTS, metavar="FROM=TO", help="Event in the files = event here; nothing: left out. Repeatable."
        ),
    ] = None,
    rating_column: Annotated[
        str | None, option(panel=_EVENTS, metavar="NAME", help="Ratings: each is an interaction, good ones are liked.")
    ] = None,
    like_from: Annotated[
        float | None, option(panel=_EVENTS, metavar="NUMBER", help="Ratings from here on are also a like.")
    ] = None,
    quantity_column: Annotated[
        str | None, option(panel=_EVENTS, metavar="NAME", help="How many were bought; below 0 is a return.")
    ] = None,
    skip: Annotated[
        str,
        option(
            panel=_ROWS,
            metavar="REASONS",
            help="null-ids, bad-values, bad-timestamps, unknown-items, unknown-events, duplicates, returns, unreadable "
            "(with commas), or all. Such rows are counted and filed in DIR.refused.csv.",
        ),
    ] = "",
    skip_limit: Annotated[
        str, option(panel=_ROWS, metavar="N or N%", help="Stop if more rows than that are refused.")
    ] = "",
    unknown_items: Annotated[
        UnknownItems, option(panel=_ROWS, help="Items that the items' files do not have.")
    ] = UnknownItems.REFUSE,
    min_user: Annotated[
        int, option(panel=_ROWS, min=0, metavar="N", help="Interactions that each user that is left has at least.")
    ] = 0,
    min_item: Annotated[
        int, option(panel=_ROWS, min=0, metavar="N", help="The same of each item; both hold in the end.")
    ] = 0,
    engine: Annotated[
        Engine, typer.Option(help="spark: a file is a task, for what one machine takes too long for (docs/data.md).")
    ] = Engine.PAGODA,
) -> None:
    """Options of every import of files."""


def job_of(readers: AnyReader | Mapping[Table, Reader], given: dict[str, Any]) -> Import:
    """The import that `shared_options` ask for; one reader reads all tables, or each has its own.

    Raises:
        ConfigError: Options contradict each other.
    """
    from pagoda.data.imports.casts import Conversion
    from pagoda.data.imports.columns import ColumnNames
    from pagoda.data.imports.job import Import

    columns = {
        name: given[f"{name.removesuffix('_id')}_column"] for name in ("user_id", "item_id", "event", "timestamp")
    }
    columns |= {"title": given["title_column"]} if given["title_column"] else {}
    columns |= _pairs(given["rename"], "--rename", "FEATURE=COLUMN")
    conversion = Conversion(
        given["timestamps"], given["zone"], given["list_separator"], given["timestamp_format"],
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
    from pagoda.data.imports.rows.rules import Ratings, RowRules

    if (given["rating_column"] is None) != (given["like_from"] is None):
        raise typer.BadParameter("--rating-column and --like-from go together", param_hint="--rating-column")
    ratings = None if given["rating_column"] is None else Ratings(given["rating_column"], given["like_from"])
    from_log = [pair for pairs in given["items_from_log"] or [] for pair in pairs.split(",")]
    return RowRules(
        skip=Skip.parse(given["skip"], given["skip_limit"]),
        unknown_items=given["unknown_items"],
        events=_pairs(given["map_event"], "--map-event", "FROM=TO", empty=True),
        ratings=ratings,
        quantity=given["quantity_column"],
        items_from_log=_pairs(from_log, "--items-from-log", "FEATURE=COLUMN"),
        time_of_day=given["time_column"],
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
