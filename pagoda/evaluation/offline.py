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
from pagoda.data.history.histories import Histories
from pagoda.data.window import Window
from pagoda.errors import NothingToAskError
from pagoda.evaluation.log_walk import Walk
from pagoda.evaluation.opened_towers import Int64Array, OpenedTowers
from pagoda.evaluation.positives import PositiveRows, Protocol, choose, read_rows
from pagoda.evaluation.ranking import DotScorer, ExcludedPairs, Ranks, Scorer, StaticScorer, rank


@dataclass(frozen=True)
class Questions:
    """The positives that are asked, and what every method may know of them."""

    rows: PositiveRows
    available: int
    """Positives of the window under the protocol; `rows` were drawn from them."""
    repeats: int
    """Positives drawn but not asked, because their user had the item before."""
    histories: dict[str, Histories]
    """Of each row: `live`, as of its moment, and where the dataset declares a history `frozen`, as of the start."""
    clicks: Int64Array
    """int64 [items]: positives on each item before the window."""
    targets: Int64Array
    """int64 [rows]: position of each row's item in the catalogue."""
    seen: ExcludedPairs
    """What was left out."""


@dataclass(frozen=True)
class Answers(Questions):
    """Where each method ranks the targets of the same rows."""

    ranks: dict[str, Ranks]
    """By method: `live`, `frozen` (with a history only), `popularity` and `random`."""
    known: NDArray[np.bool_]
    """bool [rows]: the version has an ID row of the user."""


def ask(dataset: Dataset, window: Window, *, protocol: Protocol, limit: int, seed: int) -> Questions:
    """Choose the positives of `window` to be answered, and gather what was known at the moment of each.

    Args:
        dataset: Holds the window's positives and everything before them.
        window: From when to when.
        protocol: Every positive, or the last of each user.
        limit: Most positives to answer; of more, this many are drawn under `seed`.
        seed: Of the draw.

    Raises:
        NothingToAskError: The window holds no positive that can be asked.
    """
    chosen, available = choose(dataset, window, protocol, limit, seed)
    rows = read_rows(dataset, window, chosen)
    walk = Walk(dataset, window, rows)
    targets = np.searchsorted(walk.catalogue, rows.items)
    seen, asked = _without_repeats(walk.seen(), targets)
    if not asked.any():
        raise NothingToAskError(
            f"{dataset.path}: every positive in window {window.key} is on an item its user had before"
        )
    return Questions(
        rows=rows.take(asked),
        available=available,
        repeats=int((~asked).sum()),
        histories={
            name: walk.histories[name].take(np.flatnonzero(asked))
            for name in ("live", "frozen")
            if name in walk.histories
        },
        clicks=walk.clicks,
        targets=targets[asked],
        seen=seen,
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

    Raises:
        NothingToAskError: The window holds no positive that can be asked.
    """
    questions = ask(dataset, window, protocol=protocol, limit=limit, seed=seed)
    rows, items = questions.rows, towers.item_vectors()
    # One call for all rows: towers read the users' profiles once, and bound their own memory.
    scorers: dict[str, Scorer] = {
        name: DotScorer(towers.user_vectors(rows.users, rows.times_us, histories, rows.context), items)
        for name, histories in questions.histories.items()
    }
    scorers["popularity"] = StaticScorer(questions.clicks.astype(np.float32), len(rows))
    scorers["random"] = StaticScorer(np.zeros(len(items), np.float32), len(rows))
    return Answers(
        **vars(questions),
        # What a random order shows is a matter of arithmetic, see `random_coverage`.
        ranks={
            name: rank(scorer, questions.targets, questions.seen, () if name == "random" else shown_at)
            for name, scorer in scorers.items()
        },
        known=towers.knows(rows.users),
    )


def _without_repeats(seen: ExcludedPairs, targets: Int64Array) -> tuple[ExcludedPairs, NDArray[np.bool_]]:
    """Drop rows whose target is left out: the pairs of the other rows, renumbered, and which rows stay, bool [rows]."""
    asked = np.ones(len(targets), np.bool_)
    asked[seen.rows[seen.items == targets[seen.rows]]] = False
    kept = asked[seen.rows]
    return ExcludedPairs((np.cumsum(asked) - 1)[seen.rows[kept]], seen.items[kept]), asked
