"""Measures from the stream of outcomes, on a real Redis."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import redis

from pagoda.data.window import to_us
from pagoda.errors import UnavailableError
from pagoda.rollout.measures.base import Measures
from pagoda.rollout.measures.outcome_stream import StreamMetrics
from pagoda.rollout.measures.outcomes import APPEND, RESPONSE, ROW, SIZE, STREAM, Flag, OutcomeBatch, Rows
from pagoda.rollout.online_gates import OnlineGates, OutcomeGate
from tests.redis_databases import database

pytestmark = pytest.mark.integration
SINCE = datetime.now(UTC).replace(microsecond=0)
REQUEST = Flag.REQUEST | Flag.ANSWERED
USUAL = OnlineGates()
OUTCOMES = (OutcomeGate(event="purchase"), OutcomeGate(column="dwell_seconds", cap=4))


class Stream:
    """Writes as the recall service does."""

    def __init__(self, url: str) -> None:
        self.url, self.redis = url, redis.Redis.from_url(url)

    def write(self, rows: Rows, *, percent: int = 10, shadow: bool = False, most_bytes: int = 1 << 24) -> None:
        self.send(OutcomeBatch("r1", percent, shadow, rows), most_bytes)

    def send(self, batch: OutcomeBatch, most_bytes: int = 1 << 24) -> None:
        parts = [part for pair in batch.encode().items() for part in pair]
        self.redis.eval(APPEND, 2, STREAM, SIZE, most_bytes, *parts)

    def measure(
        self,
        seconds: float,
        metrics: StreamMetrics | None = None,
        rollout: str = "r1",
        gates: OnlineGates = USUAL,
        channels: tuple[str, ...] = ("popular",),
    ) -> Measures:
        made = metrics or StreamMetrics(self.url)
        return made.measure(rollout, SINCE, SINCE + timedelta(seconds=seconds), 50.0, gates, channels=channels)


@pytest.fixture
def stream(redis_url: str) -> Stream:
    """An empty one, in a database of its own."""
    return Stream(database(redis_url, 11))


def rows_at(seconds: list[float], flags: int, ms: float = 5.0, users: list[int] | None = None) -> Rows:
    start = to_us(SINCE)
    users = users or list(range(len(seconds)))
    return np.array([(start + int(s * 1e6), user, ms, flags) for s, user in zip(seconds, users, strict=True)], ROW)


def test_requests_are_counted_by_closed_window(stream: Stream) -> None:
    stream.write(rows_at([0.1, 1, 4.9, 5.1, 12], REQUEST))
    stream.write(rows_at([6, 7], REQUEST | Flag.CANARY | Flag.FAILED, ms=60.0))
    stream.write(rows_at([7], Flag.ANSWERED | Flag.CANARY))
    stream.write(rows_at([-1], REQUEST))
    early, later = stream.measure(6.9), stream.measure(12)
    assert [list(early[arm].requests.total) for arm in ("stable", "canary")] == [[], []]
    stable, canary = later["stable"].requests, later["canary"].requests
    assert (list(stable.total), list(stable.errors), list(stable.slow)) == ([3, 1], [0, 0], [0, 0])
    assert (list(canary.total), list(canary.errors), list(canary.slow)) == ([0, 2], [0, 2], [0, 2])
    assert stable.p99_ms == pytest.approx(5, rel=0.03) and canary.p99_ms == pytest.approx(60, rel=0.03)
    assert later["canary"].clicks.n == 3, "users of one request are users all the same"


def test_a_new_driver_comes_to_what_one_that_went_on_has(stream: Stream) -> None:
    going, rng = StreamMetrics(stream.url), np.random.default_rng(0)
    for second in range(40):
        flags = rng.choice([REQUEST, REQUEST | Flag.CANARY, REQUEST | Flag.SHORT, Flag.CLICK], 50)
        rows = rows_at([second + part / 50 for part in range(50)], 0, users=rng.integers(0, 30, 50).tolist())
        rows["flags"], rows["ms"] = flags, rng.exponential(20, 50)
        stream.write(rows)
        kept = stream.measure(second, going)
    fresh = stream.measure(39)
    for arm in ("stable", "canary"):
        one, other = kept[arm], fresh[arm]
        for name in ("total", "errors", "slow"):
            assert np.array_equal(getattr(one.requests, name), getattr(other.requests, name))
        assert one.requests.p99_ms == other.requests.p99_ms
        assert (one.clicks, one.short_answers, one.fallbacks) == (other.clicks, other.short_answers, other.fallbacks)
    assert fresh["stable"].clicks.y > 10


def test_outcomes_and_channels_are_read_alike_by_who_went_on_and_who_is_new(stream: Stream) -> None:
    going, rng, gates = StreamMetrics(stream.url), np.random.default_rng(0), OnlineGates(outcomes=OUTCOMES)
    for second in range(20):
        answers = rows_at([second + one / 20 for one in range(10)], REQUEST, users=list(range(10)))
        answers["flags"][::2] = REQUEST | Flag.CANARY
        parts = rng.choice([0.25, 0.5], (10, 1, 2)).astype(np.float16)
        stream.send(OutcomeBatch("r1", 10, False, answers, channels=("popular",), mixtures=parts))
        events = rows_at([second + 0.6] * 10, Flag.OUTCOME, ms=1.0, users=list(range(10)))
        said = np.array([(one % 2, 0, 0.0) for one in range(10)], RESPONSE)
        stream.send(OutcomeBatch("r1", 10, False, events, responses=said))
        kept = stream.measure(second, going, gates=gates)
    fresh = stream.measure(19, gates=gates)
    for arm, other in (("stable", 1), ("canary", 0)):
        assert kept[arm] == replace(fresh[arm], requests=kept[arm].requests)
        # Of the canary are users with even numbers, and these have the first outcome.
        assert [one.y > 0 for one in fresh[arm].outcomes] == [other == 0, other == 1]
        assert fresh[arm].channels["popular"].items.n == 20 * 5
    # Who knows nothing of them counts the answers as ever.
    assert stream.measure(19)["stable"].clicks.n == fresh["stable"].clicks.n > 0


@pytest.mark.parametrize("old", [("fresh", "popular"), ("category",)])
def test_what_the_arms_declare_is_measured_whatever_a_service_that_lags_behind_says_first(
    stream: Stream, old: tuple[str, ...]
) -> None:
    """One that has yet to warm up the stable generation, or is of an older release, compares other channels."""
    for second, channels in enumerate([old, ("popular",), old, ("popular",)]):
        parts = np.full((5, len(channels), 2), 0.5, np.float16)
        stream.send(OutcomeBatch("r1", 10, False, rows_at([second] * 5, REQUEST), channels=channels, mixtures=parts))
    found = stream.measure(12)["stable"]
    assert found.clicks.n == 20
    assert {name: one.items.n for name, one in found.channels.items()} == {"popular": 10}
    # Nor do gates wait for channels of which nobody tells, or that the arms do not mean to give alike.
    assert not stream.measure(12, channels=("two_tower",))["stable"].channels
    assert not stream.measure(12, channels=())["stable"].channels


def test_an_event_of_an_outcome_that_the_policy_does_not_name_is_left_out(stream: Stream) -> None:
    row = rows_at([1], Flag.OUTCOME, ms=1.0)
    stream.send(OutcomeBatch("r1", 10, False, row, responses=np.array([(5, 0, 0.0)], RESPONSE)))
    stream.write(rows_at([1], REQUEST))
    assert stream.measure(7, gates=OnlineGates(outcomes=OUTCOMES))["stable"].requests.count == 1


def test_rows_that_come_late_are_counted_in_their_window(stream: Stream) -> None:
    metrics = StreamMetrics(stream.url)
    stream.write(rows_at([1], REQUEST))
    assert list(stream.measure(12, metrics)["stable"].requests.total) == [1, 0]
    stream.write(rows_at([2, 6], REQUEST))
    assert list(stream.measure(12, metrics)["stable"].requests.total) == [2, 1]


def test_services_that_lag_behind_the_log_do_not_blur_the_arms(stream: Stream) -> None:
    metrics = StreamMetrics(stream.url)
    stream.write(rows_at([0.1], REQUEST), percent=1)
    assert stream.measure(7, metrics)["stable"].requests.count == 1
    stream.write(rows_at([0.2], REQUEST | Flag.CANARY), percent=10)
    stream.write(rows_at([0.3], REQUEST), percent=1)
    for found in (stream.measure(7, metrics), stream.measure(7)):
        assert [found[arm].requests.count for arm in ("stable", "canary")] == [0, 1]


def test_a_shadows_requests_count_and_show_nothing(stream: Stream) -> None:
    stream.write(rows_at([1], REQUEST | Flag.CANARY | Flag.SHORT, users=[5]), shadow=True)
    stream.write(rows_at([1], REQUEST, users=[5]), shadow=True)
    stream.write(rows_at([2], Flag.CLICK, users=[5]), shadow=True)
    found = stream.measure(7)
    assert [found[arm].requests.count for arm in ("stable", "canary")] == [1, 1]
    assert (found["stable"].clicks.y, found["canary"].clicks.n) == (1, 0)
    assert found["canary"].short_answers.y == 1


def test_the_stream_keeps_within_its_size_and_forgets_the_oldest(stream: Stream) -> None:
    for second in range(30):
        stream.write(rows_at([second] * 10, REQUEST), most_bytes=5 * 10 * ROW.itemsize)
    assert stream.redis.xlen(STREAM) == 5
    assert int(stream.redis.get(SIZE)) == 5 * 10 * ROW.itemsize
    assert list(stream.measure(32)["stable"].requests.total) == [0, 0, 0, 0, 0, 50]


def test_other_rollouts_and_damaged_entries_are_left_out(stream: Stream) -> None:
    stream.redis.xadd(STREAM, {"rows": b"abc"})
    stream.write(rows_at([1], REQUEST))
    assert stream.measure(7)["stable"].requests.count == 1
    assert stream.measure(7, rollout="r2")["stable"].requests.count == 0


def test_without_redis_there_are_no_measures() -> None:
    metrics = StreamMetrics("redis://127.0.0.1:1/0")
    with pytest.raises(UnavailableError, match="outcomes at redis"):
        metrics.measure("r1", SINCE, SINCE + timedelta(seconds=60), None)
