"""Batches of whole sets: each positive is learned with all others that its user chose, whichever came first."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from pagoda.model.user_inputs import Array, UserKeys
from pagoda.training.batches.batcher import BatchPositives
from pagoda.training.batches.sequence_batcher import SequenceBatcher
from pagoda.training.examples.sequences import Int64Array, Sequences
from pagoda.training.examples.sets import sets_of
from pagoda.training.examples.stream import Block


class SetBatcher(SequenceBatcher):
    """Cuts blocks into batches of sets, about as many positives in each; no item of a set is a negative in it."""

    @override
    def _laid_out(self, block: Block) -> tuple[Block, Sequences]:
        return sets_of(block, self._catalogue.rows, self._rng)

    @override
    def _part(self, rows: Int64Array, keys: UserKeys[Array], seen: Int64Array, piece: Int64Array) -> BatchPositives:
        alone = keys.history_mask.sum(1)[piece] == 1
        own = self._places(np.where(alone, -1, seen), piece, keys.history_items.shape[1])
        return BatchPositives(rows, keys, own=own, sets=piece)
