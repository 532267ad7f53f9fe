"""Generated interactions: IDs and time alone, popularity by Zipf's law, as many rows as wanted over 20 days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pagoda.data.layout import DAY_US, Table, schema_of
from pagoda.data.partitions import InteractionWriter
from pagoda.data.spec import FeatureSpec, write_spec
from pagoda.data.window import to_us

USERS, ITEMS, DAYS = 100_000, 50_000, 20
SPEC = FeatureSpec(history=None)
_START_US = to_us(datetime(2024, 1, 1, tzinfo=UTC))
_PART = 1 << 18
_USERS_EXPONENT, _ITEMS_EXPONENT = 0.5, 0.9


def write_dataset(folder: Path, rows: int, user_count: int = USERS) -> None:
    """Write a dataset folder of about so many clicks; memory follows a part of them."""
    folder.mkdir(parents=True)
    write_spec(SPEC, folder / "features.yaml")
    schema = schema_of(SPEC, "interactions")
    with InteractionWriter(folder / "interactions", schema) as writer:
        for users, items, times_us in clicks(rows, user_count):
            columns = {
                "user_id": users,
                "item_id": items,
                "event": pa.array(["click"]).take(pa.array(np.zeros(len(users), np.int64))),
                "timestamp": pa.array(times_us).cast(pa.timestamp("us", "UTC")),
            }
            writer.write(pa.RecordBatch.from_pydict({name: columns[name] for name in schema.names}).cast(schema))
    sizes: dict[Table, int] = {"users": user_count, "items": ITEMS}
    for name, count in sizes.items():
        schema = schema_of(SPEC, name)
        (folder / name).mkdir()
        pq.write_table(pa.table({schema.names[0]: np.arange(count)}).cast(schema), folder / name / "part-0.parquet")


def write_pairs(path: Path, rows: int) -> None:
    """Write the users and items of the same clicks, int64 [2, rows], for trainers that take arrays."""
    np.save(path, np.concatenate([np.stack(part[:2]) for part in clicks(rows)], axis=1))


def clicks(
    rows: int, user_count: int = USERS
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Users, items and times of the clicks in time order, in parts."""
    users, items = (_law(count, by) for count, by in ((user_count, _USERS_EXPONENT), (ITEMS, _ITEMS_EXPONENT)))
    for part, start in enumerate(range(0, rows, _PART)):
        rng, end = np.random.default_rng((1, part)), min(start + _PART, rows)
        span = DAYS * DAY_US
        times = rng.integers(start * span // rows, end * span // rows, end - start)
        drawn = (law.searchsorted(rng.random(end - start)) for law in (users, items))
        chosen_users, chosen_items = (np.asarray(place, np.int64) for place in drawn)
        yield chosen_users, chosen_items, np.sort(times) + _START_US


def _law(count: int, exponent: float) -> NDArray[np.float64]:
    """Cumulative probabilities, in no order of popularity."""
    weights = np.random.default_rng(count).permutation(np.arange(1, count + 1) ** -exponent)
    return np.cumsum(weights / weights.sum())
