"""The small world of `tests.training.worlds`, in which things are also shown and rejected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.spec import FeatureSpec
from tests.training.worlds import ITEMS, SPEC, config, make

GROUPS = ("user_vector", "product", "cosine", "popularity", "item.tags", "user.kind", "share.tags", "since.tags")
PRERANK = config(
    bootstrap_epochs=2, prerank={"candidates": 20, "hidden": [16], "features": list(GROUPS), "budget_ms": 500}
)


def pre_ranked(**changes: object) -> TrainConfig:
    return config(bootstrap_epochs=2, prerank={"candidates": 20, "hidden": [16], **changes})


def make_shown(path: Path, spec: FeatureSpec = SPEC) -> Dataset:
    """A minute before each positive its item was shown, with three others; two more were rejected."""
    make(path, spec)
    rng = np.random.default_rng(2)
    for part in (path / "interactions").rglob("*.parquet"):
        positives = pq.read_table(part)
        parts = [positives]
        for number, event in enumerate(["impression"] * 4 + ["ranking_rejected"] * 2):
            seen = {name: positives[name] for name in positives.column_names}
            if number:
                seen["item_id"] = rng.integers(100, 100 + ITEMS, len(positives))
            seen |= {"event": [event] * len(positives), "timestamp": _before(positives["timestamp"])}
            parts.append(pa.table(seen).cast(positives.schema))
        pq.write_table(pa.concat_tables(parts).sort_by("timestamp"), part)
    return Dataset.open(path)


def _before(times: pa.ChunkedArray) -> np.ndarray:
    """A minute earlier, but not on the day before."""
    at = times.cast(pa.int64()).to_numpy()
    day = 24 * 3600 * 1_000_000
    return np.maximum(at - 60_000_000, at // day * day)
