"""Users' sequences of events, so that one pass over each gives its user's vector before every positive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pagoda.training.examples.stream import Block

Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class Sequences:
    """s pieces of what users did, and the n positives that follow events in them."""

    rows: Int64Array
    """int64 [n]: positives of the block, piece by piece."""
    first: Int64Array
    """int64 [s + 1]: where each piece's positives begin in `rows`, and where the last one's end."""
    seen: Int64Array
    """int64 [n]: how many events of its piece each of `rows` comes after."""
    starts: Int64Array
    """int64 [s]: each piece's first event among those of the block's histories."""
    lengths: Int64Array
    """int64 [s]: events of each piece, 0 where a user's only positives come before any event."""

    def of(self, pieces: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Places in `rows` of the positives of some pieces, int64 [m], and which of `pieces` is whose, int64 [m]."""
        counts = self.first[pieces + 1] - self.first[pieces]
        ends = np.cumsum(counts)
        places = np.arange(counts.sum()) + np.repeat(self.first[pieces] - (ends - counts), counts)
        return places, np.repeat(np.arange(len(pieces)), counts)


def sequences_of(block: Block) -> Sequences:
    """Lay out the users' sequences; a longer one than the histories are is cut into pieces from its end.

    So the last positives have as much before them as when serving; the first ones of an earlier piece have less.
    """
    histories = block.moments.histories
    length = max(histories.length, 1)
    rows = np.lexsort((histories.ends, block.moments.users))
    users, ends = block.moments.users[rows], histories.ends[rows]
    leads = np.concatenate([[True], users[1:] != users[:-1]])
    user = np.cumsum(leads) - 1
    begin = histories.starts[rows][leads]
    last = ends[np.concatenate([leads[1:], [True]])]
    piece = (last[user] - ends) // length
    opens = leads | np.concatenate([[True], piece[1:] != piece[:-1]])
    starts = np.maximum(begin[user], last[user] - (piece + 1) * length)
    first = np.append(np.flatnonzero(opens), len(rows))
    return Sequences(rows, first, ends - starts, starts[opens], ends[first[1:] - 1] - starts[opens])
