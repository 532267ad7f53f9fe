"""The simulated world: its truth, and that its log follows from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.data.checks.check import check_dataset
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.errors import ConfigError, ConflictError, DataError
from pagoda.simulation import Drift, World, WorldConfig, make_config, simulate
from pagoda.simulation.simulate import interactions

HOUR_US = 3_600_000_000
SMALL = WorldConfig(users=300, items=400, days=3, events=60_000, new_users=0.2, new_items=0.2)


@cache
def world(drift: Drift = Drift.DEFAULT) -> World:
    return World(SMALL.model_copy(update={"drift": drift}))


@cache
def log(drift: Drift = Drift.DEFAULT) -> pa.Table:
    return pa.Table.from_batches(interactions(world(drift)))


def of(event: str, table: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, items and moments of one event."""
    rows = table.filter(pa.compute.equal(table["event"], event))
    return rows["user_id"].to_numpy(), rows["item_id"].to_numpy(), rows["timestamp"].cast(pa.int64()).to_numpy()


def test_the_folder_is_a_sound_dataset_and_rebuilds_the_same_truth(tmp_path: Path) -> None:
    rows = simulate(SMALL, tmp_path / "w")
    checked = check_dataset(tmp_path / "w")
    assert checked.report.ok, checked.report.problems
    assert checked.rows == {"interactions": rows, "users": 300, "items": 400}
    assert pa.Table.from_batches(Dataset.open(tmp_path / "w").batches()).equals(log())
    users, items, times = of("click", log())
    again = World.open(tmp_path / "w")
    assert again.config == SMALL
    assert np.array_equal(again.preferences(users, items, times), world().preferences(users, items, times))
    with pytest.raises(ConflictError):
        simulate(SMALL, tmp_path / "w")


def test_another_seed_is_another_world() -> None:
    other = World(SMALL.model_copy(update={"seed": 1}))
    assert not pa.Table.from_batches(interactions(other)).equals(log())


def test_rows_are_about_as_many_as_asked_for_and_in_time_order() -> None:
    assert log().num_rows == pytest.approx(SMALL.events, rel=0.1)
    times = log()["timestamp"].cast(pa.int64()).to_numpy()
    assert (np.diff(times) >= 0).all()
    assert SMALL.window.start_us <= times[0]
    assert times[-1] < SMALL.window.end_us


@pytest.mark.parametrize("drift", list(Drift))
def test_clicks_and_likes_happen_with_the_true_probability(drift: Drift) -> None:
    shown = world(drift).preferences(*of("impression", log(drift)))
    clicked = world(drift).preferences(*of("click", log(drift)))
    for low, high in ((0, 0.05), (0.05, 0.2), (0.2, 0.4), (0.4, 1)):
        expected = shown[(shown >= low) & (shown < high)].astype(float)
        happened = ((clicked >= low) & (clicked < high)).sum()
        # Beside chance: a click counts at its own moment, and those of the last two minutes fall after the end.
        assert happened == pytest.approx(expected.sum(), abs=float(4 * np.sqrt((expected * (1 - expected)).sum()) + 20))
    assert len(of("like", log(drift))[0]) == pytest.approx(float((shown**2).sum()), rel=0.1)


def test_the_ranker_rejects_what_users_like_less() -> None:
    shown, rejected = (world().preferences(*of(event, log())).mean() for event in ("impression", "ranking_rejected"))
    assert shown > 1.5 * rejected
    assert 0.4 < len(of("ranking_rejected", log())[0]) / len(of("impression", log())[0]) < 0.7


def test_nobody_and_nothing_acts_before_it_arrives() -> None:
    users, items, times = (log()[name].to_numpy() for name in ("user_id", "item_id", "timestamp"))
    times = times.astype("datetime64[us]").astype(np.int64)
    assert (world().user_table.arrival_us[users - 1] <= times).all()
    assert (world().item_table.arrival_us[items - 1] <= times).all()
    first, last = (world().items_at(moment) for moment in (SMALL.window.start_us, SMALL.window.end_us))
    assert len(first) < 400 == len(last)
    assert len(world().users_at(SMALL.window.start_us)) < 300


def test_without_drift_preferences_stand_still() -> None:
    still = world(Drift.NONE)
    ids = still.user_ids
    at = [still.interests(ids, SMALL.window.start_us + hours * HOUR_US) for hours in (0, 5, 60)]
    assert np.array_equal(at[0], at[1])
    assert np.array_equal(at[0], at[2])


