"""What a database's queries select, as a source: PostgreSQL, MySQL or MariaDB, SQLite.

All queries of an import run in one read-only transaction that sees the database as of one moment, so that an item which
is sold for the first time meanwhile is not in the log and missing in `items`. Rows come through a cursor of the server.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
from sqlalchemy import URL, Connection, CursorResult, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from pagoda.data.imports.readers.refusals import Refuse, raise_refusal
from pagoda.data.parquet import first_line
from pagoda.errors import ConfigError, DataError, UnavailableError
from pagoda.masking import masked

PASSWORD_VARIABLE = "PAGODA_SQL_PASSWORD"  # noqa: S105
_ROWS = 16_384
_SAMPLE_ROWS = 1_000
_SHOWN = 80
_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "sqlite": "sqlite",
}
_MYSQL = (
    # A TIMESTAMP is given in the session's zone, without naming it
    # (https://dev.mysql.com/doc/refman/8.4/en/datetime.html).
    "SET time_zone = '+00:00'",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
)
_BEGIN = {
    "postgresql": ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "sqlite": ("PRAGMA query_only = ON", "BEGIN"),
}
_UTC = pa.timestamp("us", tz="UTC")
_MYSQL_TIMESTAMP = 7
"""PyMySQL's `FIELD_TYPE.TIMESTAMP`; a DATETIME, which is of no zone, has another."""


@dataclass(frozen=True)
class Query:
    """The rows of one table."""

    text: str

    def __str__(self) -> str:
        line = " ".join(self.text.split())
        return f"query {line if len(line) <= _SHOWN else line[:_SHOWN] + '…'}"

    def limited(self, rows: int) -> str:
        """The first rows alone. A line of its own for what follows, since a query may end in a comment."""
        return f"SELECT * FROM (\n{self.text.strip().rstrip(';')}\n) AS source LIMIT {rows}"  # noqa: S608


def read_password(path: Path | None) -> str | None:
    """The password in a file, or else in `PAGODA_SQL_PASSWORD`; None: the URL or the driver (`~/.pgpass`) knows it.

    Raises:
        ConfigError: The file cannot be read.
    """
    if path is None:
        return os.environ.get(PASSWORD_VARIABLE)
    try:
        return path.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--password-file {path}: cannot be read ({error})") from error


