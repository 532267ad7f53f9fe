"""The world itself: the truth that a simulation knows and a real log hides."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pagoda.data.layout import DAY_US
from pagoda.data.window import Window
from pagoda.errors import DataError
from pagoda.simulation.config import WorldConfig, read_config
from pagoda.simulation.interests import Interests
from pagoda.simulation.population import Float, Int, Stream, generator, make_items, make_topics, make_users
from pagoda.simulation.recommender import Recommender, cosines, first_of_row
from pagoda.simulation.visits import VisitRequests, Visits

_BIAS = -4.5
_SLOPE = 6.0
_APPEAL = 0.3
"""Click probability: the logistic function of bias + slope · cosine(interest, item) + appeal · appeal of the item."""
_BLOCK = 1024
_PILOT = 4096
_ONE_TASTE = 2
"""Dimensions of the interests of users with one taste each."""


class Slates(NamedTuple):
    """Candidates of n requests, arrays [n, candidates]."""

    items: Int
    """Item numbers."""
    found: NDArray[np.bool_]
    """False where an item came twice."""
    shown: NDArray[np.bool_]
    """Shown; the other ones that were found were rejected by the ranker."""
    click_probability: Float


class World:
    """Rebuilds the same truth from the same settings; any moment can be asked for, in any order.

    IDs are int64; moments are int64 microseconds since the epoch, UTC.
    """

    def __init__(self, config: WorldConfig) -> None:
        self.config = config
        self.topics = make_topics(config)
        self.user_table = make_users(config, self.topics)
        self.item_table = make_items(config, self.topics)
        self._interests = Interests(config, self.user_table, self.topics)
        self._recommender = Recommender(config, self.item_table, self.topics)

    @classmethod
    def open(cls, path: Path) -> World:
        """The world that made the dataset folder `path`.

        Raises:
            DataError: The folder holds no `world.yaml`.
            ConfigError: The file is wrong.
        """
        return cls(read_config(path))

    @property
    def user_ids(self) -> Int:
        """All users' IDs, ascending."""
        return np.arange(1, self.config.users + 1)

    @property
    def item_ids(self) -> Int:
        """All items' IDs, ascending."""
        return np.arange(1, self.config.items + 1)

    def users_at(self, time_us: int) -> Int:
        """IDs of the users who have arrived by `time_us`, ascending."""
        return self.user_ids[self.user_table.arrival_us <= time_us]

    def items_at(self, time_us: int) -> Int:
        """IDs of the items that have arrived by `time_us`, ascending."""
        return self.item_ids[self.item_table.arrival_us <= time_us]

    def interests(self, user_ids: ArrayLike, times_us: ArrayLike) -> Float:
        """True interests float32 [n, dim], unit length, of users [n] at moments [n] or one moment.

        Where users have several tastes, [n, tastes, dim].
        """
        rows = _rows(user_ids, self.config.users, "user")
        return self._interests.at(rows, np.broadcast_to(np.asarray(times_us, np.int64), rows.shape))

    def preferences(self, user_ids: ArrayLike, item_ids: ArrayLike, times_us: ArrayLike) -> Float:
        """True probability float32 that a user who is shown an item clicks it.

        Args:
            user_ids: [n].
            item_ids: [n], or [n, k] for several items each.
            times_us: [n] or one moment.

        Raises:
            DataError: An ID is none of this world's.
        """
        items = _rows(item_ids, self.config.items, "item")
        interests = self.interests(user_ids, times_us)
        return self._click_probability(_affinity(interests, self.item_table.vector[items]), items)

    def true_top(self, user_ids: ArrayLike, time_us: int, k: int) -> Int:
        """The k items (IDs, int64 [n, k], best first) that each user would most probably click at `time_us`.

        Only items that have arrived; where there are fewer than k, all of them.
        """
        there = self.items_at(time_us) - 1
        interests = self.interests(user_ids, time_us)
        blocks = [self._top(interests[i : i + _BLOCK], there, k) for i in range(0, len(interests), _BLOCK)]
        return np.concatenate([*blocks, np.empty((0, min(k, len(there))), np.int64)])

    def requests(self, day: int) -> VisitRequests:
        """User IDs and moments of all requests of a day, counted from 0, in time order."""
        rows, times = self.visits.on(day)
        return VisitRequests(rows + 1, times)

    def active_users(self, window: Window) -> Int:
        """IDs of the users who make a request in `window`, ascending."""
        start = self.config.window.start_us
        days = range((window.start_us - start) // DAY_US, (window.end_us - 1 - start) // DAY_US + 1)
        active = [np.empty(0, np.int64)]
        for day in days:
            users, times = self.requests(day)
            active.append(users[(times >= window.start_us) & (times < window.end_us)])
        return np.unique(np.concatenate(active))

    def slates(self, rows: Int, times_us: Int, rng: np.random.Generator) -> Slates:
        """What the world's own recommender finds for users (numbers [n]) who come at about the same time, and shows."""
        interests = self._interests.at(rows, times_us)
        items = self._recommender.candidates(interests, int(times_us.min()), rng)
        affinity = _affinity(interests, self.item_table.vector[items])
        found = first_of_row(items)
        shown = self._recommender.rank(np.where(found, affinity, -np.inf), rng) & found
        return Slates(items, found, shown, self._click_probability(affinity, items))

    @cached_property
    def visits(self) -> Visits:
        """When users come: so often that the world's rows will be about `config.events`."""
        rng = generator(self.config, Stream.PILOT)
        rows = rng.integers(0, self.config.users, _PILOT)
        times = rng.integers(self.config.window.start_us, self.config.window.end_us, _PILOT)
        slates = self.slates(rows, times, rng)
        clicks = np.where(slates.shown, slates.click_probability, 0)
        # A click is liked with the probability that it had to happen.
        rows_a_request = (slates.found.sum() + clicks.sum() + (clicks**2).sum()) / _PILOT
        return Visits(self.config, self.user_table, self.config.events / float(rows_a_request))

    def _click_probability(self, affinity: Float, items: Int) -> Float:
        logits = _BIAS + _SLOPE * affinity + _APPEAL * self.item_table.appeal[items]
        probability: Float = (1 / (1 + np.exp(-logits))).astype(np.float32)
        return probability

    def _top(self, interests: Float, there: Int, k: int) -> Int:
        affinity = cosines(interests, self.item_table.vector[there])
        score = _SLOPE * affinity + _APPEAL * self.item_table.appeal[there]
        k = min(k, len(there))
        best = np.argpartition(-score, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(score, best, 1), axis=1, kind="stable")
        ids: Int = there[np.take_along_axis(best, order, 1)] + 1
        return ids


def _affinity(interests: Float, vectors: Float) -> Float:
    """Cosine of interests [n, dim] with item vectors [n, dim] or [n, k, dim]; of several tastes the nearest one's."""
    if interests.ndim > _ONE_TASTE:
        nearest: Float = np.einsum("ntd,n...d->tn...", interests, vectors).max(axis=0)
        return nearest
    cosine: Float = np.einsum("nd,n...d->n...", interests, vectors)
    return cosine


def _rows(ids: ArrayLike, count: int, what: str) -> Int:
    """Numbers of users or items from their IDs."""
    rows = np.asarray(ids, np.int64) - 1
    if ((rows < 0) | (rows >= count)).any():
        unknown = int(rows[(rows < 0) | (rows >= count)][0]) + 1
        raise DataError(f"{what} {unknown} is none of this world's; its {what}s are 1 to {count:,}")
    return rows
