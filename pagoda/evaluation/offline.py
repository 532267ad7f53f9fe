"""Offline evaluation: every later positive answered as of its own moment, by a version and by what it must beat.

The protocol, the same for every method: full ranking among all items of the dataset; the items that the user had as
positives strictly earlier are left out, and a positive on such an item cannot be answered and is not asked, unless
repeats are asked for: then nothing is left out. The history a version sees ends strictly before the positive. Beside it
stand the same version with histories frozen at the window's start, items that go with those that the user had, the
items' popularity before the window, and a random order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories
from pagoda.data.window import Window
from pagoda.errors import NothingToAskError
from pagoda.evaluation.baselines.item_baseline import (
    MOST,
    BaselineLimits,
    ItemBaseline,
    ItemBaselineScorer,
    learn_item_baseline,
)
from pagoda.evaluation.dealt_ranking import Ranking, rank_all
from pagoda.evaluation.log_walk import Walk
from pagoda.evaluation.opened_towers import Int64Array, OpenedTowers, scorer_of
from pagoda.evaluation.positives import PositiveRows, Protocol, choose, read_rows
from pagoda.evaluation.ranking import ExcludedPairs, Ranks, Scorer, StaticScorer


@dataclass(frozen=True)
class Questions:
    """The positives that are asked, and what every method may know of them."""

    rows: PositiveRows
    available: int
    """Positives of the window under the protocol; `rows` were drawn from them."""
    repeats: int
    """Positives drawn but not asked, because their user had the item before."""
    gone: int
    """Positives drawn but not asked, because the catalogue has their item no more."""
    histories: dict[str, Histories]
    """Of each row: `live`, as of its moment, and where the dataset declares a history `frozen`, as of the start."""
    clicks: Int64Array
    """int64 [items]: positives on each item before the window."""
    targets: Int64Array
    """int64 [rows]: position of each row's item in the catalogue."""
    catalogue: Int64Array
    """int64 [items]: their IDs, ascending."""
    seen: ExcludedPairs
    """What was left out."""
    had: ExcludedPairs
    """What each row's user had before: the same, unless repeats are asked."""


@dataclass(frozen=True)
class Answers(Questions):
    """Where each method ranks the targets of the same rows."""

    ranks: dict[str, Ranks]
    """By method: `live`, `frozen` (with a history only), `ease` or `item_knn` (where anybody had anything before),
    `popularity` and `random`."""
    baseline: ItemBaseline | None
    """What `ease` or `item_knn` was learned from."""
    known: NDArray[np.bool_]
    """bool [rows]: the version has an ID row of the user."""


def ask(
    dataset: Dataset, window: Window, *, protocol: Protocol, limit: int, seed: int, repeats: bool = False
) -> Questions:
    """Choose the positives of `window` to be answered, and gather what was known at the moment of each.

    Args:
        dataset: Holds the window's positives and everything before them.
        window: From when to when.
        protocol: Every positive, or the last of each user.
        limit: Most positives to answer; of more, this many are drawn under `seed`.
        seed: Of the draw.
        repeats: Ask also for items that the user had before, and leave none out.

    Raises:
        NothingToAskError: The window holds no positive that can be asked.
    """
    chosen, available = choose(dataset, window, protocol, limit, seed)
    rows = read_rows(dataset, window, chosen)
    walk = Walk(dataset, window, rows)
    targets, there = walk.places(rows.items)
    had = walk.seen()
    new = np.ones(len(rows), np.bool_)
    if not repeats:
        new[had.rows[had.items == targets[had.rows]]] = False
    asked = there & new
    if not asked.any():
        raise NothingToAskError(
            f"{dataset.path}: every positive in window {window.key} is on an item its user had before"
        )
    had = _of_rows(had, asked)
    return Questions(
        rows=rows.take(asked),
        available=available,
        repeats=int((there & ~new).sum()),
        gone=int((~there).sum()),
        histories={
            name: walk.histories[name].take(np.flatnonzero(asked))
            for name in ("live", "frozen")
            if name in walk.histories
        },
        clicks=walk.clicks,
        targets=targets[asked],
        catalogue=walk.catalogue,
        seen=_NOTHING if repeats else had,
        had=had,
    )


def answer(
    towers: OpenedTowers,
    dataset: Dataset,
    window: Window,
    *,
    protocol: Protocol,
    limit: int,
    seed: int,
    shown_at: Sequence[int],
    repeats: bool = False,
    limits: BaselineLimits | None = MOST,
    processes: int = 1,
) -> Answers:
    """Rank the target of each chosen positive of `window` by every method.

    Args:
        towers: The version.
        dataset: As for `ask`, like the other arguments that are not here.
        window: Later than what the version was trained on.
        protocol: See `ask`.
        limit: See `ask`.
        seed: See `ask`.
        shown_at: Values of k for which coverage is wanted.
        repeats: See `ask`.
        limits: What learning EASE or item-kNN may take. None: there is no such baseline.
        processes: How many rank the rows; see `rank_all`.

    Raises:
        NothingToAskError: The window holds no positive that can be asked.
        UnavailableError: One of several processes was killed.
    """
    questions = ask(dataset, window, protocol=protocol, limit=limit, seed=seed, repeats=repeats)
    rows, items = questions.rows, towers.item_vectors()
    # One call for all rows: towers read the users' profiles once, and bound their own memory.
    scorers: dict[str, Scorer] = {
        name: scorer_of(
            towers, towers.user_vectors(rows.users, rows.times_us, histories, rows.context), items, questions.seen
        )
        for name, histories in questions.histories.items()
    }
    baseline = None
    if limits is not None:
        baseline = learn_item_baseline(dataset, window, questions.catalogue, limits)
    if baseline is not None:
        scorers[baseline.name] = ItemBaselineScorer(baseline, questions.had, len(rows), questions.clicks)
    scorers["popularity"] = StaticScorer(questions.clicks.astype(np.float32), len(rows))
    scorers["random"] = StaticScorer(np.zeros(len(items), np.float32), len(rows))
    # What a random order shows is a matter of arithmetic, see `random_coverage`.
    shown = {name: () if name == "random" else shown_at for name in scorers}
    return Answers(
        **vars(questions),
        ranks=rank_all(Ranking(scorers, shown, questions.targets, questions.seen), processes),
        baseline=baseline,
        known=towers.knows(rows.users),
    )


_NOTHING = ExcludedPairs(np.empty(0, np.int64), np.empty(0, np.int64))


def _of_rows(pairs: ExcludedPairs, rows: NDArray[np.bool_]) -> ExcludedPairs:
    """The pairs of some of the rows, bool [rows], renumbered."""
    kept = rows[pairs.rows]
    return ExcludedPairs((np.cumsum(rows) - 1)[pairs.rows[kept]], pairs.items[kept])
