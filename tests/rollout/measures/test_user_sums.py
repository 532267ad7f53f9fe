"""Sums by user agree with a plain loop over time, however the rows are cut into batches."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.rollout.measures.base import UserSums
from pagoda.rollout.measures.outcomes import ROW, Flag, Rows
from pagoda.rollout.measures.user_sums import ATTRIBUTION_US, UserTable

SHOWN = int(Flag.ANSWERED)
KINDS = [
    SHOWN,
    SHOWN | Flag.CANARY,
    SHOWN | Flag.CANARY | Flag.SHORT,
    SHOWN | Flag.FALLBACK,
    int(Flag.FAILED),
    Flag.FAILED | Flag.CANARY,
    int(Flag.CLICK),
    int(Flag.CLICK),
]
steps = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(KINDS), st.integers(0, ATTRIBUTION_US)), max_size=60)


def make_rows(events: list[tuple[int, int, int]], start_us: int = 10**15) -> Rows:
    """Of (user, flags, time since the event before)."""
    times = start_us + np.cumsum([gap for _, _, gap in events])
    return np.array([(int(time), user, 1.0, flags) for time, (user, flags, _) in zip(times, events, strict=True)], ROW)


def by_hand(rows: Rows, shadow: bool) -> dict[str, tuple[UserSums, ...]]:
    """The same sums, one row after another."""
    sums: dict[int, dict[int, list[int]]] = {0: defaultdict(lambda: [0] * 5), 1: defaultdict(lambda: [0] * 5)}
    last: dict[int, tuple[int, int, bool]] = {}
    for time, user, _, flags in rows.tolist():
        arm = flags & Flag.CANARY
        if flags & Flag.CLICK and user in last and not last[user][2] and time - last[user][0] <= ATTRIBUTION_US:
            sums[last[user][1]][user][1] += 1
            last[user] = (*last[user][:2], True)
        if flags & Flag.ANSWERED:
            shown = not (shadow and arm)
            each = sums[arm][user]
            for column, counted in enumerate((shown, 0, 1, flags & Flag.SHORT > 0, flags & Flag.FALLBACK > 0)):
                each[column] += counted
            if shown:
                last[user] = (time, arm, False)
    found = {}
    for arm, users in sums.items():
        table = np.array(list(users.values()), np.int64).reshape(-1, 5).T
        pairs = ((0, 1), (2, 3), (2, 4))
        found[str(arm)] = tuple(UserSums.of(table[n], table[y]) for n, y in pairs)
    return found


@given(events=steps, cuts=st.lists(st.integers(0, 60), max_size=4), shadow=st.booleans(), seed=st.integers(0, 99))
def test_any_cut_into_batches_gives_the_sums_of_a_plain_loop(
    events: list[tuple[int, int, int]], cuts: list[int], shadow: bool, seed: int
) -> None:
    rows, table = make_rows([(user, flags, gap + 1) for user, flags, gap in events]), UserTable()
    for part in np.split(rows, sorted(min(cut, len(rows)) for cut in cuts)):
        table.add(np.random.default_rng(seed).permutation(part), shadow)
    assert {str(arm): table.sums(arm) for arm in (0, 1)} == by_hand(rows, shadow)


def test_too_many_users_are_stood_for_by_a_random_part() -> None:
    rng = np.random.default_rng(0)
    rows = np.zeros(40_000, ROW)
    rows["user"] = np.repeat(rng.integers(0, 2**64, 20_000, np.uint64), 2)
    rows["time_us"] = 10**15 + np.arange(len(rows))
    rows["flags"] = [SHOWN, Flag.CLICK] * 20_000
    rows["flags"][2::4] = SHOWN | Flag.CANARY
    table = UserTable(most_users=1_000)
    for part in np.array_split(rows, 10):
        table.add(part, shadow=False)
    clicks = [table.sums(arm)[0] for arm in (0, 1)]
    assert 500 <= sum(one.users for one in clicks) <= 1_000
    assert [one.y / one.n for one in clicks] == [1, 1]
    assert clicks[0].users == pytest.approx(clicks[1].users, rel=0.2)
