"""A small world with something to learn: users and items of four kinds, users mostly click their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.config.training import TrainConfig, parse_config
from pagoda.data.dataset import Dataset
from pagoda.data.layout import partition_name, schema_of
from pagoda.data.spec import Categorical, FeatureSpec, History, MultiValued, TimeOf, write_spec
from pagoda.data.window import Window, from_us

HOUR = 3_600_000_000
USERS, ITEMS, KINDS = 60, 40, 4
SPEC = FeatureSpec(
    history=History(length=5),
    features=(
        Categorical(name="kind", tower="user"),
        Categorical(name="device", tower="user", source="context"),
        TimeOf(name="hour", part="hour"),
        MultiValued(name="tags", tower="item", max_values=3),
    ),
)
WEIGHED = SPEC.model_copy(update={"positive_weight": "dwell"})
IDS_ALONE = FeatureSpec(history=None)
CONFIG = parse_config("""
batch_size: 64
negatives: {uniform: 16}
model:
  dim: 8
  feature_dim: 4
  user: {blocks: [{kind: mlp, hidden: [16]}]}
  item: {blocks: [{kind: mlp, hidden: [16]}]}
""")


def config(**changes: object) -> TrainConfig:
    return TrainConfig.model_validate(CONFIG.model_dump() | changes)


def hours(start: int, end: int) -> Window:
    return Window(start=from_us(start * HOUR), end=from_us(end * HOUR))


def make(
    path: Path,
    spec: FeatureSpec = SPEC,
    clicks_an_hour: int = 25,
    total_hours: int = 60,
    interests: list[str] | None = None,
) -> Dataset:
    """Clicks and likes in time order; users from 50 on appear in hour 40, items from 35 on too.

    Where the feature is declared, all users have said the same `interests`, or nobody any.
    """
    rng = np.random.default_rng(1)
    at = np.repeat(np.arange(total_hours), clicks_an_hour)
    early = at < 40
    users = np.where(early, rng.integers(0, 50, len(at)), rng.integers(0, USERS, len(at)))
    own = rng.random(len(at)) < 0.9
    kind = np.where(own, users % KINDS, rng.integers(0, KINDS, len(at)))
    items = np.minimum(
        rng.integers(0, np.where(early, 35, ITEMS)) // KINDS * KINDS + kind, np.where(early, 34, ITEMS - 1)
    )
    times = [from_us(int(t)) for t in np.sort(at * HOUR + rng.integers(0, 3600, len(at)) * 1_000_000)]
    columns = {
        "user_id": users,
        "item_id": items + 100,
        "event": np.where(rng.random(len(at)) < 0.8, "click", "like"),
        "timestamp": times,
        "device": rng.choice(["phone", "tv"], len(at)),
        "dwell": pa.array(rng.gamma(2, 10, len(at)), mask=rng.random(len(at)) < 0.2),
    }
    schema = schema_of(spec, "interactions")
    table = pa.table({name: columns[name] for name in schema.names}).cast(schema)
    path.mkdir()
    write_spec(spec, path / "features.yaml")
    for day in sorted({time.date() for time in times}):
        of_day = pa.array([time.date() == day for time in times])
        _put(path / "interactions" / partition_name(day), table.filter(of_day))
    known = np.arange(USERS - 2)  # the last two users have interactions but no profile
    said = {"kind": [f"k{user % KINDS}" for user in known], "interests": [interests for _ in known]}
    _put(path / "users", _only(spec, "users", {"user_id": known, **said}))
    ids = np.arange(ITEMS)
    described = {
        "item_id": ids + 100,
        "tags": [[f"k{item % KINDS}", "all"] for item in ids],
        "name": [f"The {['north', 'south', 'east', 'west'][item % KINDS]}ern one, {item}" for item in ids],
        "look": np.eye(KINDS)[ids % KINDS].tolist(),
    }
    _put(path / "items", _only(spec, "items", described))
    return Dataset.open(path)


def _only(spec: FeatureSpec, table: str, columns: dict[str, object]) -> pa.Table:
    schema = schema_of(spec, "users" if table == "users" else "items")
    return pa.table({name: columns[name] for name in schema.names}).cast(schema)


def _put(folder: Path, table: pa.Table) -> None:
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "part-0.parquet")
