"""What a generation sees: a base under delta segments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pagoda.embeddings.mapped_rows import Ids, MappedRows, Rows
from pagoda.embeddings.segment import Segment
from pagoda.embeddings.table import IdTable


class Overlay:
    """Looks IDs up in the segments, newest first, then in the base, which says what stands for unknown ones."""

    def __init__(self, base: IdTable, segments: Sequence[Segment] = ()) -> None:
        self.base, self.segments = base, tuple(segments)

    @property
    def dim(self) -> int:
        """Length of a row."""
        return self.base.dim

    def lookup(self, ids: Ids) -> tuple[Rows, NDArray[np.bool_]]:
        """Return the rows float32 [n, dim] of `ids` int64 [n] and which of them are known, bool [n]."""
        if not self.segments:
            return self.base.lookup(ids)
        rows = np.empty((len(ids), self.dim), np.float32)
        places, wanted = np.arange(len(ids)), ids
        # Not oldest first with overwriting: that would fault in base pages of users whose rows lie in a segment.
        layers: tuple[MappedRows, ...] = (*self.segments, self.base)
        for layer in layers:
            positions, found = layer.find(wanted)
            hits = found.nonzero()[0]
            if len(hits):
                rows[places[hits]] = layer.rows.take(positions[hits], axis=0)
                rest = (~found).nonzero()[0]
                places, wanted = places[rest], wanted[rest]
                if not len(rest):
                    break
        rows[places] = self.base.unknown(wanted)
        known = np.ones(len(ids), np.bool_)
        known[places] = False
        return rows, known
