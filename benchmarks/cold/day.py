"""A day of a world that a version answers: what it shows decides what is clicked, and so what it shows next."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from pagoda.channels.base import Allowed, BoolArray, Float32Array, Int64Array, Known
from pagoda.channels.explore import ExploreTable
from pagoda.channels.factory import TABLES
from pagoda.channels.merging import EXPLORE, FILLER, apart, looked_at, merged, shares_of, spread
from pagoda.channels.mixture import open_mixture
from pagoda.data.dataset import Dataset
from pagoda.data.history.history_state import HistoryState
from pagoda.data.window import Window
from pagoda.model.table_inputs import histories_at
from pagoda.simulation import World
from pagoda.simulation.visits import VisitRequests
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from serving.recall.api import RecalledItem
from serving.recall.channels.exploration import ChoiceAsk, NearAsk, NewItems

K = 20
"""Items of an answer; users look at all of them."""
_TOLD_US = 300_000_000
"""Clicks are known to the next answers after so long at most; serving takes seconds."""
_NONE = np.empty(0, np.int64)


class Lived(NamedTuple):
    """What was shown in a day, and what became of it."""

    users: Int64Array
    """Who asked, by request, int64 [n]."""
    expected: NDArray[np.float64]
    """Clicks that the world expects on what each request was shown, float64 [n]."""
    clicks: Int64Array
    """On each item of the world, int64 [items]."""


class ActedDay:
    """A version that answers once its window has ended: it learns histories and what is new, and no parameters."""

    def __init__(self, world: World, files: FullVersionFiles, dataset: Dataset, known: Window) -> None:
        """Open `files`, which learned up to the end of `known`, over all items of `dataset`, those yet to come too."""
        self._world, self._towers = world, OpenVersion(files, dataset)
        self._items = self._towers.item_vectors()
        self._mixture = open_mixture(files.folder / TABLES, files.config.channels, files.config.merging)
        self._histories = cast("HistoryState", histories_at(dataset, known.end, None, None))  # A world declares them.
        self._had = np.zeros((world.config.users, world.config.items), np.bool_)
        for batch in dataset.batches(known, events=dataset.spec.positives, columns=["user_id", "item_id"]):
            self._had[batch.column(0).to_numpy() - 1, batch.column(1).to_numpy() - 1] = True
        table = self._mixture.tables.get(EXPLORE)
        self._new: NewItems | None = None
        self._counts = np.empty((2, 0), np.int64)
        if isinstance(table, ExploreTable):
            self._new = NewItems(table, table.items.tolist(), self._items[table.items - 1])
            self._counts = np.array(table.counts)

    def live(self, requests: VisitRequests, seed: int) -> Lived:
        """Answer users (by ID) in time order, who click by what they truly prefer.

        Chance is of the seed, the user's request and the item: who is shown the same on two days does the same.
        """
        clicks, expected = np.zeros(len(self._world.item_ids), np.int64), np.zeros(len(requests.users))
        bounds = np.flatnonzero(np.diff(requests.times_us // _TOLD_US)) + 1
        for start, end in pairwise([0, *bounds.tolist(), len(requests.users)]):
            users, times_us = requests.users[start:end], requests.times_us[start:end]
            shown = self._answers(users, times_us, np.random.default_rng([seed, 0, start]))
            wanted = self._world.preferences(users, shown, times_us)
            luck = np.random.default_rng([seed, 1, start]).random((len(users), len(clicks)), np.float32)
            clicked = np.take_along_axis(luck, shown - 1, 1) < wanted
            expected[start:end] = wanted.sum(axis=1)
            clicks += np.bincount(shown[clicked] - 1, minlength=len(clicks))
            self._learn(users, times_us, shown, clicked)
        return Lived(requests.users, expected, clicks)

    def _answers(self, users: Int64Array, times_us: Int64Array, rng: np.random.Generator) -> Int64Array:
        """Items of each answer, int64 [n, K]."""
        vectors = self._towers.user_vectors(users, times_us, self._histories.read(users, times_us))
        there = (self._world.item_table.arrival_us <= times_us[:, None]) & ~self._had[users - 1]
        scores = np.where(there, vectors @ self._items.T, -np.inf)
        # What the others' places need where channels have the same items.
        nearest = np.argsort(-scores, axis=1)[:, : 2 * K] + 1
        seeds = rng.integers(1 << 62, size=len(users))
        return np.array(
            [
                self._answer(int(times_us[row]), vectors[row], nearest[row], there[row], int(seeds[row]))
                for row in range(len(users))
            ]
        )

    def _answer(
        self, moment_us: int, vector: Float32Array, nearest: Int64Array, there: BoolArray, seed: int
    ) -> list[int]:
        """As recall merges them; no channel that is declared here looks at a user's past."""
        allowed: Allowed = lambda ids: there[ids - 1]  # noqa: E731
        known = Known(_NONE, np.empty(0, np.float32), moment_us)
        lists = {FILLER: nearest.tolist(), **self._mixture.candidates(known, allowed, K)}
        kind = self._mixture.merging.kind
        shares, explored = apart(shares_of(self._mixture.channels, self._mixture.merging, 0), EXPLORE)
        items: list[RecalledItem] = [
            {"item_id": one.item, "score": one.weight}
            for one in merged(looked_at(lists, shares, kind, K), shares, kind, K)
        ]
        if self._new is not None:
            shown = {one["item_id"] for one in items}
            (near,) = self._new.near([NearAsk(vector[None], allowed, K)])
            (new,) = self._new.chosen([ChoiceAsk(near, shown, explored * K, seed)])
            items = spread(items, new, K)
        return [int(one["item_id"]) for one in items]

    def _learn(self, users: Int64Array, times_us: Int64Array, shown: Int64Array, clicked: BoolArray) -> None:
        rows, places = np.nonzero(clicked)
        items = shown[rows, places]
        self._histories.push(users[rows], items, times_us[rows])
        self._had[users[rows] - 1, items - 1] = True
        if self._new is not None:
            number = len(self._world.item_ids) + 1
            told = [np.bincount(ids, minlength=number)[self._new.table.items] for ids in (shown.ravel(), items)]
            self._counts += np.stack(told)
            self._new.take_in(self._counts)