class SqlReader:
    """Implements `pagoda.data.imports.sources.base.SourceReader`; a source is a `Query`."""

    def __init__(self, url: str, password: str | None = None) -> None:
        """Of the database at a URL, which may hold the password itself; nothing is connected yet.

        Raises:
            ConfigError: It is no URL of a database that is known here.
        """
        self._url = _parsed(url)
        self._secrets = {self._url.password, *_in_query(self._url), password} - {None, ""}
        if password is not None and self._backend != "sqlite" and not self._url.password:
            self._url = self._url.set(password=password)
        self._connection: Connection | None = None

    def __str__(self) -> str:
        return masked(self._url.set(drivername=self._backend).render_as_string(hide_password=True))

    def parts(self, source: Query) -> list[Query]:
        """The query."""
        return [source]

    def passed_over(self, source: Query) -> tuple[()]:
        """Nothing."""
        return ()

    def types(self, part: Query, columns: list[str]) -> pa.Schema:
        """As the first rows have them, since SQLite's columns have no types of their own."""
        with self._running(part), self._result(part.limited(_SAMPLE_ROWS)) as result:
            batch = _batch_maker(result, columns, part)
            return batch(result.fetchall()).schema

    def names(self, part: Query) -> list[str]:
        """Column names."""
        with self._running(part), self._result(part.limited(0)) as result:
            return list(result.keys())

    def batches(self, part: Query, columns: list[str], refuse: Refuse = raise_refusal) -> Iterator[pa.RecordBatch]:
        """Stream some columns."""
        with self._running(part), self._result(part.text) as result:
            yield from map(_batch_maker(result, columns, part), result.partitions(_ROWS))

    def close(self) -> None:
        """End the transaction."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _backend(self) -> str:
        return self._url.get_backend_name()

    @contextmanager
    def _result(self, statement: str) -> Iterator[CursorResult[Any]]:
        if self._connection is None:
            self._connection = self._connect()
        # As it is given: no colon and no percent sign of it is a parameter.
        options = {"stream_results": True, "max_row_buffer": _ROWS, "no_parameters": True}
        result = self._connection.exec_driver_sql(statement, execution_options=options)
        try:
            if not result.returns_rows:
                raise DataError("a query selects rows")
            yield result
        finally:
            result.close()

    def _connect(self) -> Connection:
        seconds = {} if self._backend == "sqlite" else {"connect_timeout": 10}
        connection = create_engine(self._url, poolclass=NullPool, connect_args=seconds).connect()
        for statement in _BEGIN[self._backend]:
            connection.exec_driver_sql(statement)
        return connection

    @contextmanager
    def _running(self, query: Query) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            text = f"{self}, {query}: {self._without_password(first_line(error.orig or error))}"
            lost = self._connection is None or error.connection_invalidated
            kind = UnavailableError if lost else DataError
            raise kind(text) from None  # The driver's own error may quote the password.
        except (SQLAlchemyError, ImportError) as error:
            raise ConfigError(f"{self}, {query}: {self._without_password(first_line(error))}") from None

    def _without_password(self, text: str) -> str:
        for secret in self._secrets:
            # As a word: a password of one letter is not every such letter.
            text = re.sub(rf"(?<!\w){re.escape(str(secret))}(?!\w)", "***", text)
        return text


def _in_query(url: URL) -> list[str]:
    """Passwords that a URL gives as options of the driver."""
    given = [value for name, value in url.query.items() if "password" in name or "passwd" in name]
    return [one for value in given for one in ([value] if isinstance(value, str) else value)]


def _parsed(text: str) -> URL:
    try:
        url = make_url(text)
        driver = _DRIVERS.get(url.get_backend_name())
    except (ArgumentError, ValueError):
        url, driver = None, None
    if url is None or driver is None:
        # Not repeated: it may hold a password, and nothing here could tell where.
        raise ConfigError(
            "a database's URL begins with postgresql://, mysql:// or mariadb://, such as mysql://localhost/shop, "
            "or is sqlite:///FILE; characters like / and : of a password are %2F and %3A there"
        )
    if driver == "sqlite" and not (url.database and Path(url.database).is_file()):
        # SQLite would make one.
        raise ConfigError(f"{url}: no such file; sqlite:///FILE is relative to here, sqlite:////FILE to the root")
    return url.set(drivername=driver)


def _batch_maker(
    result: CursorResult[Any], columns: list[str], query: Query
) -> Callable[[Sequence[Any]], pa.RecordBatch]:
    """What makes batches of these columns. What the cursor says of them is read now: it is gone with the last row."""
    names = list(result.keys())
    places = [names.index(name) for name in columns]
    codes = [about[1] for about in result.cursor.description] if result.cursor else [None] * len(names)

    def batch(rows: Sequence[Any]) -> pa.RecordBatch:
        values = list(zip(*rows, strict=True)) or [()] * len(names)
        arrays = [_array(values[place], codes[place], names[place], query) for place in places]
        return pa.RecordBatch.from_arrays(arrays, names=columns)

    return batch


def _array(values: Sequence[Any], code: Any, name: str, query: Query) -> pa.Array:
    first = next((value for value in values if value is not None), None)
    if isinstance(first, UUID):
        values = [None if value is None else str(value) for value in values]
    try:
        # Arrow's types follow from Python's: bigint, text, timestamptz and numeric stay what they are.
        return pa.array(values, _UTC if code == _MYSQL_TIMESTAMP else None)
    except (pa.ArrowException, OverflowError) as error:
        kinds = ", ".join(sorted({type(value).__name__ for value in values if value is not None}))
        raise DataError(f"{query}, column {name!r}: {first_line(error)} (values are of {kinds})") from error
