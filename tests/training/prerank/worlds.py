"""The small world of `tests.training.worlds`, in which things are also shown and rejected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window
from tests.training.worlds import ITEMS, KINDS, SPEC, config, hours, make

GROUPS = ("user_vector", "product", "cosine", "popularity", "item.tags", "user.kind", "share.tags", "since.tags")
PRERANK = config(
    bootstrap_epochs=2, prerank={"candidates": 20, "hidden": [16], "features": list(GROUPS), "budget_ms": 500}
)


def pre_ranked(**changes: object) -> TrainConfig:
    return config(bootstrap_epochs=2, prerank={"candidates": 20, "hidden": [16], **changes})


def make_shown(path: Path, spec: FeatureSpec = SPEC) -> Dataset:
    """A minute before each positive its item was shown, with three plain others; two more were rejected.

    Plain items are shown more often than they are worth, which positives alone do not say.
    """
    make(path, spec)
    rng, plain = np.random.default_rng(2), 100 + np.flatnonzero(np.arange(ITEMS) // KINDS % 2)
    described = pq.read_table(path / "items" / "part-0.parquet")
    ids, tags = (described[name].to_pylist() for name in ("item_id", "tags"))
    marked = [[*own, "plain"] if item in plain else own for item, own in zip(ids, tags, strict=True)]
    kind = described.schema.field("tags").type
    described = described.set_column(described.column_names.index("tags"), "tags", pa.array(marked, kind))
    pq.write_table(described, path / "items" / "part-0.parquet")
    for part in (path / "interactions").rglob("*.parquet"):
        positives = pq.read_table(part)
        parts = [positives]
        for number, event in enumerate(["impression"] * 4 + ["ranking_rejected"] * 2):
            seen = {name: positives[name] for name in positives.column_names}
            if number:
                seen["item_id"] = rng.choice(plain, len(positives))
            seen |= {"event": [event] * len(positives), "timestamp": _before(positives["timestamp"])}
            parts.append(pa.table(seen).cast(positives.schema))
        pq.write_table(pa.concat_tables(parts).sort_by("timestamp"), part)
    return Dataset.open(path)


def until(dataset: Dataset, count: int) -> Window:
    """From the world's beginning, a window in which so many were shown."""
    shown = dataset.batches(hours(0, 40), events=["impression"], columns=["timestamp"], batch_rows=count + 20)
    times = next(shown).column("timestamp").to_pylist()
    end = next(now for before, now in zip(times[count - 1 :], times[count:], strict=False) if before < now)
    return Window(start=hours(0, 1).start, end=end)


def _before(times: pa.ChunkedArray) -> np.ndarray:
    """A minute earlier, but not on the day before."""
    at = times.cast(pa.int64()).to_numpy()
    day = 24 * 3600 * 1_000_000
    return np.maximum(at - 60_000_000, at // day * day)
