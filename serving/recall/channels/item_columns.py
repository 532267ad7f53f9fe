"""Columns of the Parquet files of a generation, read from wherever they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.storage.stores import is_of_a_store


def read_columns(uri: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of one file (default: all); vectors are not read where they are not named."""
    with fsspec.open(uri, "rb") as raw, pq.ParquetFile(raw) as file:
        return file.read(columns)


@contextmanager
def reading_items(what: str) -> Iterator[None]:
    """What goes wrong in this block, in words: `what` begins the message.

    Raises:
        UnavailableError: A file is not there, or cannot be read now.
        IntegrityError: One is not what it should be.
    """
    try:
        yield
    except (ValueError, KeyError, pa.ArrowException) as error:
        raise IntegrityError(f"{what}: {error}") from error
    except Exception as error:
        if not (isinstance(error, OSError) or is_of_a_store(error)):
            raise
        raise UnavailableError(f"{what}: {error}") from error
