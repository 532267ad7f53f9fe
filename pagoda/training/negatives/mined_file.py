"""Mined negatives as a file: what a version's own search found for each user, by rank."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pagoda.errors import DataError
from pagoda.training.pairs import Pairs
from pagoda.training.tables import OOV, TrainableTable

Int64Array = NDArray[np.int64]
SCHEMA = pa.schema([("user_id", pa.int64()), ("item_id", pa.int64()), ("rank", pa.int32())])
_BATCH_ROWS = 1 << 20


def write_mined(path: Path, parts: Iterable[tuple[Int64Array, Int64Array, Int64Array]]) -> int:
    """Write (user_id, item_id, rank), int64 [n] each, part after part, and return the number of rows."""
    rows = 0
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for users, items, ranks in parts:
            rows += len(users)
            writer.write_table(pa.table([users, items, ranks.astype(np.int32)], schema=SCHEMA))
    return rows


def join_mined(parts: Sequence[Path], path: Path) -> None:
    """Make one file of several of `write_mined`, with the bytes of one that got all; memory follows a part of one."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for part in parts:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(group))


def most_of_a_user(path: Path) -> int:
    """How many rows the file has of the user with most. Memory follows the users.

    Raises:
        DataError: The file cannot be read or has other columns.
    """
    users, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    for batch in _batches(path, ["user_id"]):
        more, of_more = np.unique(batch.column("user_id").to_numpy(), return_counts=True)
        users, place = np.unique(np.concatenate([users, more]), return_inverse=True)
        counts = np.bincount(place, weights=np.concatenate([counts, of_more])).astype(np.int64)
    return int(counts.max(initial=0))


def read_mined(path: Path, users: TrainableTable, catalogue: Int64Array, kept: int, seed: int) -> Pairs:
    """The mined negatives of the users and items at hand; memory follows what is kept.

    Args:
        path: A file of `write_mined`.
        users: Those of others are left out.
        catalogue: int64 [i], ascending; other items are left out.
        kept: Of each user about so many are kept, at random.
        seed: Chooses them.

    Raises:
        DataError: The file cannot be read or has other columns.
    """
    rng, found = np.random.default_rng(seed), [np.empty((2, 0), np.int64)]
    for batch in _batches(path, ["user_id", "item_id"]):
        of, item_ids = users.places(batch.column("user_id").to_numpy()), batch.column("item_id").to_numpy()
        places = np.minimum(np.searchsorted(catalogue, item_ids), len(catalogue) - 1)
        known = np.flatnonzero((of != OOV) & (catalogue[places] == item_ids))
        order = known[np.lexsort((rng.random(len(known)), of[known]))]
        # A user's rows follow each other in the file, so nearly all of them are in one batch.
        first = np.searchsorted(of[order], of[order], "left")
        chosen = order[np.arange(len(order)) - first < kept]
        found.append(np.stack([of[chosen], places[chosen]]))
    return Pairs(*np.concatenate(found, 1))


def read_lists(path: Path, users: int) -> Iterator[tuple[Int64Array, Int64Array]]:
    """What was found for each user, `users` of them at a time; one may come again, with the rest of their items.

    Yields:
        Users int64 [B], and their items int64 [B, n], -1 where a user has fewer.

    Raises:
        DataError: The file cannot be read or has other columns.
    """
    for batch in _batches(path, ["user_id", "item_id"]):
        owners, items = batch.column("user_id").to_numpy(), batch.column("item_id").to_numpy()
        starts = np.flatnonzero(np.diff(owners, prepend=owners[0] - 1))
        lengths = np.diff(starts, append=len(owners))
        for at in range(0, len(starts), users):
            first, count = starts[at : at + users, None], lengths[at : at + users, None]
            places = np.arange(int(count.max()))
            there = places < count
            yield owners[first[:, 0]], np.where(there, items[np.where(there, first + places, 0)], -1)


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as mined negatives ({error})") from error
    with file:
        if not file.schema_arrow.equals(SCHEMA):
            names = file.schema_arrow.names
            raise DataError(f"{path}: columns are {names}, expected those of `pagoda mine`: {SCHEMA.names}")
        yield from file.iter_batches(_BATCH_ROWS, columns=columns)
