"""How probable each item is to be in a batch of an incremental update: by the base's counts, or as the stream shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pagoda.embeddings.sorted_ids import SortedIds
from pagoda.training.incremental.frozen_base import FrozenBase
from pagoda.training.negatives.frequencies import FrequencyEstimator
from pagoda.version_files.incremental import IncrementalFiles, chain_of

Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]
_BUCKETS_AN_ITEM = 8
_FEWEST_BUCKETS = 1 << 10


class CountedChances:
    """From the shares of items in what the base learned: what has become popular since is not known."""

    def __init__(self, shares: Float64Array) -> None:
        """Take the share of each item in positives, float64 [i]."""
        self._shares = shares

    def observe(self, positives: Int64Array) -> None:
        """Nothing is learned from a batch."""

    def held(self, candidates: Int64Array, size: int) -> Float64Array:
        """Probability float64 [m] that a batch of so many positives holds each candidate (places of items)."""
        held: Float64Array = 1 - (1 - self._shares[candidates]) ** size
        return held

    def learned(self) -> tuple[Int64Array, Float64Array]:
        """Nothing for the next update."""
        return np.empty(0, np.int64), np.empty(0)


class StreamedChances:
    """Estimated from the stream (Yi et al. 2019), beginning with what the chain below and the base know.

    What is kept for the next update are the items of this window alone.
    """

    def __init__(self, base: FrozenBase, parent: IncrementalFiles | None, items: Int64Array, size: int) -> None:
        """Begin.

        Args:
            base: The full version.
            parent: The incremental below.
            items: int64, places of the positives' items of the whole window.
            size: Positives in a batch.
        """
        self._ids = base.item_ids
        self._known = CountedChances(base.shares).held(np.arange(len(base.item_ids)), size)
        place = SortedIds(base.item_ids)
        for link in reversed(chain_of(parent)):
            position, found = place.find(link.frequency_items)
            self._known[position[found]] = link.frequencies[found]
        self._items = np.unique(items)
        self._estimator = FrequencyEstimator(max(_FEWEST_BUCKETS, _BUCKETS_AN_ITEM * len(self._items)))
        self._estimator.believe(self._items, self._known[self._items])

    def observe(self, positives: Int64Array) -> None:
        """Take in the items (places) of the next batch."""
        self._estimator.observe(np.unique(positives))

    def held(self, candidates: Int64Array, size: int) -> Float64Array:
        """Probability float64 [m] that a batch holds each candidate (places of items)."""
        del size  # The stream's batches are all alike, but for the last.
        held = self._known[candidates]
        ours = np.isin(candidates, self._items)
        held[ours] = self._estimator.probabilities(candidates[ours])
        return held

    def learned(self) -> tuple[Int64Array, Float64Array]:
        """IDs int64 [k] of the window's items, ascending, and their probabilities float64 [k]."""
        return self._ids[self._items], self._estimator.probabilities(self._items)


Chances = CountedChances | StreamedChances
