"""The world's own recommender: popular items and a noisy guess at what the user wants, then a simple ranker."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pagoda.simulation.config import WorldConfig
from pagoda.simulation.population import Float, Int, Items

_POPULAR = 0.1
"""Share of candidates taken by popularity alone."""
_FOCUS = 5.0
"""How closely the other candidates' topics follow the user's interest."""
_RANKER_NOISE = 0.3


class Recommender:
    """Finds candidates among the items that have arrived."""

    def __init__(self, config: WorldConfig, items: Items, topics: Float) -> None:
        self._config = config
        self._items = items
        self._topics = topics
        # Items by topic, so that a topic's popularities are a range of one cumulative sum.
        self._by_topic = np.argsort(items.topic, kind="stable")
        self._first = np.searchsorted(items.topic[self._by_topic], np.arange(config.topics + 1))

    def candidates(self, interests: Float, time_us: int, rng: np.random.Generator) -> Int:
        """Item numbers [n, candidates] for users with `interests` (see `cosines`), of the items there are at `time_us`.

        An item may come twice in a row of the answer.
        """
        shape = (len(interests), self._config.candidates)
        there = self._items.arrival_us[self._by_topic] <= time_us
        total = np.concatenate([[0.0], np.cumsum(self._items.weight[self._by_topic] * there)])
        topic = self._choose_topics(interests, rng)
        begin, end = total[self._first[topic]], total[self._first[topic + 1]]
        popular = rng.random(shape) < _POPULAR
        begin[popular], end[popular] = 0, total[-1]
        # The last item whose cumulative weight does not exceed the drawn one: never one that has not arrived.
        drawn = begin + rng.random(shape) * (end - begin)
        place = np.searchsorted(total, drawn, side="right") - 1
        found: Int = self._by_topic[np.minimum(place, len(there) - 1)]
        return found

    def rank(self, affinity: Float, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Which candidates are shown, bool [n, candidates]: those that a noisy look at `affinity` puts first."""
        score = affinity + _RANKER_NOISE * rng.normal(size=affinity.shape).astype(np.float32)
        last = np.partition(score, -self._config.shown, axis=1)[:, [-self._config.shown]]
        chosen: NDArray[np.bool_] = score >= last
        return chosen

    def _choose_topics(self, interests: Float, rng: np.random.Generator) -> Int:
        """Topics [n, candidates], drawn with weight exp(focus · cosine of interest and topic)."""
        weights = np.exp(cosines(_FOCUS * interests, self._topics))
        bounds = np.cumsum(weights, axis=1)
        drawn = rng.random((len(interests), self._config.candidates), np.float32) * bounds[:, -1:]
        # One sorted array serves all rows: row n's bounds and draws are moved to [n, n + 1).
        rows = np.arange(len(interests))[:, None]
        flat = (bounds / bounds[:, -1:] + rows).ravel()
        place = np.searchsorted(flat, (drawn / bounds[:, -1:] + rows).ravel(), side="right")
        topics = place.reshape(drawn.shape) - rows * self._config.topics
        chosen: Int = np.minimum(topics, self._config.topics - 1)
        return chosen


def cosines(interests: Float, vectors: Float) -> Float:
    """Cosine [n, m] of interests [n, dim] with vectors [m, dim]; of several tastes [n, tastes, dim] the nearest's."""
    found: Float = interests @ vectors.T
    return found if interests.ndim == vectors.ndim else found.max(axis=1)


def first_of_row(items: Int) -> NDArray[np.bool_]:
    """Where an item of [n, k] is not already in its row, bool [n, k]."""
    first = np.ones(items.shape, bool)
    for column in range(1, items.shape[1]):
        first[:, column] = (items[:, :column] != items[:, column : column + 1]).all(axis=1)
    return first
