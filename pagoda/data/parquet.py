"""Parquet as every file of a dataset is read and written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.errors import DataError

FIRST_PART = "part-0.parquet"
"""What is written by one writer."""


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a file for streaming: row groups are not read ahead, pages with a checksum are verified."""
    return pq.ParquetFile(_plain(path), pre_buffer=False, page_checksum_verification=True)


def all_batches(file: pq.ParquetFile, rows: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Stream some columns of a whole file, so many rows at once.

    Raises:
        ArrowInvalid: There are not as many rows as its footer says: damage before a page may hide it from Arrow.
    """
    count = 0
    for batch in file.iter_batches(rows, columns=columns):
        count += batch.num_rows
        yield batch
    if count != file.metadata.num_rows:
        raise pa.ArrowInvalid(f"{count:,} rows can be read, and its footer says {file.metadata.num_rows:,}")


def open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a file for writing; its pages carry checksums, so that damage is noticed and not decoded."""
    return pq.ParquetWriter(
        _plain(path),
        schema,
        compression="zstd",
        compression_level=1,
        write_page_checksum=True,
        use_dictionary=_with_dictionary(schema),
    )


def in_columns(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The columns of `schema` of a batch, null where it lacks one."""
    there = set(batch.schema.names)
    columns = [
        batch.column(field.name).cast(field.type, safe=False)
        if field.name in there
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _with_dictionary(schema: pa.Schema) -> list[str]:
    """All columns but timestamps and numbers of users: few come twice, and a dictionary costs time and room."""
    return [
        f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
        for field in schema
        if not pa.types.is_timestamp(field.type) and (field.name, field.type) != ("user_id", pa.int64())
    ]


def _plain(path: Path) -> Path:
    """A path that Arrow takes for no URI: with a colon in it, a relative one looks like one."""
    return path.absolute()


def row_count(path: Path) -> int:
    """Number of rows, from the footer."""
    with reading(path), open_parquet(path) as file:
        return int(file.metadata.num_rows)


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files of a folder by name, hidden ones left out."""
    # iterdir, since glob passes over a folder that it may not read.
    return sorted(p for p in folder.iterdir() if p.name.endswith(".parquet") and not p.name.startswith((".", "_")))


def write_table(folder: Path, batches: Iterator[pa.RecordBatch], schema: pa.Schema, name: str = FIRST_PART) -> None:
    """Write `users` or `items` as one file in the new folder `folder`, streamed."""
    folder.mkdir(parents=True)
    with open_writer(folder / name, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what Arrow and the file system say about a bad file into a DataError that names it."""
    try:
        yield
    except (pa.ArrowException, ValueError, KeyError) as error:
        # A damaged footer can also surface as an undecodable or unknown name.
        raise DataError(_corrupt(path, error)) from error
    except OSError as error:
        # Arrow reports damaged pages as OSError without an errno.
        if error.errno is None:
            raise DataError(_corrupt(path, error)) from error
        raise DataError(f"{path}: cannot be read ({os.strerror(error.errno)})") from error


def _corrupt(path: Path, error: Exception) -> str:
    return f"{path}: corrupt or truncated Parquet ({first_line(error)}); restore it or write it again"


def first_line(error: Exception) -> str:
    """The first line of what Arrow says; the others quote data or advise on Arrow's own options."""
    return str(error).splitlines()[0].rstrip(".")