def test_the_stronger_the_drift_the_less_is_left_after_hours() -> None:
    start = SMALL.window.start_us + 24 * HOUR_US
    left = []
    for drift in Drift:
        moving = world(drift)
        before, after = (moving.interests(moving.user_ids, start + hours * HOUR_US) for hours in (0, 12))
        left.append(float((before * after).sum(axis=1).mean()))
    assert left[0] == pytest.approx(1)
    assert left == sorted(left, reverse=True)
    assert left[2] < 0.9
    moving = world(Drift.DEFAULT)
    soon = moving.interests(moving.user_ids, start + HOUR_US // 4)
    now = moving.interests(moving.user_ids, start)
    assert (soon * now).sum(axis=1).mean() > 0.95


def test_users_of_two_tastes_like_what_is_near_to_either_and_are_shown_it() -> None:
    both = World(SMALL.model_copy(update={"drift": Drift.NONE, "tastes": 2}))
    one, start = world(Drift.NONE), SMALL.window.start_us
    tastes = both.interests(both.user_ids, start)
    assert np.array_equal(tastes[:, 0], one.interests(one.user_ids, start)), "the second comes beside the first"
    near = np.einsum("utd,id->uti", tastes, both.item_table.vector)
    items = np.tile(both.item_ids, (300, 1))
    liked = both.preferences(both.user_ids, items, start)
    best = [np.log(p / (1 - p)) + 4.5 - 0.3 * both.item_table.appeal for p in liked]
    np.testing.assert_allclose(np.array(best) / 6, near.max(1), atol=1e-3)
    table = pa.Table.from_batches(interactions(both))
    users, clicked, _ = of("click", table)
    shown = both.preferences(*of("impression", table)).astype(float)
    assert len(clicked) == pytest.approx(shown.sum(), abs=float(4 * np.sqrt((shown * (1 - shown)).sum()) + 40))
    nearer = near[users - 1, :, clicked - 1].argmax(1)
    assert 0.4 < nearer.mean() < 0.6
    with pytest.raises(ConfigError, match="tastes 4 must not be more than topics 3"):
        make_config({"tastes": 4, "topics": 3})


def test_people_come_by_day_and_some_items_are_seen_far_more_than_others() -> None:
    _, items, times = of("impression", log())
    by_hour = np.bincount(times // HOUR_US % 24, minlength=24)
    assert by_hour.max() > 4 * by_hour.min()
    seen = np.sort(np.bincount(items, minlength=400))[::-1]
    assert seen[:40].sum() > 2.5 * seen[200:].sum() * 40 / 200


moments = st.lists(
    st.tuples(st.integers(1, 300), st.integers(1, 400), st.integers(-HOUR_US, 80 * HOUR_US)), min_size=1, max_size=20
)


@settings(max_examples=50)
@given(moments)
def test_truth_depends_on_user_item_and_moment_alone(asked: list[tuple[int, int, int]]) -> None:
    users, items, offsets = np.array(asked).T
    times = SMALL.window.start_us + offsets
    together = world().preferences(users, items, times)
    apart = [world().preferences([u], [i], t)[0] for u, i, t in zip(users, items, times, strict=True)]
    assert together == pytest.approx(np.array(apart), abs=1e-6)
    table = world().preferences(users, np.tile(items, (len(users), 1)), times)
    assert np.diagonal(table) == pytest.approx(together, abs=1e-6)
    assert ((together > 0) & (together < 1)).all()


@pytest.mark.parametrize("k", [1, 7, 1000])
def test_true_top_is_the_best_of_what_has_arrived(k: int) -> None:
    moment = SMALL.window.start_us + 30 * HOUR_US
    there = world().items_at(moment)
    top = world().true_top([3, 200], moment, k)
    assert top.shape == (2, min(k, len(there)))
    for user, found in zip([3, 200], top, strict=True):
        by_preference = world().preferences(np.full(len(there), user), there, moment)
        assert set(found) <= set(there)
        best = np.sort(by_preference)[::-1][: len(found)]
        assert world().preferences(np.full(len(found), user), found, moment) == pytest.approx(best, abs=1e-5)


def test_requests_are_the_moments_of_the_log() -> None:
    users, _, times = of("impression", log())
    logged = np.unique(np.stack([times, users]), axis=1)
    days = [world().requests(day) for day in (2, 0, 1)]
    asked = np.unique(np.concatenate([np.stack([day.times_us, day.users]) for day in days], axis=1), axis=1)
    assert np.array_equal(logged, asked)
    assert all((np.diff(day.times_us) >= 0).all() for day in days)
    assert len(world().requests(-1).users) == len(world().requests(3).users) == 0
    window = Window(start=SMALL.start + timedelta(hours=22), end=SMALL.start + timedelta(hours=26))
    within = (logged[0] >= window.start_us) & (logged[0] < window.end_us)
    assert np.array_equal(world().active_users(window), np.unique(logged[1, within]))


def test_what_no_world_can_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="user 301 is none of this world's"):
        world().preferences([301], [1], SMALL.window.start_us)
    with pytest.raises(DataError, match=r"item 0 .* 1 to 400"):
        world().preferences([1], [[0]], SMALL.window.start_us)
    with pytest.raises(DataError, match=r"world.yaml: cannot be read"):
        World.open(tmp_path)
    with pytest.raises(ConfigError, match="future"):
        simulate(SMALL.model_copy(update={"start": datetime(2120, 1, 1, tzinfo=UTC)}), tmp_path / "w")
    with pytest.raises(ConfigError, match="midnight"):
        make_config({"start": datetime(2024, 1, 1, 1, tzinfo=UTC)})
    with pytest.raises(ConfigError, match="shown 8 must be less"):
        make_config({"shown": 8})
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_world(tmp_path: Path) -> None:
    options = ["--users", "50", "--items", "60", "--days", "1", "--events", "2000", "--drift", "high", "--seed", "7"]
    result = CliRunner().invoke(app, ["simulate", str(tmp_path / "w"), *options])
    assert result.exit_code == 0, result.output
    assert "rows/s" in result.output
    assert World.open(tmp_path / "w").config.drift is Drift.HIGH
