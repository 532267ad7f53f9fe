"""What a platform would know of users and items: features that reveal only part of the truth."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pagoda.data.layout import schema_of
from pagoda.data.spec import Categorical, FeatureSpec, MultiValued, Numeric
from pagoda.simulation.population import Stream, generator
from pagoda.simulation.world import World

_TOPICS_A_CATEGORY = 2
_MISLABELLED = 0.15
_TAGGED = 0.5
_REGION_FOLLOWS_TASTE = 0.5

SPEC = FeatureSpec(
    title="title",
    features=(
        Numeric(name="age", tower="user", edges=(18, 25, 35, 45, 55, 65)),
        Categorical(name="region", tower="user"),
        Categorical(name="category", tower="item", filterable=True),
        MultiValued(name="tags", tower="item", filterable=True),
        Numeric(name="price", tower="item", edges=(5, 10, 20, 40, 80), filterable=True),
    ),
)


def users_table(world: World) -> pa.Table:
    """Table `users`: the region follows the main taste of every second user, the age says nothing."""
    rng = generator(world.config, Stream.FEATURES, 0)
    n = world.config.users
    follows = rng.random(n) < _REGION_FOLLOWS_TASTE
    region = np.where(follows, world.user_table.main_topic, rng.integers(0, world.config.topics, n))
    columns = {"user_id": world.user_ids, "age": rng.integers(16, 80, n), "region": _names("region", region)}
    return pa.table(columns).cast(schema_of(SPEC, "users"))


def items_table(world: World) -> pa.Table:
    """Table `items`: the category joins two topics and is sometimes wrong, every second item has its topic as a tag."""
    rng = generator(world.config, Stream.FEATURES, 1)
    n = world.config.items
    topic = np.where(rng.random(n) < _MISLABELLED, rng.integers(0, world.config.topics, n), world.item_table.topic)
    category = _names("category", topic // _TOPICS_A_CATEGORY)
    price = np.round(np.exp(2.5 + world.item_table.vector[:, 0] + 0.5 * rng.normal(size=n)), 2)
    tagged = rng.random(n) < _TAGGED
    tags = [[f"tag-{t:02d}"] if tag else [] for t, tag in zip(world.item_table.topic.tolist(), tagged, strict=True)]
    columns = {
        "item_id": world.item_ids,
        "category": category,
        "tags": tags,
        "price": price,
        "title": [f"Item {i} ({c})" for i, c in zip(world.item_ids.tolist(), category, strict=True)],
    }
    return pa.table(columns).cast(schema_of(SPEC, "items"))


def _names(word: str, numbers: np.ndarray) -> list[str]:
    return [f"{word}-{number:02d}" for number in numbers.tolist()]
