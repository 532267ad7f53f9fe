"""Verbs of `pagoda data import` for databases, tables of lakes and TFRecord."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pagoda.cli.data.import_options import Engine
from pagoda.cli.data.imports import Chosen, importing, needs_extra, verb

if TYPE_CHECKING:
    from pagoda.data.imports.readers import Reader
    from pagoda.data.imports.sources.base import SourceReader

__all__ = ["importing"]


@verb("tfrecord", "Import TFRecord files of tf.train.Example, plain or compressed.")
def tfrecord() -> Reader:
    """A reader of TFRecord."""
    from pagoda.data.imports.sources.tfrecord import TfrecordReader

    return TfrecordReader()


@verb("sql", "Import what queries of a database select.", without=("users", "items"), engine=Engine.PAGODA)
def sql(
    *,
    interactions: Annotated[
        str,
        typer.Option(
            metavar="URL", help="The database: postgresql://USER@HOST/NAME, mysql://USER@HOST/NAME, sqlite:///FILE."
        ),
    ],
    query: Annotated[str, typer.Option(metavar="SELECT", help="Selects the interactions.")],
    users_query: Annotated[
        str | None, typer.Option(metavar="SELECT", help="Selects users; default: those of the interactions.")
    ] = None,
    items_query: Annotated[
        str | None, typer.Option(metavar="SELECT", help="Selects items; default: those of the interactions.")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Holds the password; else $PAGODA_SQL_PASSWORD or ~/.pgpass.")
    ] = None,
) -> Chosen:
    """A reader of a database, and the queries."""
    with needs_extra("sql"):
        from pagoda.data.imports.sources.sql import Query, SqlReader, read_password
    reader = SqlReader(interactions, read_password(password_file))
    users, items = (None if text is None else Query(text) for text in (users_query, items_query))
    return Chosen(reader, {"interactions": Query(query), "users": users, "items": items}, reader.close)


@verb("delta", "Import Delta Lake tables.", engine=Engine.PAGODA)
def delta(
    *,
    version: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Version of the tables; default: the latest of each.")
    ] = None,
) -> SourceReader:
    """A reader of Delta Lake tables."""
    with needs_extra("lake"):
        from pagoda.data.imports.sources.delta import DeltaReader
    return DeltaReader(version)


@verb(
    "iceberg",
    "Import Iceberg tables: a metadata file, a table's folder, or CATALOG.NAMESPACE.TABLE.",
    engine=Engine.PAGODA,
)
def iceberg(
    *,
    snapshot: Annotated[
        int | None, typer.Option(metavar="ID", help="Snapshot of the tables; default: the current one of each.")
    ] = None,
) -> SourceReader:
    """A reader of Iceberg tables."""
    with needs_extra("lake"):
        from pagoda.data.imports.sources.iceberg import IcebergReader
    return IcebergReader(snapshot)


@verb(
    "table",
    "Import tables of the Spark session's catalogue by their names, on Spark.",
    engine=Engine.SPARK,
)
def table() -> SourceReader:
    """A reader of what the session knows."""
    with needs_extra("spark"):
        from pagoda.data.spark.session import open_session
        from pagoda.data.spark.tables import SparkTables
    return SparkTables(open_session())
