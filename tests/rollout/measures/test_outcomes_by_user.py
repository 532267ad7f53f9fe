"""What else users do is counted for the answers before it, each outcome by itself."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.rollout.measures.base import UserSums
from pagoda.rollout.measures.counted_rows import counted_rows
from pagoda.rollout.measures.mixture_sums import MixtureTable
from pagoda.rollout.measures.outcomes import PLACE, RESPONSE, ROW, Flag, OutcomeBatch
from pagoda.rollout.measures.user_sums import ATTRIBUTION_US, UserTable
from pagoda.rollout.online_gates import ClickGate, ClickWeights, OnlineGates, OutcomeGate

OUTCOMES = (OutcomeGate(event="purchase"), OutcomeGate(column="dwell_seconds", cap=64))
GATES = OnlineGates(outcomes=OUTCOMES)
ANSWERS = [int(Flag.ANSWERED), int(Flag.ANSWERED | Flag.CANARY), int(Flag.ANSWERED | Flag.CANARY | Flag.FAILED)]
Happening = tuple[int, int, int, int, float]
"""User, flags, time since the one before, outcome, value."""

answers = st.tuples(
    st.integers(0, 4), st.sampled_from(ANSWERS), st.integers(1, ATTRIBUTION_US), st.just(0), st.just(5.0)
)
clicks = st.tuples(
    st.integers(0, 4), st.just(int(Flag.CLICK)), st.integers(1, ATTRIBUTION_US), st.just(0), st.just(0.0)
)
# Halves of a power of two, so that sums are exact in whatever order.
events = st.tuples(
    st.integers(0, 4),
    st.just(int(Flag.OUTCOME)),
    st.integers(1, ATTRIBUTION_US),
    st.integers(0, 1),
    st.sampled_from([1.0, 8.0, 16.0, 32.0, 64.0]),
)
courses = st.lists(st.one_of(answers, clicks, events, events), max_size=50)


def batch_of(course: list[Happening], start_us: int) -> OutcomeBatch:
    """An entry of the stream that says so."""
    times = start_us + np.cumsum([gap for _, _, gap, _, _ in course])
    rows = [(int(time), user, value, flags) for time, (user, flags, _, _, value) in zip(times, course, strict=True)]
    said = [(outcome, 0, 0.0) for _, flags, _, outcome, _ in course if flags & Flag.OUTCOME]
    return OutcomeBatch("r1", 10, False, np.array(rows, ROW), responses=np.array(said, RESPONSE))


def by_hand(course: list[Happening]) -> dict[int, tuple[UserSums, ...]]:
    """One after another: an answer counts so much of each outcome, its cap at most."""
    counted: dict[tuple[int, int], list[list[float]]] = defaultdict(list)
    last: dict[int, tuple[int, list[float]]] = {}
    now = 0
    for user, flags, gap, outcome, value in course:
        now += gap
        if flags & Flag.ANSWERED:
            last[user] = now, [0.0] * len(OUTCOMES)
            counted[flags & Flag.CANARY, user].append(last[user][1])
        elif flags & Flag.OUTCOME and user in last and now - last[user][0] <= ATTRIBUTION_US:
            of = last[user][1]
            of[outcome] = min(1.0, of[outcome] + value / (OUTCOMES[outcome].cap or 1.0))
    found = {}
    for arm in (0, 1):
        users = [np.array(each) for (where, _), each in counted.items() if where == arm]
        n, y = [len(each) for each in users], np.array([each.sum(axis=0) for each in users]).reshape(-1, len(OUTCOMES))
        found[arm] = tuple(UserSums.of(n, column) for column in y.T)
    return found


@given(course=courses, cuts=st.lists(st.integers(0, 50), max_size=3))
def test_any_cut_into_looks_gives_the_sums_of_a_plain_loop(course: list[Happening], cuts: list[int]) -> None:
    rows = counted_rows(batch_of(course, 10**15), GATES)
    table, plain = UserTable(outcomes=len(OUTCOMES)), UserTable()
    for part in np.split(rows, sorted(min(cut, len(rows)) for cut in cuts)):
        table.add(part, shadow=False)
        plain.add(part[part["flags"] != Flag.OUTCOME], shadow=False)
    assert {arm: table.outcomes(arm) for arm in (0, 1)} == by_hand(course)
    # What is counted beside clicks changes nothing of them.
    assert [table.sums(arm) for arm in (0, 1)] == [plain.sums(arm) for arm in (0, 1)]


def test_what_an_event_counts_is_weighed_as_a_click_is() -> None:
    gates = OnlineGates(clicks=ClickGate(weights=ClickWeights(cap=10)), outcomes=OUTCOMES)
    rows = np.array([(1, 5, 0.0, Flag.ANSWERED), *((2, 5, one, Flag.OUTCOME) for one in (1.0, 1.0, 16.0))], ROW)
    said = np.array([(0, 3, 1.0), (0, 0, 0.0), (1, 1, 0.5)], RESPONSE)
    table = UserTable(cap=10, outcomes=2)
    table.add(counted_rows(OutcomeBatch("r1", 10, False, rows, responses=said), gates), shadow=False)
    purchases, dwell = table.outcomes(0)
    # At place 4, and one of which nothing is known; a quarter of the most, at place 2, shown every other time.
    assert (purchases.y, dwell.y) == (4.0, 0.25 * 2 * 2)


PART = st.sampled_from([0.0, 0.25, 0.5, 1.0])


@given(
    answers=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(ANSWERS), PART, PART), max_size=20),
    clicks=st.integers(0, 3),
    said=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9), PART), max_size=5),
)
def test_an_entry_is_read_as_it_was_written(
    answers: list[tuple[int, int, float, float]], clicks: int, said: list[tuple[int, int, float]]
) -> None:
    rows = [(1, user, 0.0, flags) for user, flags, _, _ in answers]
    rows += [(2, 1, 0.0, Flag.CLICK)] * clicks + [(3, 1, 7.0, Flag.OUTCOME)] * len(said)
    mixtures = [[(one, other), (other, one)] for _, flags, one, other in answers if not flags & Flag.FAILED]
    batch = OutcomeBatch(
        "r1",
        10,
        False,
        np.array(rows, ROW),
        np.zeros(clicks, PLACE),
        np.array(said, RESPONSE),
        ("popular", "two_tower"),
        np.array(mixtures, np.float16).reshape(-1, 2, 2),
    )
    sent = {name.encode(): one if isinstance(one, bytes) else str(one).encode() for name, one in batch.encode().items()}
    read = OutcomeBatch.decode(sent)
    assert read.channels == batch.channels and read.stage == batch.stage
    for name in ("rows", "responses", "mixtures"):
        assert np.array_equal(getattr(read, name), getattr(batch, name))


def test_what_channels_gave_is_summed_by_arm_and_of_answers_that_the_arm_gave_itself() -> None:
    flags = [ANSWERS[0], ANSWERS[1], ANSWERS[2], ANSWERS[1]]
    rows = np.array([(10, 7, 0.0, flag) for flag in flags], ROW)
    mixtures = np.array([[(0.25, 0.5)], [(0.5, 1.0)], [(0.25, 0.0)]], np.float16)
    batch = OutcomeBatch("r1", 10, False, rows, channels=("popular",), mixtures=mixtures)
    table = MixtureTable(("popular",))
    table.add(batch, since_us=10)
    table.add(batch, since_us=11)
    stable, canary = (table.sums(arm)["popular"] for arm in (0, 1))
    assert (stable.items.n, stable.items.y, stable.candidates.y) == (1, 0.25, 0.5)
    assert (canary.items.n, canary.items.y, canary.candidates.y) == (2, 0.75, 1.0)


def test_of_too_many_users_the_same_part_stands_for_all_in_both_arms() -> None:
    rng = np.random.default_rng(0)
    rows = np.zeros(20_000, ROW)
    rows["user"] = rng.integers(0, 2**64, len(rows), np.uint64)
    rows["flags"] = ANSWERS[:2] * (len(rows) // 2)
    table = MixtureTable(("popular",), most_users=1_000)
    for part in np.array_split(rows, 5):
        parts = np.full((len(part), 1, 2), 0.5, np.float16)
        table.add(OutcomeBatch("r1", 10, False, part, channels=("popular",), mixtures=parts), 0)
    items = [table.sums(arm)["popular"].items for arm in (0, 1)]
    assert 500 <= sum(one.users for one in items) <= 1_000
    assert [one.y / one.n for one in items] == [0.5, 0.5]
    assert items[0].users == pytest.approx(items[1].users, rel=0.2)
