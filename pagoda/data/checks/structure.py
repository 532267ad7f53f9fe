"""The structure of a dataset folder: are the files there and whole, and do their columns match the declaration?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa

from pagoda.data.checks.problems import Kind, Problem, ProblemSink
from pagoda.data.horizon import read_horizon
from pagoda.data.increments import current_items
from pagoda.data.layout import FEATURES_FILE, Table, accepts, key_column, optional_columns, schema_of
from pagoda.data.parquet import open_parquet, parquet_files, reading
from pagoda.data.partitions import Part, list_parts
from pagoda.data.spec import FeatureSpec, read_spec
from pagoda.errors import DataError


@dataclass(frozen=True)
class Structure:
    """What a folder holds: its declaration and the files that can be read."""

    spec: FeatureSpec
    parts: list[Part]
    """Interaction files in time order, those without rows left out."""
    files: dict[Table, list[Path]]
    """The files of `users` and `items`."""
    kept_from: date | None = None
    """The first date whose interactions are kept; None: all are."""


def inspect(path: Path, sink: ProblemSink, tables: Sequence[Table] = ("users", "items")) -> Structure:
    """Read the declaration and every Parquet footer; what is wrong goes to `sink`, and that file is left out.

    Args:
        path: The folder.
        sink: Is told of problems.
        tables: Those to look at beside the interactions.

    Raises:
        DataError: The folder or its feature file is missing or unreadable.
        ConfigError: The feature file is wrong.
    """
    try:
        next(path.iterdir(), None)
    except OSError as error:
        advice = "`pagoda data import` makes a dataset, docs/data.md says what one holds"
        raise DataError(f"{path}: cannot be read as a dataset folder ({error.strerror}); {advice}") from error
    spec = read_spec(path / FEATURES_FILE)
    parts: list[Part] = []
    with _listing(path / "interactions", sink):
        parts = list_parts(path / "interactions", sink)
    kept_from = read_horizon(path)
    parts = [part for part in parts if kept_from is None or part.day >= kept_from]
    parts = [part for part in parts if _sound_rows(part.path, spec, "interactions", sink)]
    if not parts:
        sink.add(
            Problem(Kind.EMPTY, str(path / "interactions"), "there is no interaction; a dataset needs at least one")
        )
    files = {table: table_files(path / table, table, spec, sink) for table in tables}
    return Structure(spec, parts, files, kept_from)


def table_files(folder: Path, table: Table, spec: FeatureSpec, sink: ProblemSink) -> list[Path]:
    """The files of `users` or `items` in `folder` that can be read; what is wrong goes to `sink`."""
    found: list[Path] = []
    with _listing(folder, sink):
        found = current_items(parquet_files(folder))
        if not found:
            message = f"there is no Parquet file; {table} need one with a column {key_column(table)!r}"
            sink.add(Problem(Kind.EMPTY, str(folder), message))
    return [path for path in found if _sound_rows(path, spec, table, sink) is not None]


@contextmanager
def _listing(folder: Path, sink: ProblemSink) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"cannot be read ({error.strerror}); a dataset has the folders interactions, users and items"
        sink.add(Problem(Kind.UNREADABLE, str(error.filename or folder), message))


def _sound_rows(path: Path, spec: FeatureSpec, table: Table, sink: ProblemSink) -> int | None:
    """The number of rows; None if the file's footer is not whole, or its columns are not the declared ones."""
    try:
        with reading(path), open_parquet(path) as file:
            schema, rows = file.schema_arrow, int(file.metadata.num_rows)
    except DataError as error:
        sink.add(Problem(Kind.CORRUPT, str(path), str(error).removeprefix(f"{path}: ")))
        return None
    problems = list(compare(schema, schema_of(spec, table), str(path), optional_columns(spec, table)))
    for problem in problems:
        sink.add(problem)
    return None if problems else rows


def compare(given: pa.Schema, wanted: pa.Schema, file: str, optional: Collection[str] = ()) -> Iterator[Problem]:
    """How the columns of a file differ from the declared ones, of which it may lack those that are `optional`."""
    for field in wanted:
        if field.name not in given.names:
            if field.name in optional:
                continue
            message = f"the column is missing; the file has {given.names}"
            yield Problem(Kind.MISSING_COLUMN, file, message, field.name)
        elif given.names.count(field.name) == 1 and not _fits(field, given.field(field.name).type):
            yield _wrong_type(field, given.field(field.name).type, file)
    for name in dict.fromkeys(given.names):
        if name not in wanted.names:
            message = f"the column is not declared; add it to {FEATURES_FILE} as a feature, or remove it"
            yield Problem(Kind.EXTRA_COLUMN, file, message, name)
        elif given.names.count(name) > 1:
            yield Problem(Kind.EXTRA_COLUMN, file, "the column is there more than once; remove all but one", name)


def _fits(field: pa.Field, given: pa.DataType) -> bool:
    # An integer may stand for a category, never for a string ID: the answers show IDs as they were given.
    if field.name in ("user_id", "item_id", "event") and pa.types.is_integer(given):
        return bool(field.type == given)
    return accepts(field.type, given)


def _wrong_type(field: pa.Field, given: pa.DataType, file: str) -> Problem:
    if pa.types.is_timestamp(field.type) and pa.types.is_timestamp(given) and given.tz is None:
        message = f"the timestamps have no zone ({given}); store them as {field.type}"
        return Problem(Kind.NO_ZONE, file, message, field.name)
    message = f"type {given} where {field.type} is expected; convert it, or import the files with `pagoda data import`"
    return Problem(Kind.DTYPE, file, message, field.name)
