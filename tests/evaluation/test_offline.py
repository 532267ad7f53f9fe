"""Every positive is answered as of its own moment, with the same items left out for every method."""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.data.spec import Categorical, FeatureSpec, History
from pagoda.errors import DataError
from pagoda.evaluation.offline import Answers, answer
from pagoda.evaluation.positives import Protocol

from .worlds import HOUR, Event, NotingTowers, hours, write_dataset

ITEMS = 8
SPEC = FeatureSpec(history=History(length=3))
EVENTS = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.integers(100, 99 + ITEMS),
        st.integers(0, 50),
        st.sampled_from(["click", "click", "click", "impression"]),
    ),
    min_size=1,
    max_size=40,
).map(lambda events: sorted(events, key=lambda event: event[2]))


def run(path: Path, events: list[Event], protocol: Protocol = "each", limit: int = 100) -> tuple[Answers, NotingTowers]:
    towers = NotingTowers(ITEMS)
    dataset = write_dataset(path, events, ITEMS, SPEC)
    found = answer(towers, dataset, hours(25, 51), protocol=protocol, limit=limit, seed=0, shown_at=(1,))
    return found, towers


def earlier(events: list[Event], user: int, hour: int) -> list[int]:
    return [item for who, item, when, event in events if who == user and when < hour and event == "click"]


@settings(max_examples=40)
@given(events=EVENTS)
def test_each_positive_sees_exactly_what_came_strictly_before(events: list[Event]) -> None:
    window = [event for event in events if event[2] >= 25 and event[3] == "click"]
    fresh = [event for event in window if event[1] not in earlier(events, event[0], event[2])]
    with tempfile.TemporaryDirectory() as folder:
        if not fresh:
            with pytest.raises(DataError, match=r"evaluate|had before"):
                run(Path(folder) / "d", events)
            return
        found, towers = run(Path(folder) / "d", events)
    assert found.available == len(window)
    assert found.repeats == len(window) - len(fresh)
    asked_at = list(zip(found.rows.users.tolist(), found.rows.items.tolist(), found.rows.times_us // HOUR, strict=True))
    assert asked_at == [event[:3] for event in fresh]
    live, frozen = towers.asked[: len(fresh)], towers.asked[len(fresh) :]
    for event, then, now in zip(fresh, frozen, live, strict=True):
        past = earlier(events, event[0], event[2])
        assert now[:3] == (event[0], event[2], past[-3:])
        assert then[:3] == (event[0], event[2], [*earlier(events, event[0], min(event[2], 25))][-3:])
    seen = sorted(zip(found.seen.rows.tolist(), found.seen.items.tolist(), strict=True))
    expected = [(row, item - 100) for row, (who, _, when, _) in enumerate(fresh) for item in earlier(events, who, when)]
    assert seen == sorted(set(expected))
    clicks = [item - 100 for _, item, when, event in events if when < 25 and event == "click"]
    np.testing.assert_array_equal(found.clicks, np.bincount(clicks, minlength=ITEMS) if clicks else np.zeros(ITEMS))


def test_ranks_follow_the_vectors_and_popularity_the_clicks(tmp_path: Path) -> None:
    events = [(1, 101, 1, "click"), (2, 101, 2, "click"), (2, 102, 3, "click"), (3, 105, 30, "click")]
    found, _ = run(tmp_path / "d", events)
    # Without a history the vector points at item 0, so the target ties with the six others.
    assert (found.ranks["live"].above[0], found.ranks["live"].tied[0]) == (1, ITEMS - 1)
    assert (found.ranks["popularity"].above[0], found.ranks["popularity"].tied[0]) == (2, ITEMS - 2)
    assert (found.ranks["random"].above[0], found.ranks["random"].tied[0]) == (0, ITEMS)
    assert np.flatnonzero(found.ranks["popularity"].shown[1]).tolist() == [1]


def test_leave_one_out_asks_the_last_positive_of_each_user(tmp_path: Path) -> None:
    events = [
        (1, 101, 26, "click"),
        (2, 101, 27, "click"),
        (1, 102, 28, "click"),
        (2, 103, 29, "impression"),
        (1, 104, 60, "click"),
    ]
    found, towers = run(tmp_path / "d", events, "last")
    assert list(zip(found.rows.users, found.rows.items, strict=True)) == [(2, 101), (1, 102)]
    assert towers.asked[1][2] == [101]


def test_of_many_positives_a_seeded_few_are_drawn(tmp_path: Path) -> None:
    events = [(user, 100 + user % ITEMS, 30, "click") for user in range(50)]
    dataset = write_dataset(tmp_path / "d", events, ITEMS, SPEC)
    drawn = []
    for seed in (1, 1, 2):
        found = answer(NotingTowers(ITEMS), dataset, hours(25, 51), protocol="each", limit=10, seed=seed, shown_at=())
        assert (len(found.rows), found.available) == (10, 50)
        drawn.append(found.rows.users.tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_repeats_are_asked_when_asked_for_and_then_nothing_is_left_out(tmp_path: Path) -> None:
    events = [(1, 101, 1, "click"), (2, 102, 2, "click"), (1, 101, 30, "click"), (1, 103, 31, "click")]
    dataset = write_dataset(tmp_path / "d", events, ITEMS, SPEC)
    ask_all = partial(answer, dataset=dataset, window=hours(25, 51), protocol="each", limit=9, seed=0, shown_at=())
    found, masked = ask_all(NotingTowers(ITEMS), repeats=True), ask_all(NotingTowers(ITEMS))
    assert (found.rows.items.tolist(), found.repeats, len(found.seen.rows)) == ([101, 103], 0, 0)
    assert (masked.rows.items.tolist(), masked.repeats) == ([103], 1)
    # Both towers point at the last item, which is the answer where it may be shown.
    assert found.ranks["live"].above.tolist() == [0, 1]
    assert found.had.items.tolist() == [1, 1], "what goes with what a user had is known all the same"


def test_a_positive_on_an_item_that_is_gone_is_not_asked_but_counted(tmp_path: Path) -> None:
    events = [(1, 107, 1, "click"), (1, 100, 2, "click"), (2, 107, 30, "click"), (1, 101, 31, "click")]
    dataset = write_dataset(tmp_path / "d", events, ITEMS - 1, SPEC)
    found = answer(NotingTowers(ITEMS - 1), dataset, hours(25, 51), protocol="each", limit=9, seed=0, shown_at=())
    assert (found.rows.items.tolist(), found.gone, found.repeats) == ([101], 1, 0)
    assert found.clicks.sum() == 1 and found.seen.items.tolist() == [0]


def test_context_goes_with_its_row_and_no_history_means_none_is_frozen(tmp_path: Path) -> None:
    spec = FeatureSpec(history=None, features=(Categorical(name="device", tower="user", source="context"),))
    events = [(1, 101, 30, "click"), (1, 101, 31, "click"), (1, 102, 32, "click"), (2, 102, 33, "click")]
    dataset = write_dataset(tmp_path / "d", events, ITEMS, spec, device=["a", "b", "c", "d"])
    towers = NotingTowers(ITEMS)
    found = answer(towers, dataset, hours(25, 51), protocol="each", limit=9, seed=0, shown_at=())
    assert set(found.ranks) == {"live", "popularity", "random"}, "nobody had anything before, so nothing goes together"
    assert [asked[3] for asked in towers.asked] == [["a"], ["c"], ["d"]]
    assert all(asked[2] == [] for asked in towers.asked)
    assert found.rows.context.column("device").to_pylist() == ["a", "c", "d"]
