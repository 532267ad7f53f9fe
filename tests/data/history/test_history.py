"""Histories and seen items as of each row equal what a plain loop over all interactions finds."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pagoda.data.history.histories import Histories
from pagoda.data.history.history_files import SavedHistories
from pagoda.data.history.history_state import HistoryState
from pagoda.data.history.id_slots import MISSING, Slots
from pagoda.data.history.seen_items import SeenState
from pagoda.errors import DataError

Stream = list[tuple[int, int, int, bool]]
"""Rows (user, item, timestamp, enters), ordered by timestamp."""

row = st.tuples(st.integers(-2, 3), st.integers(0, 9), st.integers(0, 12), st.booleans())
streams = st.lists(row, max_size=60).map(lambda rows: sorted(rows, key=lambda r: r[2]))


def naive(stream: Stream, length: int) -> list[list[tuple[int, int]]]:
    found = []
    for user, _, time, _ in stream:
        events = [(i, t) for u, i, t, enters in stream if u == user and t < time and enters]
        found.append(events[-length:])
    return found


def lists(histories: Histories) -> list[list[tuple[int, int]]]:
    items, times, mask, _ = histories.padded()
    return [list(zip(i[m].tolist(), t[m].tolist(), strict=True)) for i, t, m in zip(items, times, mask, strict=True)]


def columns(stream: Stream) -> tuple[NDArray[np.int64], ...]:
    array = np.array(stream, np.int64).reshape(-1, 4).T
    return array[0], array[1], array[2], array[3].astype(bool)


@given(streams, st.integers(1, 5), st.lists(st.integers(0, 60), max_size=4))
def test_advance_equals_a_loop_however_the_stream_is_cut(stream: Stream, length: int, cuts: list[int]) -> None:
    state, found = HistoryState(length), []
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    for start, end in pairwise(edges):
        found += lists(state.advance(*columns(stream[start:end])))
    assert found == naive(stream, length)


@given(streams, st.integers(1, 5), st.integers(0, 60))
def test_a_saved_state_goes_on_as_if_it_had_never_stopped(
    tmp_path_factory: pytest.TempPathFactory, stream: Stream, length: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("history") / "state"
    state = HistoryState(length)
    users, items, times, enters = columns(stream[:cut])
    state.push(users[enters], items[enters], times[enters])
    state.save(folder)
    found = lists(HistoryState.load(folder).advance(*columns(stream[cut:])))
    assert found == naive(stream, length)[cut:]


def told(histories: Histories) -> list[list[tuple[int, int]]]:
    """Items, and which event each was."""
    items, _, mask, kinds = histories.padded()
    assert kinds is not None
    return [list(zip(i[m].tolist(), k[m].tolist(), strict=True)) for i, k, m in zip(items, kinds, mask, strict=True)]


@given(streams, st.integers(1, 5), st.integers(0, 60))
def test_histories_say_which_event_each_was_wherever_the_stream_stops(
    tmp_path_factory: pytest.TempPathFactory, stream: Stream, length: int, cut: int
) -> None:
    """The event follows from the item here, so the item says what it must be."""
    folder = tmp_path_factory.mktemp("history") / "state"
    state, found, saves = HistoryState(length, kinds=True), [], 0
    for part in (stream[:cut], stream[cut:]):
        users, items, times, enters = columns(part)
        found += told(state.advance(users, items, times, enters, items % 3))
        saves += 1
        state.save(folder / str(saves))
        state = HistoryState.load(folder / str(saves)).without(np.array([99]))
    assert found == [[(item, item % 3) for item, _ in past] for past in naive(stream, length)]
    users = np.arange(-2, 4)
    last = np.full(len(users), 13)
    saved = SavedHistories(folder / str(saves)).of(users)
    assert saved.kinds is not None and saved.kinds.tolist() == (saved.items % 3).tolist()
    assert told(state.read(users, last)) == [
        [(item, item % 3) for item, _ in naive([*stream, (user, 0, 13, False)], length)[-1]] for user in users.tolist()
    ]


@given(streams, st.integers(1, 5), st.lists(st.tuples(st.integers(-2, 3), st.integers(12, 15)), max_size=8))
def test_read_equals_a_loop_and_changes_nothing(stream: Stream, length: int, asked: list[tuple[int, int]]) -> None:
    state = HistoryState(length)
    state.advance(*columns(stream))
    users, times = np.array(asked, np.int64).reshape(-1, 2).T
    expected = [naive([*stream, (u, 0, t, False)], length)[-1] for u, t in asked]
    assert lists(state.read(users, times)) == expected
    assert lists(state.read(users, times)) == expected


@given(streams, st.lists(st.tuples(st.integers(-2, 4), st.integers(-1, 15)), max_size=8))
def test_seen_items_equal_a_loop(stream: Stream, asked: list[tuple[int, int]]) -> None:
    users, items, times, _ = columns(stream)
    asked_users, asked_times = np.array(asked, np.int64).reshape(-1, 2).T
    state = SeenState(users=np.unique(asked_users))
    for part in np.array_split(np.arange(len(users)), 3):
        state.push(users[part], items[part], times[part])
    rows, seen = state.seen(asked_users, asked_times)
    for number, (user, time) in enumerate(asked):
        expected = sorted(i for u, i, t, _ in stream if u == user and t < time)
        assert sorted(seen[rows == number].tolist()) == expected


def test_disorder_is_refused_with_the_row_and_both_moments(tmp_path: Path) -> None:
    state = HistoryState(3)
    one = np.ones(2, np.int64)
    with pytest.raises(DataError, match=r"row 1 of the batch is of 1970-01-01T00:00:05.* after one of .*00:00:10"):
        state.advance(one, one, np.array([10_000_000, 5_000_000]))
    state.push(one, one, np.array([10, 10]))
    with pytest.raises(DataError, match="not in time order"):
        state.read(one[:1], np.array([9]))


@given(st.lists(st.lists(st.integers(-50, 50), max_size=10), max_size=5))
def test_slots_never_move(batches: list[list[int]]) -> None:
    slots = Slots()
    known: dict[int, int] = {}
    for batch in batches:
        ids = np.array(batch, np.int64)
        added = slots.add(ids)
        found = dict(zip(batch, slots.find(ids).tolist(), strict=True))
        assert {k: v for k, v in found.items() if k in known} == {k: known[k] for k in found if k in known}
        assert added == len(found.keys() - known.keys())
        known |= found
    assert sorted(known.values()) == list(range(len(slots)))
    assert {identity: slot for slot, identity in enumerate(slots.ids().tolist())} == known
    assert slots.find(np.array([99]))[0] == MISSING
