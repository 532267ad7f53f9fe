"""Recall@k and NDCG@k of ranked targets, AUC by user, and which items count as popular."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pagoda.evaluation.ranking import ExcludedPairs, Ranks

Float64Array = NDArray[np.float64]
Third = Literal["head", "middle", "tail"]
THIRDS: tuple[Third, ...] = get_args(Third)


def recall(ranks: Ranks, k: int) -> Float64Array:
    """Recall@k of each row, float64 [rows]: 1 if the row's one target is among the top k (the hit rate), else 0.

    For tied targets the mean over all orders of the tied: the share of their places that lie within k.
    """
    return np.clip((k - ranks.above) / ranks.tied, 0.0, 1.0)


def ndcg(ranks: Ranks, k: int) -> Float64Array:
    """NDCG@k of each row, float64 [rows]: 1 / log2(rank + 1) within the top k, else 0; the ideal is 1.

    With a single relevant item this is the whole of Järvelin & Kekäläinen 2002. Ties as for `recall`.
    """
    gains = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(1, k + 1) + 1))])
    first, last = np.minimum(ranks.above, k), np.minimum(ranks.above + ranks.tied, k)
    mean: Float64Array = (gains[last] - gains[first]) / ranks.tied
    return mean


def user_auc(scores: NDArray[np.floating], chosen: NDArray[np.bool_], users: NDArray[np.int64]) -> Float64Array:
    """AUC of each row's user, float64 [rows]; NaN for users of whom all rows are chosen, or none.

    The mean over rows is GAUC, in which a user counts by what they were shown (Zhou et al., KDD 2018, equation 9). A
    tie is half won.

    Args:
        scores: [rows]
        chosen: bool [rows]
        users: int64 [rows]
    """
    _, user = np.unique(users, return_inverse=True)
    order = np.lexsort((scores, user))
    # Of each row the mean place among equal ones, over all users; a user's own places begin where they do.
    new = np.ones(len(order), np.bool_)
    new[1:] = (user[order][1:] != user[order][:-1]) | (scores[order][1:] != scores[order][:-1])
    group = np.cumsum(new) - 1
    sizes = np.bincount(group)
    mean_place = np.empty(len(order))
    mean_place[order] = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    rows, positives = np.bincount(user), np.bincount(user, chosen)
    places = np.bincount(user, mean_place * chosen) - positives * (np.cumsum(rows) - rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = (places - positives * (positives + 1) / 2) / (positives * (rows - positives))
    of_rows: Float64Array = auc[user]
    return of_rows


def thirds(clicks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put items into popularity thirds by the clicks they had in training.

    Args:
        clicks: int64 [items].

    Returns:
        int64 [items], positions in `THIRDS`. The most clicked items that together hold a third of all clicks are the
        head, the next third of clicks the middle, the rest, and all items without a click, the tail. Thirds of clicks
        rather than of items, so that each third holds enough targets to say something.
    """
    order = np.argsort(-clicks, kind="stable")
    before = np.cumsum(clicks[order]) - clicks[order]
    place = np.empty(len(clicks), np.int64)
    place[order] = np.minimum(3 * before // max(int(clicks.sum()), 1), 2)
    place[clicks == 0] = 2
    return place


def coverage(shown: NDArray[np.bool_]) -> float:
    """Share of the items that are among the top k of any row, given as bool [items]."""
    return float(shown.mean())


def random_coverage(k: int, items: int, seen: ExcludedPairs, rows: int) -> float:
    """The coverage@k to expect of random orders: each row shows k of the items it has not seen, evenly."""
    candidates = items - np.bincount(seen.rows, minlength=rows)
    with np.errstate(divide="ignore"):
        missed = np.log1p(-np.minimum(k / np.maximum(candidates, 1), 1.0))
    # log P(item never shown): over all rows but those that have seen it. A row that shows all it can gives -inf.
    certain = np.isneginf(missed)
    finite = np.where(certain, 0.0, missed)
    log_never = finite.sum() - np.bincount(seen.items, weights=finite[seen.rows], minlength=items)
    surely = certain.sum() - np.bincount(seen.items, weights=certain[seen.rows], minlength=items)
    return float(np.where(surely > 0, 1.0, -np.expm1(log_never)).mean())
