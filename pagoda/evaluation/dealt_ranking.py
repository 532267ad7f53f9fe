"""Ranking by several methods at once, its rows dealt to processes: each ranks a slice of them by every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pagoda.evaluation.ranking import ExcludedPairs, Int64Array, Ranks, Scorer, rank, rows_at_once
from pagoda.processes.dealing import dealt, evenly
from pagoda.processes.shared import Shared

_BLOCKS = 64
"""Of scores, that a process ranks at least: seconds a method, which others need to be ready to help."""


@dataclass(frozen=True)
class Ranking:
    """What is asked: where several methods rank the targets of the same rows."""

    scorers: Mapping[str, Scorer]
    """By method; over the same items."""
    shown_at: Mapping[str, Sequence[int]]
    """As for `rank`, by method."""
    targets: Int64Array
    """int64 [rows]."""
    seen: ExcludedPairs

    def of(self, rows: slice) -> dict[str, Ranks]:
        """Those of some consecutive rows, by method."""
        return {
            name: rank(scorer, self.targets, self.seen, self.shown_at[name], rows)
            for name, scorer in self.scorers.items()
        }


def rank_all(asked: Ranking, processes: int = 1) -> dict[str, Ranks]:
    """The ranks of all rows, by method; by so many processes, where there is enough to do for them.

    Blocks of scores are those of one process, and so are the ranks. Each process maps the vectors and holds a block.

    Raises:
        UnavailableError: One of the processes was killed.
    """
    items = next(iter(asked.scorers.values())).items
    slices = evenly(len(asked.targets), _BLOCKS * rows_at_once(items), processes)
    if len(slices) == 1:
        return asked.of(slices[0])
    with TemporaryDirectory(prefix="pagoda-ranking-") as folder:
        work = partial(_rank, Shared.write(Path(folder), asked))
        found = list(dealt(work, slices, processes, "ranked held-out positives"))
    return {name: _joined([part[name] for part in found]) for name in asked.scorers}


def _rank(asked: Shared[Ranking], rows: slice) -> dict[str, Ranks]:
    return asked.open().of(rows)


def _joined(parts: Sequence[Ranks]) -> Ranks:
    """Of slices one after the other."""
    return Ranks(
        np.concatenate([part.above for part in parts]),
        np.concatenate([part.tied for part in parts]),
        {k: np.logical_or.reduce([part.shown[k] for part in parts]) for k in parts[0].shown},
    )
