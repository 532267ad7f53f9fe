"""What a click weighs by what its receipt says: 1 / (θ · q), capped.

Two arms whose items stand in other places are not compared by their clicks: an item further down is seen by fewer. Nor
are they where one of them tries out items that it would not have chosen: it would be condemned for learning. So a click
weighs the inverse of the probability that its item was seen: θ, that the user looks so far down, times q, that the item
stood in the answer at all (its propensity). What was tried out counts for neither arm. The sum over an answer then
estimates what its own items are worth wherever they stand (Joachims, Swaminathan & Schnabel 2017, "Unbiased
learning-to-rank with biased feedback", whose θ is that of rank^-η; the cap: Ionides 2008, "Truncated importance
sampling").
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pagoda.rollout.measures.outcomes import Flag, OutcomeBatch, PlaceRows, Rows
from pagoda.rollout.online_gates import ClickWeights


def click_weights(places: PlaceRows, weights: ClickWeights) -> npt.NDArray[np.float64]:
    """What clicks weigh, float64 [n].

    Args:
        places: [n], where their items stood.
        weights: How much looking down and rarity count.

    Returns:
        In [1, cap]; 0 of a click that says no place, or whose item was tried out.
    """
    told = places["propensity"] > 0
    seen = (places["position"] + 1.0) ** -weights.examination * np.where(told, places["propensity"], 1.0)
    return np.where(told, np.minimum(1 / seen, weights.cap), 0.0)


def weighed_rows(batch: OutcomeBatch, weights: ClickWeights) -> Rows:
    """The batch's rows, where `ms` of a click is what it weighs: how long one took means nothing."""
    rows = batch.rows.copy()
    clicks = np.flatnonzero(rows["flags"] & Flag.CLICK)
    rows["ms"][clicks] = click_weights(batch.places, weights) if len(batch.places) else 0.0
    return rows
