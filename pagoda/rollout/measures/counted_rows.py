"""Rows as sums by user take them: those of users' events say in `ms` what they count."""

from __future__ import annotations

import numpy as np

from pagoda.errors import IntegrityError
from pagoda.rollout.measures.click_weights import click_weights, weighed_rows
from pagoda.rollout.measures.outcomes import ROW, STREAM, Flag, OutcomeBatch, Rows
from pagoda.rollout.online_gates import OnlineGates

COUNTED = np.dtype([*ROW.descr, ("outcome", "u1")])
"""A row, and of an outcome which it is."""


def row_type(gates: OnlineGates) -> np.dtype[np.void]:
    """What `counted_rows` has the type of: where no outcome is named, rows are as they came."""
    return COUNTED if gates.outcomes else ROW


def counted_rows(batch: OutcomeBatch, gates: OnlineGates) -> Rows:
    """The batch's rows. `ms` of an outcome is its value in units of the most that one answer counts, weighed as clicks
    are; that of a click is what it weighs, where these gates weigh clicks or name outcomes.

    Raises:
        IntegrityError: An event is of an outcome that the gates do not name.
    """
    weights, outcomes = gates.weights, gates.outcomes
    rows = weighed_rows(batch, weights) if weights else batch.rows
    if not outcomes:
        return rows
    counted = np.zeros(len(rows), COUNTED)
    for name in ("time_us", "user", "ms", "flags"):
        counted[name] = rows[name]
    if weights is None:
        counted["ms"][rows["flags"] & Flag.CLICK > 0] = 1.0
    number = batch.responses["outcome"]
    if (number >= len(outcomes)).any():
        raise IntegrityError(f"stream {STREAM}: an entry has outcome {number.max()} of {len(outcomes)}")
    at = np.flatnonzero(rows["flags"] & Flag.OUTCOME)
    counted["outcome"][at] = number
    counted["ms"][at] /= np.array([outcome.cap or 1.0 for outcome in outcomes], np.float32)[number]
    if weights:
        counted["ms"][at] *= click_weights(batch.responses, weights)
    return counted
