"""Small datasets, and towers that note what they are asked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories
from pagoda.data.layout import partition_name, schema_of
from pagoda.data.spec import FeatureSpec, write_spec
from pagoda.data.window import Window, from_us

HOUR = 3_600_000_000
Event = tuple[int, int, int, str]
"""User, item, hour since the epoch, event."""


def hours(start: int, end: int) -> Window:
    return Window(start=from_us(start * HOUR), end=from_us(end * HOUR))


def write_dataset(
    path: Path,
    events: Sequence[Event],
    items: int,
    spec: FeatureSpec,
    *,
    profiles: pa.Table | None = None,
    **context: Any,
) -> Dataset:
    """Write events given in time order, and items 100, 101, …; users are those of `profiles`, else of the events."""
    path.mkdir()
    write_spec(spec, path / "features.yaml")
    moments = [from_us(hour * HOUR) for _, _, hour, _ in events]
    columns = {"user_id": [e[0] for e in events], "item_id": [e[1] for e in events], "event": [e[3] for e in events]}
    table = pa.table({**columns, "timestamp": moments, **context}).cast(schema_of(spec, "interactions"))
    for day in sorted({moment.date() for moment in moments}):
        mask = pa.array([moment.date() == day for moment in moments])
        put(path / "interactions" / partition_name(day), table.filter(mask))
    put(path / "users", profiles or pa.table({"user_id": sorted({event[0] for event in events})}))
    put(path / "items", pa.table({"item_id": list(range(100, 100 + items))}))
    return Dataset.open(path)


def put(folder: Path, table: pa.Table) -> None:
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "part-0.parquet")


class NotingTowers:
    """Vectors that point at the last item of the history (item 0 without one); everything asked is kept."""

    cascade = None

    def __init__(self, items: int, known: Sequence[int] = ()) -> None:
        self.items, self.known = items, known
        self.asked: list[tuple[int, int, list[int], list[Any]]] = []

    def item_vectors(self) -> np.ndarray:
        return np.eye(self.items, dtype=np.float32)

    def user_vectors(
        self, user_ids: np.ndarray, timestamps_us: np.ndarray, histories: Histories, context: pa.Table
    ) -> np.ndarray:
        padded = histories.padded()
        raw = context.to_pylist() or [{}] * len(user_ids)
        for row, (user, moment) in enumerate(zip(user_ids, timestamps_us, strict=True)):
            past = padded.items[row][padded.mask[row]].tolist()
            assert (padded.times_us[row][padded.mask[row]] < moment).all()
            self.asked.append((int(user), int(moment) // HOUR, past, list(raw[row].values())))
        last = np.zeros(len(user_ids), np.int64)
        if histories.length:
            last = np.where(padded.mask[:, -1], padded.items[:, -1] - 100, 0)
        return np.eye(self.items, dtype=np.float32)[last]

    def knows(self, user_ids: np.ndarray) -> np.ndarray:
        return np.isin(user_ids, list(self.known))


class OrderedTowers(NotingTowers):
    """Like the items with the lowest numbers best, whoever asks."""

    def item_vectors(self) -> np.ndarray:
        return -np.arange(self.items, dtype=np.float32)[:, None]

    def user_vectors(self, user_ids: np.ndarray, *_: object) -> np.ndarray:
        return np.ones((len(user_ids), 1), np.float32)
