"""Features of items that a simulated world does not declare by itself: a text, and what another model says of an item.

Both are as good as assumed here: the text names the two topics that are nearest to an item, each in one of some forms
of its word; the vector is the item's true one with as much noise.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pagoda.data.dataset import Dataset
from pagoda.data.layout import FEATURES_FILE, schema_of
from pagoda.data.new_folder import new_dataset
from pagoda.data.parquet import write_table
from pagoda.data.spec import Dense, Feature, Text, write_spec
from pagoda.simulation import World, WorldConfig
from pagoda.simulation.features import SPEC, items_table
from pagoda.simulation.population import Float, unit

TEXT = Text(name="text", tower="item")
DENSE = Dense(name="dense", tower="item", length=WorldConfig().dim)
_TOPICS_NAMED, _LETTERS = 2, 7
_ENDINGS = ("", "s", "ing", "ish", "ery")
_STREAM = 100
"""Of randomness; none of the world's own."""


def declare(data: Path, features: Sequence[Feature], out: Path) -> Dataset:
    """The dataset folder `data` of a world once more in `out`, its items with further features (of those above)."""
    spec = SPEC.model_copy(update={"features": (*SPEC.features, *features)})
    schema, world = schema_of(spec, "items"), World.open(data)
    rng = np.random.default_rng([world.config.seed, _STREAM])
    table = items_table(world)
    table = table.append_column(TEXT.name, pa.array(_texts(world, rng)))
    table = table.append_column(DENSE.name, pa.array(_noisy(world, rng).tolist()))
    with new_dataset(out) as folder:
        write_spec(spec, folder / FEATURES_FILE)
        for name in ("interactions", "users"):
            (folder / name).symlink_to(data / name)
        write_table(folder / "items", iter(table.select(schema.names).cast(schema).to_batches()), schema)
    return Dataset.open(out)


def _texts(world: World, rng: np.random.Generator) -> list[str]:
    words = ["".join(rng.choice(list(string.ascii_lowercase), _LETTERS)) for _ in world.topics]
    nearest = np.argsort(-(world.item_table.vector @ world.topics.T), axis=1)[:, :_TOPICS_NAMED]
    endings = rng.choice(_ENDINGS, nearest.shape)
    return [
        " ".join(words[topic] + ending for topic, ending in zip(*pair, strict=True))
        for pair in zip(nearest.tolist(), endings.tolist(), strict=True)
    ]


def _noisy(world: World, rng: np.random.Generator) -> Float:
    true = world.item_table.vector
    return unit(true + unit(rng.normal(size=true.shape)))
