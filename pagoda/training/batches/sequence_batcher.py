"""Batches of whole sequences: one pass of the user tower over each learns all of its positives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pagoda.model.user_inputs import Array, UserKeys
from pagoda.training.batches.batcher import Batcher, BatchPositives
from pagoda.training.examples.sequences import Int64Array, Sequences, sequences_of
from pagoda.training.examples.stream import Block

_SIMILAR = 4
"""Pieces whose lengths differ by less lie in one batch: a rectangle is as wide as its longest."""


class SequenceBatcher(Batcher):
    """Cuts blocks into batches of sequences, about as many positives in each."""

    @override
    def _parts(self, block: Block, size: int) -> Iterator[BatchPositives]:
        block, found = self._laid_out(block)
        order = np.lexsort((self._rng.random(len(found.lengths)), -(-found.lengths // _SIMILAR)))
        learned = np.cumsum(np.diff(found.first)[order])
        batches = np.split(order, np.flatnonzero(np.diff((learned - 1) // size)) + 1)
        for number in self._rng.permutation(len(batches)):
            places, piece = found.of(batches[number])
            kept = self._kept(block.items[found.rows[places]])
            places, piece = places[kept], piece[kept]
            rows, pieces = found.rows[places], batches[number]
            keys = block.moments.keys_along(rows, found.starts[pieces], found.lengths[pieces])
            yield self._part(rows, keys, found.seen[places], piece)

    def _laid_out(self, block: Block) -> tuple[Block, Sequences]:
        """A block whose histories are those of the pieces, and these."""
        return block, sequences_of(block)

    def _part(self, rows: Int64Array, keys: UserKeys[Array], seen: Int64Array, piece: Int64Array) -> BatchPositives:
        """A batch, given how many events of its piece each positive comes after."""
        return BatchPositives(rows, keys, after=self._places(seen - 1, piece, keys.history_items.shape[1]))

    def _places(self, column: Int64Array, piece: Int64Array, width: int) -> Tensor:
        """Events as piece x width + column; -1 where the column is, and where the history is hidden."""
        hidden = self._rng.random(len(column), np.float32) < self._dropout.history
        return torch.from_numpy(np.where((column >= 0) & ~hidden, piece * width + column, -1))
