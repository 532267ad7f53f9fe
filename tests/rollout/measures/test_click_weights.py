"""Arms that show their items in other places, or try some out, are compared as if they did not, by all they do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.generations.arms import ARMS
from pagoda.rollout.gate_results import GateResult, Verdict
from pagoda.rollout.gates.online import judge_online
from pagoda.rollout.measures.base import ArmMeasure
from pagoda.rollout.measures.click_weights import click_weights, weighed_rows
from pagoda.rollout.measures.counted_rows import counted_rows
from pagoda.rollout.measures.outcomes import PLACE, RESPONSE, ROW, Flag, OutcomeBatch
from pagoda.rollout.measures.user_sums import UserTable
from pagoda.rollout.online_gates import ClickGate, ClickWeights, OnlineGates, OutcomeGate
from pagoda.rollout.policy import RolloutPolicy, Step

SHOWN, USERS, MINUTE_US = 5, 40_000, 60_000_000
WORTH = np.array([0.30, 0.26, 0.22, 0.18, 0.14])
"""How probably who sees an arm's own items clicks them, the first one first."""
TRIED_OUT = 0.03
"""The same for an item that is tried out, of which the arm knows nothing yet."""
EXPLORED = 0.4
"""Share of the canary's answers whose first place goes to such an item: it learns from its own traffic alone."""


def arm_of(rng: np.random.Generator, canary: bool, worth: float, explored: float) -> OutcomeBatch:
    """One answer to each user of an arm, and their clicks with what the receipts say. Each click is a purchase too.

    The user looks at place p with probability 1/p. An item that is tried out moves the others down, the last one out.
    """
    users = np.arange(USERS) + USERS * canary
    tries = rng.random(USERS) < explored
    place = np.arange(SHOWN) + tries[:, None]
    wants = np.where(place < SHOWN, WORTH * worth / (place + 1), 0.0)
    clicks = rng.random((USERS, SHOWN)) < wants
    user, item = np.nonzero(clicks)
    own = np.zeros(len(user), PLACE)
    own["position"], own["propensity"] = place[user, item], np.where(item == SHOWN - 1, 1 - explored, 1.0)
    curious = np.flatnonzero(tries & (rng.random(USERS) < TRIED_OUT))
    who = np.concatenate([users[user], users[curious]])
    rows = np.zeros(USERS + 2 * len(who), ROW)
    kinds = [USERS, len(who), len(who)]
    rows["time_us"] = MINUTE_US + np.repeat([0, 1, 1], kinds)
    rows["user"], rows["ms"] = np.concatenate([users, who, who]), np.repeat([0.0, 0.0, 1.0], kinds)
    rows["flags"] = np.repeat([Flag.ANSWERED | Flag.CANARY * canary, Flag.CLICK, Flag.OUTCOME], kinds)
    places = np.concatenate([own, np.zeros(len(curious), PLACE)])
    responses = np.zeros(len(who), RESPONSE)
    responses["position"], responses["propensity"] = places["position"], places["propensity"]
    return OutcomeBatch("r1", 50, False, rows, places, responses)


def judged(weights: ClickWeights | None, gate: str, worth: float = 1.0, explored: float = EXPLORED) -> GateResult:
    """What a gate says of a canary whose own items are worth so much of the stable arm's."""
    gates = OnlineGates(clicks=ClickGate(weights=weights), outcomes=(OutcomeGate(event="purchase"),))
    rng, table = np.random.default_rng(7), UserTable(cap=weights.cap if weights else None, outcomes=1)
    for canary, value, share in ((False, 1.0, 0.0), (True, worth, explored)):
        batch = OutcomeBatch.decode(
            {name.encode(): _sent(part) for name, part in arm_of(rng, canary, value, share).encode().items()}
        )
        table.add(counted_rows(batch, gates), shadow=False)
    measures = {
        arm: ArmMeasure(clicks=table.sums(number)[0], outcomes=table.outcomes(number))
        for number, arm in enumerate(ARMS)
    }
    results = judge_online(RolloutPolicy(online=gates), Step(percent=50), measures, None)
    return next(result for result in results if result.gate == gate)


def _sent(part: bytes | str | int) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode()


@pytest.mark.parametrize("gate", ["clicks", "purchase"])
def test_a_canary_that_tries_items_out_is_condemned_by_plain_events_and_not_by_weighed_ones(gate: str) -> None:
    naive, fair = judged(None, gate), judged(ClickWeights(), gate)
    assert naive.verdict is Verdict.FAILED
    assert naive.high is not None and naive.high < -0.1
    assert fair.verdict is Verdict.PASSED
    assert fair.low is not None and fair.high is not None and fair.low < 0 < fair.high
    assert abs(fair.value or 0.0) < 0.03


@pytest.mark.parametrize("gate", ["clicks", "purchase"])
def test_a_canary_whose_own_items_are_worse_is_condemned_all_the_same(gate: str) -> None:
    assert judged(ClickWeights(), gate, worth=0.8).verdict is Verdict.FAILED


@pytest.mark.parametrize("weights", [ClickWeights(), None])
def test_weighing_changes_no_verdict_where_nothing_differs(weights: ClickWeights | None) -> None:
    assert judged(weights, "clicks", explored=0.0).verdict is Verdict.PASSED


def test_clicks_without_a_receipt_do_not_count_where_clicks_are_weighed() -> None:
    rows = np.array([(1, 5, 0.0, Flag.ANSWERED), (2, 5, 9.0, Flag.CLICK)], ROW)
    weights = ClickWeights()
    table = UserTable(cap=weights.cap)
    table.add(weighed_rows(OutcomeBatch("r1", 10, False, rows), weights), shadow=False)
    assert (table.sums(0)[0].n, table.sums(0)[0].y) == (1, 0)


def test_what_an_answer_counts_is_capped_however_its_clicks_are_cut_into_looks() -> None:
    rows = np.array([(1, 5, 0.0, Flag.ANSWERED), *((2 + n, 5, 4.0, Flag.CLICK) for n in range(4))], ROW)
    for cut in range(1, len(rows) + 1):
        table = UserTable(cap=10.0)
        for part in (rows[:cut], rows[cut:]):
            table.add(part, shadow=False)
        assert table.sums(0)[0].y == 10.0


@given(
    position=st.integers(0, 1000),
    propensity=st.floats(2**-20, 1, width=32),
    examination=st.floats(0, 4),
    cap=st.floats(1, 100),
)
def test_a_weight_is_never_below_one_nor_above_its_cap(
    position: int, propensity: float, examination: float, cap: float
) -> None:
    places = np.array([(position, propensity), (position, 0.0)], PLACE)
    own, unknown = click_weights(places, ClickWeights(examination=examination, cap=cap))
    assert 1.0 - 1e-6 <= own <= cap
    assert unknown == 0.0
    exact = min(cap, (position + 1) ** examination / np.float32(propensity))
    assert own == pytest.approx(exact, rel=1e-6)


def test_an_entry_says_places_only_where_a_click_does() -> None:
    rows = np.array([(1, 5, 0.0, Flag.ANSWERED), (2, 5, 0.0, Flag.CLICK)], ROW)
    plain = OutcomeBatch("r1", 10, False, rows, np.zeros(1, PLACE)).encode()
    assert plain == OutcomeBatch("r1", 10, False, rows).encode() and "places" not in plain
    told = OutcomeBatch("r1", 10, False, rows, np.array([(3, 0.5)], PLACE)).encode()
    # The rows stay last: what trims the stream counts them.
    assert list(told)[-2:] == ["places", "rows"]
