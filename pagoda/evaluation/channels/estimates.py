"""What all channels together are worth beside the towers, and each beside the others, with paired intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pagoda.channels.merging import FILLER
from pagoda.evaluation.bootstrap import interval, resample
from pagoda.evaluation.channels.asking import MERGED, BoolArray, Int64Array, MixtureFound
from pagoda.evaluation.metrics import THIRDS, Float64Array
from pagoda.evaluation.relevance import Relevant
from pagoda.evaluation.report import ChannelFigures, Estimate, MixtureFigures

_TAIL = THIRDS.index("tail")
GAIN, TAIL_GAIN, ADDS = "gain", "tail_gain", "adds "


def row_values(found: MixtureFound, relevant: Relevant, third: Int64Array) -> dict[str, Float64Array]:
    """What each row says, float64 [rows], NaN where it says nothing.

    Args:
        found: Of all rows.
        relevant: What each was to find.
        third: int64 [items], which third of popularity each item is of, see `pagoda.evaluation.metrics.thirds`.

    Returns:
        Recall of each list by its name, `GAIN` and `TAIL_GAIN` of `MERGED` over the towers, and by `ADDS` and a
        channel's name what the answer's recall loses without it.
    """
    all_of, tail = relevant.counts, third[relevant.items] == _TAIL
    tail_of = np.bincount(relevant.rows, weights=tail, minlength=len(all_of))
    values = {name: _recall(one, all_of, relevant) for name, one in found.found.items()}
    merged = values[MERGED]
    values[GAIN] = merged - values[FILLER]
    merged_tail, towers_tail = (_recall(found.found[name] & tail, tail_of, relevant) for name in (MERGED, FILLER))
    values[TAIL_GAIN] = merged_tail - towers_tail
    return values | {ADDS + kind: merged - _recall(rest, all_of, relevant) for kind, rest in found.without.items()}


def mixture_figures(
    found: MixtureFound, relevant: Relevant, third: Int64Array, users: Int64Array, seed: int
) -> MixtureFigures:
    """Figures of what was found, with 95 % intervals over users.

    Args:
        found: Of all rows.
        relevant: What each was to find.
        third: As for `row_values`.
        users: Whose each row is, int64 [rows].
        seed: Of the intervals.
    """
    estimates = _estimates(row_values(found, relevant, third), users, seed)
    return MixtureFigures(
        k=found.k,
        recall=estimates[MERGED],
        recall_two_tower=estimates[FILLER],
        gain=estimates[GAIN],
        tail_gain=estimates[TAIL_GAIN] if np.isfinite(estimates[TAIL_GAIN].value) else None,
        coverage=_coverage(found, MERGED),
        coverage_two_tower=_coverage(found, FILLER),
        channels={kind: _channel(found, kind, estimates, len(users)) for kind in found.kinds},
    )


def _channel(found: MixtureFound, kind: str, estimates: Mapping[str, Estimate], rows: int) -> ChannelFigures:
    candidates, items = int(found.shown[kind].sum()), int(found.shown[MERGED].sum())
    others = (other for other in found.kinds if other != kind)
    return ChannelFigures(
        recall=estimates[kind],
        adds=estimates[ADDS + kind],
        given=candidates / (rows * found.k),
        had=found.had[kind] / max(items, 1),
        overlap={other: found.shared[frozenset({kind, other})] / max(candidates, 1) for other in others},
        coverage=_coverage(found, kind),
    )


def _coverage(found: MixtureFound, name: str) -> float:
    return float((found.shown[name] > 0).mean())


def _recall(found: BoolArray, counts: NDArray[np.number], relevant: Relevant) -> Float64Array:
    """Items of each row that are `found`, bool [pairs], divided by its `counts` [rows]; NaN where that is 0."""
    hits = np.bincount(relevant.rows, weights=found, minlength=len(counts))
    recall: Float64Array = np.divide(hits, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return recall


def _estimates(values: Mapping[str, Float64Array], users: NDArray[np.int64], seed: int) -> dict[str, Estimate]:
    resampled = resample(np.stack(list(values.values()), axis=1), users, seed=seed)
    return {
        name: Estimate(value=float(resampled.means[place]), low=low, high=high)
        for place, name in enumerate(values)
        for low, high in [interval(resampled.samples[:, place])]
    }
