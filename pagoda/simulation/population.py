"""Who and what there is: latent vectors, arrivals, popularity, and the features that partly reveal them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pagoda.simulation.config import HOUR_US, WorldConfig

Float = NDArray[np.float32]
Int = NDArray[np.int64]
_ITEM_SPREAD = 0.6
_USER_SPREAD = 0.4
_MIXTURE = (0.6, 0.3, 0.1)
"""Share of each topic in a taste."""
_ZIPF = 0.6
_PEAKS = ((0.2, 8.0), (0.2, 12.5), (0.6, 20.0))
"""Weight and hour of the times of day around which people come."""


class Stream(IntEnum):
    """Independent sources of randomness, so that one may be read without the others."""

    TOPICS = 0
    USERS = 1
    ITEMS = 2
    FEATURES = 3
    WANDER = 4
    SHIFT = 5
    TREND = 6
    VISITS = 7
    REACTIONS = 8
    PILOT = 9
    TASTES = 10


def generator(config: WorldConfig, stream: Stream, *index: int) -> np.random.Generator:
    """Random numbers that depend on the seed, the stream and the index alone."""
    return np.random.default_rng([config.seed, stream, *index])


def unit(vectors: NDArray[np.floating]) -> Float:
    """The rows at length 1."""
    scaled: Float = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return scaled


@dataclass(frozen=True)
class Users:
    """User `n` has ID n + 1. Arrays have one row a user."""

    taste: Float
    """Lasting interest, [users, dim], unit length; of several tastes [users, tastes, dim]."""
    arrival_us: Int
    activity: Float
    """How often a user comes, relative to others."""
    peak_hour: Float
    """Around which hour of the day."""
    rhythm_topic: Int
    """The topic that the user turns to at that hour, and from at the opposite one."""
    main_topic: Int
    """Of the first taste."""


@dataclass(frozen=True)
class Items:
    """Item `n` has ID n + 1. Arrays have one row an item."""

    vector: Float
    """[items, dim], unit length."""
    topic: Int
    arrival_us: Int
    weight: Float
    """Popularity (Zipf)."""
    appeal: Float
    """What everyone likes about it."""


def make_topics(config: WorldConfig) -> Float:
    """Unit vectors [topics, dim] around which items gather."""
    return unit(generator(config, Stream.TOPICS).normal(size=(config.topics, config.dim)))


def make_users(config: WorldConfig, topics: Float) -> Users:
    """Draw the users."""
    rng = generator(config, Stream.USERS)
    n = config.users
    chosen = rng.integers(0, config.topics, (n, len(_MIXTURE)))
    taste = _taste(chosen, topics, rng)
    weights, hours = zip(*_PEAKS, strict=True)
    peak = rng.choice(hours, n, p=weights) + rng.normal(scale=1.5, size=n)
    return Users(
        taste=taste if config.tastes == 1 else _with_others(taste, chosen[:, 0], config, topics),
        arrival_us=_arrivals(config, rng, n, config.new_users),
        activity=rng.lognormal(sigma=0.8, size=n).astype(np.float32),
        peak_hour=(peak % 24).astype(np.float32),
        rhythm_topic=rng.integers(0, config.topics, n),
        main_topic=chosen[:, 0],
    )


def _taste(chosen: Int, topics: Float, rng: np.random.Generator) -> Float:
    """A taste [n, dim] for each row of topics, the main one first."""
    mixed = np.einsum("k,nkd->nd", np.array(_MIXTURE, np.float32), topics[chosen])
    return unit(mixed + _USER_SPREAD * unit(rng.normal(size=mixed.shape)))


def _with_others(first: Float, main: Int, config: WorldConfig, topics: Float) -> Float:
    """All tastes [n, tastes, dim] of users, no two around one main topic, from the first of each and its topic."""
    rng, n = generator(config, Stream.TASTES), config.users
    order = rng.random((n, config.topics))
    order[np.arange(n), main] = np.inf
    mains = np.argsort(order, axis=1)[:, : config.tastes - 1]
    chosen = rng.integers(0, config.topics, (config.tastes - 1, n, len(_MIXTURE)))
    chosen[:, :, 0] = mains.T
    return np.stack([first, *(_taste(topic, topics, rng) for topic in chosen)], axis=1)


def make_items(config: WorldConfig, topics: Float) -> Items:
    """Draw the items."""
    rng = generator(config, Stream.ITEMS)
    n = config.items
    topic = rng.integers(0, config.topics, n)
    # Every topic has an item from the start, so that there is always something to recommend.
    topic[: config.topics] = np.arange(config.topics)
    arrival = _arrivals(config, rng, n, config.new_items)
    arrival[: config.topics] = config.window.start_us
    rank = rng.permutation(n) + 1.0
    return Items(
        vector=unit(topics[topic] + _ITEM_SPREAD * unit(rng.normal(size=(n, config.dim)))),
        topic=topic,
        arrival_us=arrival,
        weight=(rank**-_ZIPF).astype(np.float32),
        appeal=rng.normal(size=n).astype(np.float32),
    )


def _arrivals(config: WorldConfig, rng: np.random.Generator, n: int, share: float) -> Int:
    """Moments of arrival [n]: the start, or for a share of them any hour after it."""
    start = config.window.start_us
    late = rng.random(n) < share
    hours = rng.integers(0, config.days * 24, n)
    arrivals: Int = start + np.where(late, hours * HOUR_US, 0)
    return arrivals
