"""The structure of a dataset folder: are the files there and whole, and do their columns match the declaration?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.data.layout import FEATURES_FILE, Table, accepts, key_column, schema_of
from pagoda.data.partitions import Part, list_parts, parquet_files
from pagoda.data.problems import Kind, Problem, Sink
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


def inspect(path: Path, sink: Sink) -> Structure:
    """Read the declaration and every Parquet footer; what is wrong goes to `sink`, and that file is left out.

    Raises:
        DataError: The folder or its feature file is missing or unreadable.
        ConfigError: The feature file is wrong.
    """
    if not path.is_dir():
        raise DataError(
            f"{path}: no such folder; `pagoda data import` makes a dataset, docs/data.md says what one holds"
        )
    spec = read_spec(path / FEATURES_FILE)
    found = [part for part in _list_interactions(path, sink) if _sound(part.path, spec, "interactions", sink)]
    parts = [part for part in found if _rows(part.path)]
    if not parts:
        message = "there are no interactions; a dataset needs at least one"
        sink.add(Problem(Kind.EMPTY, str(path / "interactions"), message))
    return Structure(
        spec, parts, {"users": _files(path, "users", spec, sink), "items": _files(path, "items", spec, sink)}
    )


def _list_interactions(path: Path, sink: Sink) -> list[Part]:
    with _folder(path / "interactions", sink) as readable:
        return list_parts(path / "interactions", sink) if readable else []


def _files(path: Path, table: Table, spec: FeatureSpec, sink: Sink) -> list[Path]:
    folder = path / table
    with _folder(folder, sink) as readable:
        found = parquet_files(folder) if readable else []
    sound = [file for file in found if _sound(file, spec, table, sink)]
    if not sound:
        sink.add(
            Problem(Kind.EMPTY, str(folder), f"there is no Parquet file; {table} need one with {key_column(table)}")
        )
    return sound


@contextmanager
def _folder(folder: Path, sink: Sink) -> Iterator[bool]:
    """Whether `folder` can be listed; if not, `sink` has been told."""
    reason = None
    if not folder.is_dir():
        reason = "no such folder; a dataset has interactions, users and items"
    elif not os.access(folder, os.R_OK | os.X_OK):
        reason = "the folder cannot be read (permission denied); give yourself the right to read it"
    if reason:
        sink.add(Problem(Kind.UNREADABLE, str(folder), reason))
    yield reason is None


def _sound(path: Path, spec: FeatureSpec, table: Table, sink: Sink) -> bool:
    """Whether the file's footer can be read and its columns are the declared ones."""
    try:
        with reading(path), open_parquet(path) as file:
            schema = file.schema_arrow
    except DataError as error:
        sink.add(Problem(Kind.CORRUPT, str(path), str(error).removeprefix(f"{path}: ")))
        return False
    problems = list(compare(schema, schema_of(spec, table), str(path)))
    for problem in problems:
        sink.add(problem)
    return not problems


def compare(given: pa.Schema, wanted: pa.Schema, file: str) -> Iterator[Problem]:
    """How the columns of a file differ from the declared ones."""
    for field in wanted:
        if field.name not in given.names:
            message = f"the column is missing; the file has {given.names}"
            yield Problem(Kind.MISSING_COLUMN, file, message, field.name)
        elif not _fits(field, given.field(field.name).type):
            yield _wrong_type(field, given.field(field.name).type, file)
    for name in given.names:
        if name not in wanted.names:
            message = f"the column is not declared; add it to {FEATURES_FILE} as a feature or remove it"
            yield Problem(Kind.EXTRA_COLUMN, file, message, name)


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


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a Parquet file for streaming: row groups are not read ahead."""
    return pq.ParquetFile(path, pre_buffer=False)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what Arrow and the file system say about a bad file into a DataError that names it."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"{path}: corrupt or truncated Parquet ({_first_line(error)}); restore or write it again"
        ) from error
    except OSError as error:
        # Arrow reports damaged pages as OSError without an errno.
        reason = os.strerror(error.errno) if error.errno else f"corrupt or truncated Parquet: {_first_line(error)}"
        raise DataError(f"{path}: cannot be read ({reason})") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")


def _rows(path: Path) -> int:
    with open_parquet(path) as file:
        return int(file.metadata.num_rows)
