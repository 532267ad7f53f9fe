"""Requests at a steady rate, and whether their answers can be true."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from types import TracebackType
from typing import Any

import aiohttp
import numpy as np
from numpy.typing import NDArray

from pagoda.access.tokens import bearer, token_for
from pagoda.generations.arms import ArmsChange
from pagoda.settings import Settings

_MOST_AT_ONCE = 64
_K = 10
_SAME = 1e-4
"""Cosines that differ by less are of the same row."""
_MOMENT_US = 900_000_000_000_000


@dataclass(frozen=True)
class Answer:
    """One request's."""

    asked: datetime
    answered: datetime
    generation: str
    scores: dict[int, NDArray[np.float64]]
    """By user."""


class Traffic:
    """Asks for `users` in a thread of its own while the block runs: mostly one a request, sometimes all."""

    def __init__(self, settings: Settings, users: Sequence[int], rate: float) -> None:
        self._url, self._users, self._rate = f"{settings.recall.url}/v1/models/recall:predict", users, rate
        self._shown = bearer(token_for(settings, "ask"))
        self.answers: list[Answer] = []
        self.problems: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def generation(self) -> str:
        """Of the newest answer."""
        return self.answers[-1].generation if self.answers else ""

    async def _run(self) -> None:
        places = asyncio.Semaphore(_MOST_AT_ONCE)
        timeout = aiohttp.ClientTimeout(total=90)
        async with aiohttp.ClientSession(timeout=timeout, headers=self._shown) as client, asyncio.TaskGroup() as tasks:
            number, began = 0, asyncio.get_running_loop().time()
            while not self._stop.is_set():
                await places.acquire()
                number += 1
                users = self._users if number % 10 == 0 else [self._users[number % len(self._users)]]
                tasks.create_task(self._ask(client, users, places))
                await asyncio.sleep(began + number / self._rate - asyncio.get_running_loop().time())

    async def _ask(self, client: aiohttp.ClientSession, users: Sequence[int], places: asyncio.Semaphore) -> None:
        asked = datetime.now(UTC)
        # The moment is the same for all, since features and decay may depend on it.
        instances = [{"user_id": user, "k": _K, "timestamp": _MOMENT_US, "history": []} for user in users]
        try:
            async with client.post(self._url, json={"instances": instances}) as reply:
                content: Any = await reply.json(content_type=None)
                if reply.ok:
                    self._note(asked, users, content["predictions"])
                else:
                    self.problems.append(f"{reply.status} {content}")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.problems.append(repr(error))
        finally:
            places.release()

    def _note(self, asked: datetime, users: Sequence[int], predictions: Sequence[dict[str, Any]]) -> None:
        generations = {one["generation"] for one in predictions}
        if len(generations) > 1:
            self.problems.append(f"one request was answered by {generations}")
        scores = {
            user: np.array([item["score"] for item in one["items"]])
            for user, one in zip(users, predictions, strict=True)
        }
        self.answers.append(Answer(asked, datetime.now(UTC), generations.pop(), scores))


Source = Callable[[str, int], int | None]
"""The version whose row of a user a generation has; None for the base."""


def stale(answers: Sequence[Answer], releases: Sequence[ArmsChange]) -> tuple[list[str], float]:
    """Answers by a generation that was not current when they were made, and how long a release took to be followed.

    One service follows the log, so all its answers in the order that they were made must go through the releases
    forwards: never to one that is not there yet, never back behind what an earlier answer has shown, which only another
    release may do.

    Returns:
        What is wrong, and the most seconds after which an answer was still asked of what a release had replaced.
    """
    wrong, most, newest = [], 0.0, 0
    ended = sorted(answers, key=lambda answer: answer.answered)
    places: dict[int, int] = {}
    seen = 0
    for answer in sorted(answers, key=lambda answer: answer.asked):
        while seen < len(ended) and ended[seen].answered < answer.asked:
            newest, seen = max(newest, places.get(id(ended[seen]), 0)), seen + 1
        found = (
            place
            for place in range(newest, len(releases))
            if releases[place].arms.stable == answer.generation and releases[place].at <= answer.answered
        )
        place = next(found, None)
        if place is None:
            wrong.append(f"{answer.generation} answered at {answer.answered}, after {releases[newest].arms.stable}")
            continue
        places[id(answer)] = place
        if place + 1 < len(releases):
            most = max(most, (answer.asked - releases[place + 1].at).total_seconds())
    return wrong, most


def mixed(answers: Sequence[Answer], source: Source) -> list[str]:
    """Answers in which a user's row is not that of the generation which the answer names.

    Rows of the same version must give the same scores in every answer, rows of different versions different ones.
    """
    wrong: list[str] = []
    known: dict[int, dict[int | None, NDArray[np.float64]]] = {}
    for answer in answers:
        for user, scores in answer.scores.items():
            version = source(answer.generation, user)
            expected = known.setdefault(user, {}).setdefault(version, scores)
            if np.abs(scores - expected).max() > _SAME:
                wrong.append(f"user {user} in {answer.generation}: not the row of version {version}")
    for user, rows in known.items():
        for one, other in combinations(rows, 2):
            if np.abs(rows[one] - rows[other]).max() < 10 * _SAME:
                wrong.append(f"user {user}: versions {one} and {other} look alike, so nothing is proved")
    return wrong
