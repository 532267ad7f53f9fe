"""From a version to a report."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pagoda.channels.mixture import OpenMixture
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.evaluation.baselines.item_baseline import MOST, BaselineLimits
from pagoda.evaluation.channels.asking import ask_mixture
from pagoda.evaluation.channels.estimates import mixture_figures
from pagoda.evaluation.channels.known_users import KnownUsers
from pagoda.evaluation.estimates import RECALL_AT, Estimates
from pagoda.evaluation.metrics import THIRDS, coverage, random_coverage, recall, thirds
from pagoda.evaluation.offline import Answers, answer
from pagoda.evaluation.opened_towers import OpenedTowers, scorer_of
from pagoda.evaluation.positives import Protocol
from pagoda.evaluation.relevance import Relevant
from pagoda.evaluation.report import Method, MixtureFigures, Report, Third, UnaskedReason, UnknownKind

CURVE_AT = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
MERGED_AT = (10, 50, 200)
ROWS = 20_000
"""Most positives asked: chance among rows is then within 0.007, and a million items take minutes."""


def evaluate(
    towers: OpenedTowers,
    dataset: Dataset,
    window: Window,
    *,
    version: str = "",
    protocol: Protocol = "each",
    limit: int = ROWS,
    seed: int = 0,
    repeats: bool = False,
    limits: BaselineLimits | None = MOST,
    mixture: OpenMixture | None = None,
    processes: int = 1,
) -> Report:
    """Evaluate a version on the positives of `window`; the protocol is that of `pagoda.evaluation.offline`.

    Args:
        towers: The version, opened for `dataset`.
        dataset: Holds the window's positives and everything before them.
        window: Later than what the version was trained on.
        version: A name for the report.
        protocol: Every positive, or the last of each user.
        limit: Most positives to ask.
        seed: Of the draw of positives and of the intervals.
        repeats: Ask also for items that the user had before, and leave none out.
        limits: What learning EASE or item-kNN may take. None: there is no such baseline.
        mixture: The version's channels, whose merged answers are asked, too. None: it has none.
        processes: How many rank the positives, to the same report; merged answers are this one's.

    Raises:
        NothingToAskError: The window holds no positive that can be asked.
        UnavailableError: One of several processes was killed.
    """
    answers = answer(
        towers,
        dataset,
        window,
        protocol=protocol,
        limit=limit,
        seed=seed,
        shown_at=RECALL_AT,
        repeats=repeats,
        limits=limits,
        processes=processes,
    )
    estimates = Estimates(answers, seed)
    curve_at = [k for k in CURVE_AT if k < len(answers.clicks)]
    return Report(
        version=version,
        window=window,
        protocol=protocol,
        seed=seed,
        rows=len(answers.rows),
        available=answers.available,
        repeats=answers.repeats,
        repeats_asked=repeats,
        unasked=_unasked(answers),
        unknown=_unknown(answers),
        users=len(np.unique(answers.rows.users)),
        items=len(answers.clicks),
        thirds=_thirds(answers.clicks),
        methods={
            name: Method(
                groups=estimates.groups(name),
                coverage=_coverage(name, answers),
                curve=[float(recall(ranks, k).mean()) for k in curve_at],
            )
            for name, ranks in answers.ranks.items()
        },
        curve_at=curve_at,
        lift=estimates.lift("popularity"),
        item_baseline=answers.baseline.name if answers.baseline else None,
        item_lift=estimates.lift(answers.baseline.name) if answers.baseline else {},
        mixture=_mixture(mixture, towers, dataset, answers, seed) if mixture else (),
    )


def _mixture(
    mixture: OpenMixture, towers: OpenedTowers, dataset: Dataset, answers: Answers, seed: int
) -> tuple[MixtureFigures, ...]:
    """Answers of all channels to the same rows, of each length that leaves anything out."""
    rows, histories = answers.rows, answers.histories["live"]
    vectors = towers.user_vectors(rows.users, rows.times_us, histories, rows.context)
    relevant, items = Relevant.single(answers.targets), len(answers.catalogue)
    found = ask_mixture(
        mixture,
        KnownUsers(dataset, rows, histories),
        scorer_of(towers, vectors, towers.item_vectors(), answers.seen),
        answers.catalogue,
        relevant=relevant,
        excluded=answers.seen,
        at=[k for k in MERGED_AT if k < items] or [items],
    )
    return tuple(mixture_figures(one, relevant, thirds(answers.clicks), rows.users, seed) for one in found)


def _unasked(answers: Answers) -> dict[UnaskedReason, int]:
    drawn = len(answers.rows) + answers.repeats + answers.gone
    found: dict[UnaskedReason, int] = {
        "seen_before": answers.repeats,
        "item_gone": answers.gone,
        "not_drawn": answers.available - drawn,
    }
    return {reason: count for reason, count in found.items() if count}


def _unknown(answers: Answers) -> dict[UnknownKind, int]:
    histories = answers.histories["live"]
    found: dict[UnknownKind, int] = {
        "new_item": int((answers.clicks[answers.targets] == 0).sum()),
        "new_user": int((~answers.known).sum()),
        "no_history": int((histories.ends == histories.starts).sum()) if histories.length else 0,
    }
    return {kind: count for kind, count in found.items() if count}


def _coverage(method: str, answers: Answers) -> dict[str, float]:
    if method == "random":
        items, rows = len(answers.clicks), len(answers.rows)
        return {f"coverage@{k}": random_coverage(k, items, answers.seen, rows) for k in RECALL_AT}
    return {f"coverage@{k}": coverage(shown) for k, shown in answers.ranks[method].shown.items()}


def _thirds(clicks: NDArray[np.int64]) -> dict[str, Third]:
    place = thirds(clicks)
    return {
        name: Third(items=int((place == number).sum()), clicks=int(clicks[place == number].sum()))
        for number, name in enumerate(THIRDS)
    }
