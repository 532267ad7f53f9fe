"""When updates are due: each moment once, whatever was missed, and never two of a kind at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.errors import ConfigError
from pagoda.generations.state import ReleaseState
from pagoda.updates.scheduler import Due, ScheduleProgress, Timetable, UpdateKind, walk

START = datetime(2026, 11, 1, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))
TIMETABLES = st.builds(
    Timetable,
    every=st.sampled_from([timedelta(minutes=m) for m in (1, 7, 20, 45, 60, 24 * 60)]),
    full_at=st.sampled_from([timedelta(hours=h) for h in (0, 3, 23)]),
)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def test_a_day() -> None:
    table = Timetable(timedelta(hours=8))
    seen = [
        (moment, table.due(moment - timedelta(hours=8), moment - timedelta(hours=8), moment))
        for moment in walk(table, START, at(32))
    ]
    assert [(due.moment, due.kind.value) for _, found in seen for due in found] == [
        (at(8), "incremental"),
        (at(16), "incremental"),
        (at(24), "full"),
        (at(32), "incremental"),
    ]


def test_what_was_missed_is_learned_at_once() -> None:
    table = Timetable(timedelta(minutes=20))
    assert table.due(at(0), at(1), at(50.5)) == [
        Due(at(48), UpdateKind.FULL),
        Due(at(50 + 1 / 3), UpdateKind.INCREMENTAL),
    ]


def test_nothing_is_due_twice() -> None:
    table = Timetable(timedelta(minutes=20))
    assert table.due(at(24), at(25), at(25.2)) == []


@given(table=TIMETABLES, moment=MOMENTS)
def test_moments_lie_where_they_should(table: Timetable, moment: datetime) -> None:
    full, incremental, following = table.full_before(moment), table.incremental_before(moment), table.after(moment)
    assert full <= incremental <= moment < following <= moment + table.every
    assert moment - full < timedelta(days=1)
    assert (full - START - table.full_at) % timedelta(days=1) == timedelta(0)
    assert following in (incremental + table.every, full + timedelta(days=1))


@given(table=TIMETABLES, now=MOMENTS, behind=st.timedeltas(timedelta(0), timedelta(days=3)))
def test_doing_what_is_due_leaves_nothing_due(table: Timetable, now: datetime, behind: timedelta) -> None:
    full = incremental = now - behind
    for due in table.due(full, incremental, now):
        assert due.moment <= now
        full = due.moment if due.kind is UpdateKind.FULL else full
        # A full version serves from its own window's end on.
        incremental = max(incremental, due.moment)
    assert table.due(full, incremental, now) == []


def test_an_empty_log_begins_with_the_data() -> None:
    assert ScheduleProgress.of(ReleaseState(), START, timedelta(seconds=60)) == ScheduleProgress(START, START)


@pytest.mark.parametrize(("every", "full_at"), [(0, 0), (25 * 60, 0), (20, 24 * 60), (20, -1)])
def test_times_that_mean_nothing_are_refused(every: int, full_at: int) -> None:
    with pytest.raises(ConfigError):
        Timetable(timedelta(minutes=every), timedelta(minutes=full_at))
