"""Batches of whole sequences: one pass of the user tower over each learns all of its positives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from typing_extensions import override

from pagoda.training.batches.batcher import Batcher, Past
from pagoda.training.examples.sequences import Int64Array, Sequences, sequences_of
from pagoda.training.examples.stream import Block

_SIMILAR = 4
"""Pieces whose lengths differ by less lie in one batch: a rectangle is as wide as its longest."""
_US = 1e6


class SequenceBatcher(Batcher):
    """Cuts blocks into batches of sequences, about as many positives in each."""

    @override
    def _parts(self, block: Block, size: int) -> Iterator[tuple[Int64Array, Past]]:
        found = sequences_of(block)
        order = np.lexsort((self._rng.random(len(found.lengths)), -(-found.lengths // _SIMILAR)))
        learned = np.cumsum(np.diff(found.first)[order])
        batches = np.split(order, np.flatnonzero(np.diff((learned - 1) // size)) + 1)
        for number in self._rng.permutation(len(batches)):
            places, piece = found.of(batches[number])
            kept = self._kept(block.items[found.rows[places]])
            places, piece = places[kept], piece[kept]
            yield found.rows[places], self._along(block, found, batches[number], found.seen[places], piece)

    def _along(self, block: Block, found: Sequences, pieces: Int64Array, seen: Int64Array, piece: Int64Array) -> Past:
        """The sequences of a batch, and the event after which each positive comes, -1 before all."""
        lengths = found.lengths[pieces]
        width = max(int(lengths.max()), 1)
        mask = np.arange(width) < lengths[:, None]
        events = np.where(mask, found.starts[pieces][:, None] + np.arange(width), -1)
        # An event of nobody at the end, for the places without one.
        items, times_us = (np.append(array, 0)[events] for array in (block.histories.items, block.histories.times_us))
        newest = times_us[np.arange(len(pieces)), np.maximum(lengths - 1, 0)]
        age = np.where(mask, (newest[:, None] - times_us) / _US, 0.0)
        hidden = self._rng.random(len(seen), np.float32) < self._dropout.history
        after = np.where((seen > 0) & ~hidden, piece * width + seen - 1, -1)
        return Past(items, mask, age, after)
