"""Batches of whole sequences: one pass of the user tower over each learns all of its positives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pagoda.training.batches.batcher import Batcher, BatchPositives
from pagoda.training.examples.sequences import Int64Array, sequences_of
from pagoda.training.examples.stream import Block

_SIMILAR = 4
"""Pieces whose lengths differ by less lie in one batch: a rectangle is as wide as its longest."""


class SequenceBatcher(Batcher):
    """Cuts blocks into batches of sequences, about as many positives in each."""

    @override
    def _parts(self, block: Block, size: int) -> Iterator[BatchPositives]:
        found = sequences_of(block)
        order = np.lexsort((self._rng.random(len(found.lengths)), -(-found.lengths // _SIMILAR)))
        learned = np.cumsum(np.diff(found.first)[order])
        batches = np.split(order, np.flatnonzero(np.diff((learned - 1) // size)) + 1)
        for number in self._rng.permutation(len(batches)):
            places, piece = found.of(batches[number])
            kept = self._kept(block.items[found.rows[places]])
            places, piece = places[kept], piece[kept]
            rows, pieces = found.rows[places], batches[number]
            keys = block.moments.keys_along(rows, found.starts[pieces], found.lengths[pieces])
            yield BatchPositives(rows, keys, self._after(found.seen[places], piece, keys.history_items.shape[1]))

    def _after(self, seen: Int64Array, piece: Int64Array, width: int) -> Tensor:
        """The event after which each positive comes, as piece x width + column; -1 before all, and where hidden."""
        hidden = self._rng.random(len(seen), np.float32) < self._dropout.history
        return torch.from_numpy(np.where((seen > 0) & ~hidden, piece * width + seen - 1, -1))
