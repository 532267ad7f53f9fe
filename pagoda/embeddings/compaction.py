"""Merging segments, so that a lookup never has many to search; what is merged away is left for its readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pagoda.data.window import Window
from pagoda.embeddings.array_files import BLOCK_ROWS
from pagoda.embeddings.mapped_rows import Rows
from pagoda.embeddings.segment import Segment, SegmentDescription, SegmentLineage, write_segment
from pagoda.embeddings.segment_chain import check_follows

RATIO = 2
"""A segment at rest has more than this many times the rows of the next newer one."""


def plan(rows: Sequence[int], ratio: int = RATIO) -> slice | None:
    """Choose neighbouring segments to merge, or None when all is well.

    Args:
        rows: Rows of each segment, newest first.
        ratio: How many times larger each older segment must be.

    Applied until it gives None, it leaves at most 1 + log_ratio(largest / smallest) segments; an equal delta is
    rewritten once for each doubling above it, so that the cost follows the deltas and never the base
    (size-tiered compaction, as in O'Neil et al. 1996, "The log-structured merge-tree").
    """
    for start in range(len(rows) - 1):
        if rows[start + 1] <= ratio * rows[start]:
            stop, total = start + 1, rows[start]
            while stop < len(rows) and rows[stop] <= ratio * total:
                total += rows[stop]
                stop += 1
            return slice(start, stop)
    return None


def merge(segments: Sequence[Segment], folder: Path) -> SegmentDescription:
    """Write one segment that gives every lookup what `segments`, neighbours and newest first, give together.

    The same segments always give the same files. In memory are their IDs, about 32 bytes each, and one block of rows.

    Raises:
        ConflictError: `folder` exists.
        IntegrityError: They do not follow one another.
    """
    descriptions = [segment.description for segment in segments]
    for newer, older in pairwise(descriptions):
        check_follows(newer, older)
    newest, oldest = descriptions[0], descriptions[-1]
    lineage = SegmentLineage(
        base_version=newest.base_version,
        base_checksum=newest.base_checksum,
        parent=oldest.parent,
        window=Window(start=min(d.window.start for d in descriptions), end=max(d.window.end for d in descriptions)),
        merged=tuple(checksum for description in descriptions for checksum in description.originals),
    )
    # Newest first and `unique` keeps the first of equals: the newest row wins.
    ids, origin = np.unique(np.concatenate([segment.ids for segment in segments]), return_index=True)
    return write_segment(folder, ids, _gather(segments, origin), newest.dim, lineage)


def _gather(segments: Sequence[Segment], origin: NDArray[np.int64]) -> Iterator[Rows]:
    """Yield blocks of the rows at `origin`, positions in the segments laid end to end."""
    ends = np.cumsum([len(segment) for segment in segments])
    for start in range(0, len(origin), BLOCK_ROWS):
        wanted = origin[start : start + BLOCK_ROWS]
        owner = ends.searchsorted(wanted, side="right")
        block = np.empty((len(wanted), segments[0].description.dim), np.float32)
        for number, segment in enumerate(segments):
            mine = owner == number
            block[mine] = segment.rows[wanted[mine] - (ends[number] - len(segment))]
        yield block
