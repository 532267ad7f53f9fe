"""Exact ranks among all items, seen ones masked: no sampled candidates, no luck.

Ties are kept as ties (how many items score above the target, how many equal it) and the metrics take their mean over
all orders of the tied. So constant scores are worth exactly as much as random ones, however the items are stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from pagoda.config.ensemble import CascadeShape
from pagoda.errors import IntegrityError

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
BLOCK_BYTES = 1 << 25
"""Of scores at once."""


class Scorer(Protocol):
    """Gives the scores of rows (users at moments) against all items."""

    items: int
    """Number of items."""

    def block(self, rows: slice) -> Float32Array:
        """Scores float32 [rows, items] of some rows; the caller may overwrite them."""


class DotScorer:
    """Scores by the inner product of user and item vectors, the cosine for unit vectors.

    Where users have several vectors, one for each interest, an item has the score of the nearest.
    """

    def __init__(self, user_vectors: Float32Array, item_vectors: Float32Array) -> None:
        """Take vectors float32 [rows, dim] or [rows, interests, dim], and [items, dim].

        Raises:
            IntegrityError: A vector is not finite; a rank among such scores would mean nothing.
        """
        for name, vectors in (("user", user_vectors), ("item", item_vectors)):
            if not np.isfinite(vectors).all():
                row = int(np.isfinite(vectors).reshape(len(vectors), -1).all(axis=1).argmin())
                raise IntegrityError(f"{name} vector {row} is not finite, so nothing can be ranked by it")
        self._users, self._items = user_vectors, item_vectors
        self.items = len(item_vectors)

    def block(self, rows: slice) -> Float32Array:
        """Scores float32 [rows, items] of some rows."""
        users = self._users[rows]
        if users.ndim == self._items.ndim:
            scores: Float32Array = users @ self._items.T
            return scores
        scores = users[:, 0] @ self._items.T
        for interest in range(1, users.shape[1]):
            np.maximum(scores, users[:, interest] @ self._items.T, out=scores)
        return scores


@dataclass(frozen=True)
class ExcludedPairs:
    """Items to leave out, as pairs (row, item position), int64 [m] each, ordered by row."""

    rows: Int64Array
    items: Int64Array

    def within(self, start: int, stop: int) -> tuple[Int64Array, Int64Array]:
        """The pairs of rows start to stop, rows counted from start."""
        first, last = np.searchsorted(self.rows, [start, stop])
        return self.rows[first:last] - start, self.items[first:last]


NOTHING_EXCLUDED = ExcludedPairs(*np.empty((2, 0), np.int64))


class CascadeScorer:
    """Scores of a cascade: by the second model for what the first one finds, and none for other items."""

    def __init__(
        self, user_vectors: Float32Array, item_vectors: Float32Array, cascade: CascadeShape, excluded: ExcludedPairs
    ) -> None:
        """Take vectors float32 [rows, dim] and [items, dim] of both models, end to end; `excluded` ones are not found.

        Raises:
            IntegrityError: A vector is not finite.
        """
        parts = (user_vectors, item_vectors)
        self._finding = DotScorer(*(vectors[:, : cascade.first] for vectors in parts))
        self._ordering = DotScorer(*(vectors[:, cascade.first :] for vectors in parts))
        self.items, self._rows, self._excluded = len(item_vectors), len(user_vectors), excluded
        self._candidates = min(cascade.candidates, self.items)

    def block(self, rows: slice) -> Float32Array:
        """Scores float32 [rows, items] of some rows, -inf for what is no candidate; ties for the last place all are."""
        found, scores = self._finding.block(rows), self._ordering.block(rows)
        start, stop, _ = rows.indices(self._rows)
        found[self._excluded.within(start, stop)] = -np.inf
        least, _ = torch.topk(torch.from_numpy(found), self._candidates, dim=1)
        scores[found < least[:, -1:].numpy()] = -np.inf
        return scores


class StaticScorer:
    """The same scores for everyone: popularity, or a constant, which stands for a random order."""

    def __init__(self, scores: NDArray[np.float32], rows: int) -> None:
        """Take scores float32 [items] for `rows` rows."""
        self._scores, self._rows = np.asarray(scores, np.float32), rows
        self.items = len(scores)

    def block(self, rows: slice) -> Float32Array:
        """Scores float32 [rows, items] of some rows."""
        return np.tile(self._scores, (len(range(*rows.indices(self._rows))), 1))


@dataclass(frozen=True)
class Ranks:
    """Where the target of each row stands among its candidates."""

    above: Int64Array
    """int64 [rows]: candidates that score higher than the target."""
    tied: Int64Array
    """int64 [rows]: candidates that score the same, the target included."""
    shown: dict[int, NDArray[np.bool_]]
    """For each k asked for: bool [items], the items that are among the top k of any row."""


def rank(
    scorer: Scorer,
    targets: Int64Array,
    seen: ExcludedPairs,
    shown_at: Sequence[int] = (),
    rows: slice = slice(None),
) -> Ranks:
    """Rank each row's target among all items but those it has seen.

    Args:
        scorer: Scores of rows against items.
        targets: int64 [rows], positions of the target items; one whose score is -inf comes after all items.
        seen: Items left out; never a row's own target.
        shown_at: Values of k for which to note what is shown.
        rows: Which rows to rank, consecutive ones; default: all.

    Memory follows a block of rows times the items, 32 MB or one row, not the number of rows.
    """
    first, last, _ = rows.indices(len(targets))
    above, tied = np.empty((2, last - first), np.int64)
    shown = {k: np.zeros(scorer.items, np.bool_) for k in shown_at}
    step = rows_at_once(scorer.items)
    for start in range(first, last, step):
        block = slice(start, min(start + step, last))
        scores = scorer.block(block)
        scores[seen.within(block.start, block.stop)] = -np.inf
        place = slice(block.start - first, block.stop - first)
        above[place], tied[place] = places_of(targets[block], scores)
        _note_shown(scores, shown)
    return Ranks(above, tied, shown)


def rows_at_once(items: int) -> int:
    """Rows that are scored against so many items at a time."""
    return max(1, BLOCK_BYTES // (4 * items))


def best(
    scorer: Scorer, rows: int, seen: ExcludedPairs, k: int
) -> Iterator[tuple[Int64Array, Int64Array, Float32Array]]:
    """Row, item and score of the best k items of each row, best first; memory follows a block of rows times items."""
    step = rows_at_once(scorer.items)
    for start in range(0, max(rows, 1), step):
        part = slice(start, min(start + step, rows))
        scores = scorer.block(part)
        scores[seen.within(part.start, part.stop)] = -np.inf
        values, places = torch.topk(torch.from_numpy(scores), min(k, scorer.items), dim=1)
        left = values > -torch.inf
        row = torch.arange(part.start, part.stop)[:, None].expand_as(places)
        yield row[left].numpy(), places[left].numpy(), values[left].numpy()


def places_of(targets: Int64Array, scores: Float32Array) -> tuple[Int64Array, Int64Array]:
    """How many of each row's scores float32 [n, items] are above that of its target, int64 [n], and how many equal it.

    What is no candidate of a cascade is not tied with what was seen, or with others that are none: it is after all.
    """
    target = scores[np.arange(len(scores)), targets, None]
    found = target[:, 0] > -np.inf
    above = np.where(found, (scores > target).sum(axis=1), scores.shape[1])
    return above, np.where(found, (scores == target).sum(axis=1), 1)


def _note_shown(scores: Float32Array, shown: dict[int, NDArray[np.bool_]]) -> None:
    """Mark the items among the top k of any row of `scores`, for each k, masked ones never."""
    if not shown:
        return
    # torch's selection is ten times as fast as numpy's, which would cost more than the scores themselves.
    values, best = torch.topk(torch.from_numpy(scores), min(max(shown), scores.shape[1]), dim=1)
    # Where fewer are left than asked for, masked ones fill up: show the row's first again instead.
    places = torch.where(values > -torch.inf, best, best[:, :1]).numpy()
    for k, items in shown.items():
        items[places[:, :k].ravel()] = True
