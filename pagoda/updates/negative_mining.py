"""Mining hard negatives: what a version's own search finds for each user at ranks that are near, yet not shown.

The best ranks are left out: much of what is found there the user would choose, had they seen it (Huang et al., KDD
2020, section 6.1, where ranks 101 to 500 were best).
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.config.ensemble import CascadeShape
from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories
from pagoda.data.history.history_state import HistoryState
from pagoda.data.history.seen_items import SeenState
from pagoda.data.window import Window, to_us
from pagoda.errors import ConfigError, DataError
from pagoda.index.base import MOST_FOUND, Collections
from pagoda.item_vectors.exact_search import exact_top_k
from pagoda.model.table_inputs import histories_at, no_histories
from pagoda.training.negatives.mined_file import write_mined
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenTowers, OpenVersion

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
FIRST, LAST = 101, 500
_USERS = 512
"""Asked at a time."""
_ITEMS = 65_536
"""Compared at a time."""


class NearestItems(NamedTuple):
    """What queries found, the best first."""

    ids: Int64Array
    """int64 [q, m]; -1 fills up."""
    scores: Float32Array
    """float32 [q, m]; -inf fills up."""


class Search(Protocol):
    """Finds the items of the largest inner product."""

    def __call__(self, vectors: Float32Array, k: int) -> NearestItems:
        """What queries float32 [q, dim] find, at most k items each."""


class InMemorySearch:
    """Compares every query with every item; vectors float32 [i, dim] of items int64 [i] stay in memory."""

    def __init__(self, ids: Int64Array, vectors: Float32Array) -> None:
        self._ids, self._vectors = ids, vectors

    def __call__(self, vectors: Float32Array, k: int) -> NearestItems:
        """See `Search`."""
        starts = range(0, len(self._ids), _ITEMS)
        blocks = ((self._ids[at : at + _ITEMS], self._vectors[at : at + _ITEMS]) for at in starts)
        return NearestItems(*exact_top_k(vectors, blocks, k))


class CascadeSearch:
    """Orders by a cascade's second model what is found by its first."""

    def __init__(self, finding: Search, cascade: CascadeShape, ids: Int64Array, vectors: Float32Array) -> None:
        """Take a search by the first model, and vectors float32 [i, dim] of both, of items int64 [i], ascending."""
        self._finding, self._cascade = finding, cascade
        self._ids, self._vectors = ids, vectors[:, cascade.first :]

    def __call__(self, vectors: Float32Array, k: int) -> NearestItems:
        """See `Search`; at most the cascade's candidates."""
        first, second = np.split(vectors, [self._cascade.first], axis=1)
        ids = self._finding(first, self._cascade.candidates).ids
        places = np.searchsorted(self._ids, ids).clip(max=len(self._ids) - 1)
        known = self._ids[places] == ids
        # One after the other: the candidates' vectors of all at once would be gigabytes.
        products = [self._vectors[row] @ query for row, query in zip(places, second, strict=True)]
        scores = np.where(known, np.stack(products), -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.where(known, ids, -1)
        return NearestItems(np.take_along_axis(best, order, 1), np.take_along_axis(scores, order, 1))


class CollectionSearch:
    """Asks a collection, as serving does: what it finds is what users are shown."""

    def __init__(self, collections: Collections, name: str) -> None:
        self._collections, self._name = collections, name

    def __call__(self, vectors: Float32Array, k: int) -> NearestItems:
        """See `Search`."""
        k = min(k, MOST_FOUND)
        hits = self._collections.search(self._name, vectors, k, effort=2 * k)
        shape = len(vectors), max(len(hit.ids) for hit in hits)
        found = NearestItems(np.full(shape, -1), np.full(shape, -np.inf, np.float32))
        for row, hit in enumerate(hits):
            found.ids[row, : len(hit.ids)], found.scores[row, : len(hit.ids)] = hit.ids, hit.scores
        return found


def mine(
    dataset: Dataset,
    files: FullVersionFiles,
    out: Path,
    *,
    search: Search | None = None,
    moment: datetime | None = None,
    ranks: tuple[int, int] = (FIRST, LAST),
) -> int:
    """Write what a version finds for each of its users, by rank among the items that they have not had.

    Args:
        dataset: Has what users did up to `moment`.
        files: The version.
        out: A new Parquet file: user_id, item_id (int64 as inside), rank.
        search: How to search; None: exactly.
        moment: As of when; None: the end of the version's window.
        ranks: The first and the last one to write, counted from 1.

    Returns:
        The number of rows. Memory follows the distinct interactions, as for an evaluation.

    Raises:
        ConfigError: The ranks are none, or `out` exists.
        DataError: The version knows none of the users, or there are too few items for these ranks.
    """
    if not 1 <= ranks[0] <= ranks[1]:
        raise ConfigError(f"--ranks {ranks[0]}-{ranks[1]}: expected FIRST-LAST, counted from 1")
    if out.exists():
        raise ConfigError(f"{out}: exists already")
    towers, until = OpenVersion(files, dataset), moment or files.lineage.window.end
    seen, state = SeenState(), _histories(dataset, files, until)
    users = _past(dataset, until, seen)
    users = users[towers.knows(users)]
    if not len(users):
        raise DataError(f"{dataset.path}: no user of the version has a positive before {until.isoformat()}")
    catalogue = dataset.items().column("item_id").to_numpy()
    asking = _Asking(towers, _Had(seen, catalogue, to_us(until)), state, _search(towers, catalogue, search), ranks)
    aside = out.with_name(f".{out.name}.part")
    try:
        rows = write_mined(aside, (asking.of(users[at : at + _USERS]) for at in range(0, len(users), _USERS)))
        if not rows:
            raise DataError(f"{dataset.path}: has no item at ranks {ranks[0]} to {ranks[1]} for any user")
        aside.rename(out)
    finally:
        aside.unlink(missing_ok=True)
    return rows


def _search(towers: OpenTowers, catalogue: Int64Array, given: Search | None) -> Search:
    """How a version's items are found; `given` finds the nearest vectors of those that a collection holds."""
    cascade = towers.cascade
    if given is not None and cascade is None:
        return given
    vectors = towers.item_vectors()
    if cascade is None:
        return InMemorySearch(catalogue, vectors)
    return CascadeSearch(given or InMemorySearch(catalogue, vectors[:, : cascade.first]), cascade, catalogue, vectors)


class _Had(NamedTuple):
    """What users had before a moment, of a catalogue int64 [i], ascending."""

    seen: SeenState
    catalogue: Int64Array
    until_us: int

    def among(self, users: Int64Array, found: Int64Array) -> NDArray[np.bool_]:
        """Which of the items found for each user, int64 [q, k], the user had."""
        rows, items = self.seen.seen(users, np.full(len(users), self.until_us))
        keys = [
            row * len(self.catalogue) + np.searchsorted(self.catalogue, item)
            for row, item in ((rows, items), (np.arange(len(found))[:, None], found))
        ]
        return np.isin(keys[1], keys[0])

    def most(self, users: Int64Array) -> int:
        """How many distinct items one of the users had at most, or somewhat more."""
        rows, _ = self.seen.seen(users, np.full(len(users), self.until_us))
        return min(int(np.bincount(rows, minlength=1).max()), len(self.catalogue))


class _Asking:
    def __init__(
        self, towers: OpenTowers, had: _Had, state: HistoryState | None, search: Search, ranks: tuple[int, int]
    ) -> None:
        self._towers, self._had, self._state, self._search, self._ranks = towers, had, state, search, ranks

    def of(self, users: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Users, items and ranks of what is found for `users`, int64 [m] each."""
        moments = np.full(len(users), self._had.until_us)
        histories: Histories = self._state.read(users, moments) if self._state else no_histories(len(users))
        first, last = self._ranks
        vectors = self._towers.user_vectors(users, moments, histories)
        # So many more than wanted that enough are left without those that the users had.
        found = self._found(vectors, last + self._had.most(users))
        new = (found >= 0) & ~self._had.among(users, found)
        rank = np.cumsum(new, 1)
        wanted = new & (rank >= first) & (rank <= last)
        row, column = np.nonzero(wanted)
        return users[row], found[row, column], rank[row, column].astype(np.int64)

    def _found(self, vectors: Float32Array, k: int) -> Int64Array:
        """IDs int64 [q, at most k] of what is best by any of a user's vectors, [q, dim] or [q, interests, dim]."""
        found = self._search(vectors.reshape(-1, vectors.shape[-1]), k)
        return found.ids if vectors.ndim == found.ids.ndim else _merged(found, len(vectors))[:, :k]


def _merged(found: NearestItems, users: int) -> Int64Array:
    """IDs int64 [users, m] of what all queries of each user found, each item once, where it scored best."""
    ids, scores = found.ids.reshape(users, -1), found.scores.reshape(users, -1)
    order = np.lexsort((-scores, ids), axis=1)
    ids, scores = np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)
    again = np.zeros(ids.shape, np.bool_)
    again[:, 1:] = ids[:, 1:] == ids[:, :-1]
    ids[again], scores[again] = -1, -np.inf
    return np.take_along_axis(ids, np.argsort(-scores, axis=1, kind="stable"), 1)


def _histories(dataset: Dataset, files: FullVersionFiles, until: datetime) -> HistoryState | None:
    """As of `until`, from the version's own as far as it has them."""
    end = files.lineage.window.end
    if until < end or not files.state.is_dir():
        return histories_at(dataset, until, None, None)
    return histories_at(dataset, until, files.history(), end)


def _past(dataset: Dataset, until: datetime, seen: SeenState) -> Int64Array:
    """Take in all positives before `until`, and return their users, ascending."""
    users = np.empty(0, np.int64)
    window = Window(start=dataset.span().start, end=until)
    columns = ["user_id", "item_id", "timestamp"]
    for batch in dataset.batches(window, events=dataset.spec.positives, columns=columns):
        ids, items = batch.column("user_id").to_numpy(), batch.column("item_id").to_numpy()
        seen.push(ids, items, batch.column("timestamp").cast(pa.int64()).to_numpy())
        users = np.union1d(users, ids)
    return users
