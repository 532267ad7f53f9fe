"""Mined negatives as a file: what a version's own search found for each user, by rank."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pagoda.errors import ConfigError, DataError
from pagoda.training.pairs import Pairs
from pagoda.training.tables import OOV, TrainableTable

Int64Array = NDArray[np.int64]
SCHEMA = pa.schema([("user_id", pa.int64()), ("item_id", pa.int64()), ("rank", pa.int32())])


def write_mined(path: Path, parts: Iterable[tuple[Int64Array, Int64Array, Int64Array]]) -> int:
    """Write (user_id, item_id, rank), int64 [n] each, part after part, and return the number of rows."""
    rows = 0
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for users, items, ranks in parts:
            rows += len(users)
            writer.write_table(pa.table([users, items, ranks.astype(np.int32)], schema=SCHEMA))
    return rows


def read_mined(path: Path, users: TrainableTable, catalogue: Int64Array, wanted: int) -> Pairs:
    """The mined negatives of the users and items at hand.

    Args:
        path: A file of `write_mined`.
        users: Those of others are left out.
        catalogue: int64 [i], ascending; other items are left out.
        wanted: How many the configuration asks for at a time.

    Raises:
        DataError: The file cannot be read or has other columns.
        ConfigError: No user of the file has as many as are wanted.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as mined negatives ({error})") from error
    if not table.schema.equals(SCHEMA):
        raise DataError(f"{path}: columns are {table.schema.names}, expected those of `pagoda mine`: {SCHEMA.names}")
    user_ids, item_ids = (table.column(name).to_numpy() for name in ("user_id", "item_id"))
    most = int(np.unique(user_ids, return_counts=True)[1].max(initial=0))
    if most < wanted:
        raise ConfigError(f"negatives.mined is {wanted}, but {path} has at most {most} of a user")
    places = np.minimum(np.searchsorted(catalogue, item_ids), len(catalogue) - 1)
    of = users.places(user_ids)
    known = (of != OOV) & (catalogue[places] == item_ids)
    return Pairs(of[known], places[known])
