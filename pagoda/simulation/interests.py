"""What a user wants at a moment: a lasting taste, moved by shots that fade and by the time of day.

Everything follows from the seed and the moment alone, so that any moment can be asked for, in any order.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pagoda.simulation.config import HOUR_US, Shots, WorldConfig
from pagoda.simulation.population import Float, Int, Stream, Users, generator, unit

_HALF_LIVES = 5
"""After so many, a shot has faded to 3 % and is forgotten."""


class Interests:
    """Interests of all users at any moment."""

    def __init__(self, config: WorldConfig, users: Users, topics: Float) -> None:
        self._config = config
        self._users = users
        self._topics = topics
        motion = config.motion
        layers = {Stream.WANDER: motion.wander, Stream.SHIFT: motion.shift, Stream.TREND: motion.trend}
        self._layers = {stream: shots for stream, shots in layers.items() if shots.pull > 0}
        # A window's shots of all users: drawn once, kept while time passes through it.
        self._shots = lru_cache(maxsize=64)(self._draw)

    def at(self, rows: Int, times_us: Int) -> Float:
        """Interests [n, dim], unit length, of the users in `rows` (numbers, int64 [n]) at `times_us` (int64 [n]).

        Where users have several tastes, [n, tastes, dim]: what moves a user moves all of them.
        """
        pulls = np.zeros((len(rows), self._config.topics), np.float32)
        for stream, shots in self._layers.items() if len(rows) else ():
            self._add_shots(pulls, stream, shots, rows, times_us)
        if self._config.motion.rhythm > 0:
            pulls[np.arange(len(rows)), self._users.rhythm_topic[rows]] += self._rhythm(rows, times_us)
        taste, moved = self._users.taste[rows], pulls @ self._topics
        return unit(taste + (moved if self._config.tastes == 1 else moved[:, None]))

    def _rhythm(self, rows: Int, times_us: Int) -> Float:
        hours = (times_us % (24 * HOUR_US)) / HOUR_US
        turn = np.cos(2 * np.pi * (hours - self._users.peak_hour[rows]) / 24)
        return (self._config.motion.rhythm * turn).astype(np.float32)

    def _add_shots(self, pulls: Float, stream: Stream, shots: Shots, rows: Int, times_us: Int) -> None:
        """Add to `pulls` [n, topics] what is left of each shot of the last half-lives."""
        length = shots.every_hours * HOUR_US
        current = times_us // int(length)
        back = int(np.ceil(_HALF_LIVES * shots.half_life_hours / shots.every_hours))
        everyone = np.arange(len(rows))
        for window in range(int(current.min()) - back, int(current.max()) + 1):
            topic, offset = self._shots(stream, window)
            age_hours = (times_us - window * length) / HOUR_US - offset[rows] * shots.every_hours
            left = np.where(age_hours >= 0, np.exp2(-age_hours / shots.half_life_hours), 0)
            left[(current < window) | (current - back > window)] = 0
            pulls[everyone, topic[rows]] += (shots.pull * left).astype(np.float32)

    def _draw(self, stream: Stream, window: int) -> tuple[NDArray[np.uint8], Float]:
        """Topic and moment (share of the window; infinite where there is no shot) of each user's shot in a window."""
        rng = generator(self._config, stream, window)
        topic = rng.integers(0, self._config.topics, self._config.users, np.uint8)
        offset = rng.random(self._config.users, np.float32)
        offset[rng.random(self._config.users, np.float32) >= self._layers[stream].chance] = np.inf
        return topic, offset
