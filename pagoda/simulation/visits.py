"""When users come: sessions through the day, and in each a few requests."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from pagoda.data.layout import DAY_US
from pagoda.simulation.config import HOUR_US, WorldConfig
from pagoda.simulation.population import Int, Stream, Users, generator

_REQUESTS_A_SESSION = 6
_BETWEEN_REQUESTS_US = 420_000_000
"""Mean time between the requests of a session: seven minutes."""
_AT_ANY_HOUR = 0.25
"""Share of sessions that follow no habit."""
_AROUND_HOURS = 2.0


class VisitRequests(NamedTuple):
    """Requests in time order: user numbers and moments, int64 [n]."""

    users: Int
    times_us: Int


class Visits:
    """The requests of all users, a day at a time, in any order of days."""

    def __init__(self, config: WorldConfig, users: Users, requests: float) -> None:
        """`requests`: how many to expect in the whole world."""
        self._config = config
        self._users = users
        self._start_us = config.window.start_us
        present = (config.window.end_us - users.arrival_us) / DAY_US
        self._sessions_a_day = users.activity * (requests / _REQUESTS_A_SESSION / float(users.activity @ present))
        self._started = lru_cache(maxsize=4)(self._start_sessions)

    def on(self, day: int) -> VisitRequests:
        """Requests within day `day` of the world, counted from 0; none before the first and after the last."""
        if not 0 <= day < self._config.days:
            return VisitRequests(np.empty(0, np.int64), np.empty(0, np.int64))
        # A session may last past midnight.
        users, times = (
            np.concatenate(arrays) for arrays in zip(self._started(day - 1), self._started(day), strict=True)
        )
        begin = self._start_us + day * DAY_US
        within = (times >= begin) & (times < begin + DAY_US)
        users, times = users[within], times[within]
        order = np.argsort(times, kind="stable")
        return VisitRequests(users[order], times[order])

    def _start_sessions(self, day: int) -> VisitRequests:
        """All requests of the sessions that start on `day`, session by session."""
        if day < 0:
            return VisitRequests(np.empty(0, np.int64), np.empty(0, np.int64))
        rng = generator(self._config, Stream.VISITS, day)
        sessions = rng.poisson(self._sessions_a_day)
        users = np.repeat(np.arange(self._config.users), sessions)
        starts = self._start_us + day * DAY_US + self._time_of_day(users, rng)
        requests = 1 + rng.poisson(_REQUESTS_A_SESSION - 1, len(users))
        first = np.repeat(np.cumsum(requests) - requests, requests)
        waits = rng.exponential(_BETWEEN_REQUESTS_US, int(requests.sum())).astype(np.int64)
        since_any = np.cumsum(waits)
        times = np.repeat(starts, requests) + since_any - since_any[first]
        rows = np.repeat(users, requests)
        there = times >= self._users.arrival_us[rows]
        return VisitRequests(rows[there], times[there])

    def _time_of_day(self, users: Int, rng: np.random.Generator) -> Int:
        """Microseconds after midnight [n] at which the sessions of `users` start: around the user's hour, or any."""
        habit = self._users.peak_hour[users] + _AROUND_HOURS * rng.normal(size=len(users))
        hours = np.where(rng.random(len(users)) < _AT_ANY_HOUR, 24 * rng.random(len(users)), habit) % 24
        since_midnight: Int = (hours * HOUR_US).astype(np.int64)
        return since_midnight
