"""An installation of any size for measuring: a registered version, its collection, its users in the store.

The towers are not trained, since nothing measured here depends on what they have learned: ID rows are drawn around
topics, so that vectors lie in clusters as learned ones do, and everything after that is the platform's own code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from pagoda.config.model import ModelConfig
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.layout import FEATURES_FILE, day_of, partition_name, schema_of
from pagoda.data.spec import Categorical, FeatureSpec, History, Numeric, write_spec
from pagoda.data.window import Window, from_us
from pagoda.embeddings.table import IdTable
from pagoda.item_vectors.vector_files import ItemVectorsWriter
from pagoda.model.encoder import Encoder
from pagoda.model.export import export_towers
from pagoda.model.towers.towers import Towers
from pagoda.version_files import full
from pagoda.version_files.full import FullVersionFiles, save_tensors
from pagoda.version_files.open_version import item_vectors

DIM, HISTORY = 64, 20
TOPICS, CATEGORIES, LATENT = 500, 30, 16
NOW_US = 1_760_000_000_000_000
"""The moment that all requests are for."""
WINDOW = Window(start=from_us(NOW_US - 86_400_000_000), end=from_us(NOW_US))
SPEC = FeatureSpec(
    history=History(length=HISTORY),
    features=(
        Numeric(name="age", tower="user", edges=(18, 30, 50)),
        Categorical(name="country", tower="user"),
        Categorical(name="category", tower="item", filterable=True),
        Numeric(name="year", tower="item", edges=(1990, 2000, 2010), filterable=True),
    ),
)


@dataclass(frozen=True)
class BenchWorld:
    """What was made."""

    dataset: Dataset
    files: FullVersionFiles
    vectors: Path
    users: NDArray[np.int64]


def make_world(folder: Path, items: int, users: int, seed: int = 0) -> BenchWorld:
    """Write a dataset, a full version and its item vectors below `folder`."""
    random = np.random.default_rng(seed)
    rows = TopicRows(random)
    item_topics, user_topics = random.integers(0, TOPICS, items), random.integers(0, TOPICS, users)
    _write_dataset(folder / "data", random, item_topics, user_topics)
    dataset = Dataset.open(folder / "data")
    files = FullVersionFiles(folder / "version", folder / "state")
    _write_version(files, dataset, rows, (user_topics, item_topics))
    vectors = folder / "item_vectors.parquet"
    with ItemVectorsWriter(vectors, SPEC, DIM) as writer:
        table = dataset.items()
        writer.write(table, item_vectors(files, files.towers(), table))
    return BenchWorld(dataset, files, vectors, np.arange(users))


class TopicRows:
    """ID rows around topics, in as many directions as learned ones have: far fewer than the dimension."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self._directions = (random.normal(size=(LATENT, DIM)) / LATENT**0.5).astype(np.float32)
        self._topics = random.normal(size=(TOPICS, LATENT)).astype(np.float32)

    def draw(self, topics: NDArray[np.int64]) -> NDArray[np.float32]:
        """One row for each of `topics`, [n, dim]."""
        latent = self._topics[topics] + self.random.normal(size=(len(topics), LATENT)).astype(np.float32)
        noise = 0.1 * self.random.normal(size=(len(topics), DIM)).astype(np.float32)
        return latent @ self._directions + noise


def _write_dataset(
    folder: Path, random: np.random.Generator, item_topics: NDArray[np.int64], user_topics: NDArray[np.int64]
) -> None:
    folder.mkdir(parents=True)
    write_spec(SPEC, folder / FEATURES_FILE)
    users, items = len(user_topics), len(item_topics)
    countries = np.array(["DE", "FR", "JP", "US"])
    profile = {"age": random.uniform(12, 80, users), "country": countries[random.integers(0, 4, users)]}
    _write(folder / "users/users.parquet", {"user_id": np.arange(users), **profile}, schema_of(SPEC, "users"))
    categories = np.array([f"category-{number}" for number in range(CATEGORIES)])
    about = {"category": categories[item_topics % CATEGORIES], "year": random.integers(1980, 2026, items).astype(float)}
    _write(folder / "items/items.parquet", {"item_id": np.arange(items), **about}, schema_of(SPEC, "items"))
    # Half of what a user clicks is of the user's own topic.
    by_topic = np.argsort(item_topics, kind="stable")
    starts = np.searchsorted(item_topics[by_topic], np.arange(TOPICS + 1))
    who = np.repeat(np.arange(users), HISTORY)
    low, high = starts[user_topics[who]], starts[user_topics[who] + 1]
    own = by_topic[np.minimum(low + (random.random(len(who)) * (high - low)).astype(int), items - 1)]
    what = np.where(random.random(len(who)) < 0.5, own, random.integers(0, items, len(who)))
    when = np.sort(random.integers(NOW_US - 3_600_000_000, NOW_US, len(who)))
    rows = {
        "user_id": random.permutation(who),
        "item_id": what,
        "event": np.full(len(who), "click"),
        "timestamp": when,
    }
    part = folder / "interactions" / partition_name(day_of(int(when[0]))) / "part.parquet"
    _write(part, rows, schema_of(SPEC, "interactions"))


def _write(path: Path, columns: dict[str, NDArray[np.generic]], schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = [pa.array(columns[name]).cast(schema.field(name).type) for name in schema.names]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path)


def _write_version(
    files: FullVersionFiles, dataset: Dataset, rows: TopicRows, of: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> None:
    """The files of a full version whose towers are as initialised."""
    folder = files.folder
    folder.mkdir()
    config = TrainConfig.model_validate({"model": ModelConfig(dim=DIM)})
    encoder = Encoder.fit(SPEC, dataset.users(), dataset.items())
    torch.manual_seed(0)
    towers = Towers(config.model, encoder)
    (folder / full.ENCODER).write_text(encoder.to_json())
    (folder / full.CONFIG).write_text(config.to_yaml())
    save_tensors(towers.state_dict(), folder / full.TOWERS)
    export_towers(towers, encoder, DIM, folder / full.USER_PROGRAM, folder / full.ITEM_PROGRAM)
    for side, chosen in zip((full.USERS, full.ITEMS), of, strict=True):
        IdTable.write(folder / side, np.arange(len(chosen)), rows.draw(chosen), np.zeros(DIM, np.float32))
    counts = np.sort(rows.random.zipf(1.5, len(of[1])).clip(max=100_000))[::-1]
    popularity = {"item_id": rows.random.permutation(len(of[1])), "clicks": counts}
    pq.write_table(pa.table(popularity), folder / full.POPULARITY)
