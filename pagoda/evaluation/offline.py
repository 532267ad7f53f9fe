"""Offline evaluation: every later positive answered as of its own moment, by a version and by what it must beat.

The protocol, the same for every method: full ranking among all items of the dataset; the items that the user had as
positives strictly earlier are left out; a positive on such an item cannot be answered and is not asked. The history a
version sees ends strictly before the positive. Beside it stand the same version with histories frozen at the window's
start, the items' popularity before the window, and a random order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.errors import DataError
from pagoda.evaluation.ranking import DotScorer, Pairs, Ranks, Scorer, StaticScorer, rank
from pagoda.evaluation.rows import Protocol, Rows, choose, read_rows
from pagoda.evaluation.towers import Int64Array, Towers
from pagoda.evaluation.walk import Walk


@dataclass(frozen=True)
class Answers:
    """Where each method ranks the targets of the same rows."""

    rows: Rows
    """The positives that were asked."""
    available: int
    """Positives of the window under the protocol; `rows` were drawn from them."""
    repeats: int
    """Positives drawn but not asked, because their user had the item before."""
    ranks: dict[str, Ranks]
    """By method: `live`, `frozen` (with a history only), `popularity` and `random`."""
    clicks: Int64Array
    """int64 [items]: positives on each item before the window."""
    targets: Int64Array
    """int64 [rows]: position of each row's item in the catalogue."""
    seen: Pairs
    """What was left out."""
    known: NDArray[np.bool_]
    """bool [rows]: the version has an ID row of the user."""


def answer(
    towers: Towers,
    dataset: Dataset,
    window: Window,
    *,
    protocol: Protocol,
    limit: int,
    seed: int,
    shown_at: Sequence[int],
) -> Answers:
    """Rank the target of each chosen positive of `window` by every method.

    Args:
        towers: The version.
        dataset: Holds the window's positives and everything before them.
        window: Later than what the version was trained on.
        protocol: Every positive, or the last of each user.
        limit: Most positives to answer; of more, this many are drawn under `seed`.
        seed: Of the draw.
        shown_at: Values of k for which coverage is wanted.

    Raises:
        DataError: The window holds no positive that can be asked.
    """
    chosen, available = choose(dataset, window, protocol, limit, seed)
    rows = read_rows(dataset, window, chosen)
    walk = Walk(dataset, window, rows, towers)
    targets = np.searchsorted(walk.catalogue, rows.items)
    seen, asked = _without_repeats(walk.seen(), targets)
    if not asked.any():
        raise DataError(f"{dataset.path}: every positive in window {window.key} is on an item its user had before")
    rows, targets = rows.take(asked), targets[asked]
    items = towers.item_vectors()
    methods = [name for name in ("live", "frozen") if name in walk.vectors]
    scorers: dict[str, Scorer] = {name: DotScorer(walk.vectors[name][asked], items) for name in methods}
    scorers["popularity"] = StaticScorer(walk.clicks.astype(np.float32), len(rows))
    scorers["random"] = StaticScorer(np.zeros(len(items), np.float32), len(rows))
    return Answers(
        rows=rows,
        available=available,
        repeats=len(asked) - len(rows),
        # What a random order shows is a matter of arithmetic, see `random_coverage`.
        ranks={
            name: rank(scorer, targets, seen, () if name == "random" else shown_at) for name, scorer in scorers.items()
        },
        clicks=walk.clicks,
        targets=targets,
        seen=seen,
        known=towers.knows(rows.users),
    )


def _without_repeats(seen: Pairs, targets: Int64Array) -> tuple[Pairs, NDArray[np.bool_]]:
    """Drop rows whose target is left out: the pairs of the other rows, renumbered, and which rows stay, bool [rows]."""
    asked = np.ones(len(targets), np.bool_)
    asked[seen.rows[seen.items == targets[seen.rows]]] = False
    kept = asked[seen.rows]
    return Pairs((np.cumsum(asked) - 1)[seen.rows[kept]], seen.items[kept]), asked
