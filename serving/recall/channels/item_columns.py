"""Columns of the Parquet files of a generation, read from wherever they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.item_vectors.fields import ITEM_ID
from pagoda.storage.stores import is_of_a_store


def read_columns(uri: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of one file (default: all); vectors are not read where they are not named."""
    with fsspec.open(uri, "rb") as raw, pq.ParquetFile(raw) as file:
        return file.read(columns)


def read_rows(uri: str, columns: Sequence[str], ids: NDArray[np.int64]) -> pa.Table:
    """Columns of one file's rows of these items alone, int64 [n]. Memory follows them, not the file."""
    with fsspec.open(uri, "rb") as raw, pq.ParquetFile(raw) as file:
        schema, wanted = pa.schema([file.schema_arrow.field(name) for name in columns]), pa.array(ids)
        batches = (batch.select(columns) for batch in file.iter_batches(columns=columns))
        kept = [batch.filter(pc.is_in(batch[ITEM_ID], value_set=wanted)) for batch in batches]
        return pa.Table.from_batches(kept, schema)


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
