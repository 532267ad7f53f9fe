"""A question goes to the version that was serving at its moment; a plan covers its days without gap or overlap."""

import tempfile
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.data.spec import FeatureSpec, History
from pagoda.data.window import Window
from pagoda.errors import DataError
from pagoda.evaluation.channels.known_users import KnownUsers
from pagoda.evaluation.offline import answer, ask
from pagoda.replay.answers import Answering, Served
from pagoda.replay.estimates import Estimating
from pagoda.replay.plan import Policy, ReplayConfig, make_plan
from tests.evaluation.channel_tables import mixture_of
from tests.evaluation.worlds import HOUR, NotingTowers, OrderedTowers, hours, write_dataset

ITEMS = 8
CLICKS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(100, 99 + ITEMS), st.integers(0, 50), st.just("click")), min_size=1
).map(lambda events: sorted(events, key=lambda event: event[2]))


def served() -> Served:
    towers = NotingTowers(ITEMS)
    return Served(towers, towers.item_vectors())


@settings(max_examples=40)
@given(events=CLICKS, switches=st.lists(st.integers(20, 55), max_size=5).map(sorted))
def test_each_question_goes_to_the_version_that_serves_at_its_moment(events: list, switches: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_dataset(Path(folder) / "d", events, ITEMS, FeatureSpec(history=History(length=3)))
        try:
            questions = ask(dataset, hours(25, 51), protocol="each", limit=1000, seed=0)
        except DataError:
            return
        versions = [served() for _ in range(len(switches) + 1)]
        answering = Answering(questions, versions[0])
        for moment, version in zip(switches, versions[1:], strict=True):
            answering.switch(version, moment * HOUR)
        ranks = answering.finish()
        whole = answer(NotingTowers(ITEMS), dataset, hours(25, 51), protocol="each", limit=1000, seed=0, shown_at=())
    asked = [(number, hour) for number, one in enumerate(versions) for _, hour, *_ in one.towers.asked]
    expected = [int(np.searchsorted(switches, us // HOUR, "right")) for us in questions.rows.times_us]
    assert asked == list(zip(expected, (questions.rows.times_us // HOUR).tolist(), strict=True))
    # All versions answer alike here, so cutting the questions up must not change a rank.
    np.testing.assert_array_equal(ranks.above, whole.ranks["live"].above)
    np.testing.assert_array_equal(ranks.tied, whole.ranks["live"].tied)
    assert answering.found is None, "no version declares channels"


def test_merged_answers_come_from_the_channels_that_serve_at_the_moment(tmp_path: Path) -> None:
    clicks = [(user, 395, 30 + user, "click") for user in range(20)]
    dataset = write_dataset(tmp_path / "d", clicks, 300, FeatureSpec())
    questions = ask(dataset, hours(25, 51), protocol="each", limit=1000, seed=0)
    towers = OrderedTowers(300)
    knowing, other = (
        Served(towers, towers.item_vectors(), mixture_of({"item_to_item": lambda _: [], "popular": gives}))
        for gives in (lambda _: [395], lambda _: [396])
    )
    answering = Answering(questions, knowing, KnownUsers(dataset, questions.rows, questions.histories["live"]))
    answering.switch(other, 40 * HOUR)
    ranks, found = answering.finish(), answering.found
    assert found is not None and found.tolist() == [True] * 10 + [False] * 10
    overall = Estimating(questions, {Policy.FULL: ranks}, {Policy.FULL: found}, seed=0).overall()
    metrics = overall.policies[Policy.FULL]
    assert (metrics["merged recall@50"].value, metrics["recall@50"].value) == (0.5, 0.0)


@given(
    start=st.datetimes(datetime(2024, 1, 1), datetime(2024, 3, 1), timezones=st.just(UTC)),
    length=st.timedeltas(timedelta(hours=1), timedelta(days=30)),
    every=st.timedeltas(timedelta(minutes=30), timedelta(days=1)),
    first=st.timedeltas(timedelta(hours=1), timedelta(days=30)),
    full_at=st.times(),
)
def test_days_and_steps_cover_the_replay(
    start: datetime, length: timedelta, every: timedelta, first: timedelta, full_at: time
) -> None:
    span = Window(start=start, end=start + length)
    config = ReplayConfig(every=every, first=first, full_at=full_at)
    try:
        plan = make_plan(span, config)
    except DataError:
        assert first > length - timedelta(hours=12) or first < timedelta(hours=12)
        return
    assert (plan.first.start, plan.days[0].start, plan.days[-1].end) == (span.start, plan.first.end, span.end)
    assert abs(plan.first.end - plan.first.start - first) <= timedelta(hours=12)
    assert all(day.start.time() == full_at for day in plan.days)
    steps = [step for day in plan.days for step in plan.steps(day)]
    assert len(steps) == plan.step_count
    assert all(earlier.end == later.start for earlier, later in pairwise(steps))
    assert all(step.end - step.start <= every for step in steps)
    assert {day.end for day in plan.days} <= {step.end for step in steps}


def test_a_first_version_that_would_learn_everything_is_refused() -> None:
    with pytest.raises(DataError, match="not inside the log"):
        make_plan(hours(0, 60), ReplayConfig(first=timedelta(days=3)))


def test_differences_are_paired_and_hours_add_up(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    events = [
        (int(user), 100 + int(rng.integers(60)), hour, "click") for hour in range(96) for user in rng.permutation(9)
    ]
    dataset = write_dataset(tmp_path / "d", events, 60, FeatureSpec(history=None))
    plan = make_plan(dataset.span(), ReplayConfig(first=timedelta(days=1)))
    questions = ask(dataset, plan.window, protocol="each", limit=10_000, seed=0)
    count = len(questions.rows)
    worse, better = NotingTowers(60), NotingTowers(60)
    ranks = {
        policy: Answering(questions, Served(towers, towers.item_vectors())).finish()
        for policy, towers in ((Policy.FULL, worse), (Policy.BOTH, better))
    }
    ranks[Policy.BOTH].above[: count // 2] = 0
    ranks[Policy.BOTH].tied[: count // 2] = 1
    estimating = Estimating(questions, ranks, {}, seed=0)
    overall = estimating.overall()
    (difference,) = overall.paired
    both, full = overall.policies[Policy.BOTH]["recall@10"], overall.policies[Policy.FULL]["recall@10"]
    estimate = difference.metrics["recall@10"]
    assert (difference.policy, difference.minus) == (Policy.BOTH, Policy.FULL)
    assert estimate.value == pytest.approx(both.value - full.value)
    assert 0 < estimate.low < estimate.value < estimate.high
    # Paired, the interval is narrower than those of the two put together.
    assert estimate.high - estimate.low < (both.high - both.low) + (full.high - full.low)
    assert sum(hour.figures.rows for hour in estimating.hours()) == overall.rows == count
    since = estimating.since_full(plan)
    assert [hour.hour for hour in since] == list(range(24))
    assert sum(hour.figures.rows for hour in since) == count
