"""Events sent all the while, as a client sends them: again, under the same ID, until they are acknowledged."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import httpx
import orjson
from redis import Redis

from pagoda.access.tokens import bearer
from pagoda.data.dataset import Dataset
from serving.users.keys import FIELD, STREAM

_PAUSE_SECONDS = 0.1
Click = tuple[int, int, int]
"""User, item and timestamp in µs, the last of which no other event has."""


class EventSender:
    """Sends an event ten times a second until it is closed."""

    def __init__(self, url: str, token: str, users: int, items: int) -> None:
        self.acknowledged: list[Click] = []
        self.errors_5xx = 0
        self._url, self._shown, self._users, self._items = url, bearer(token), users, items
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """Stop, once the last event is acknowledged."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        with httpx.Client(base_url=self._url, headers=self._shown, timeout=10) as http:
            while not self._ending.is_set():
                number += 1
                event = (number % self._users, number % self._items, time.time_ns() // 1000)
                self._send(http, event)
                self._ending.wait(_PAUSE_SECONDS)

    def _send(self, http: httpx.Client, event: Click) -> None:
        user, item, moment = event
        body = {"event_id": f"{moment}", "user_id": user, "item_id": item, "event": "click", "timestamp": moment}
        while True:
            try:
                answer = http.post("/v1/events", json=body)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.is_success:
                self.acknowledged.append(event)
                return
            if answer is not None and answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                self.errors_5xx += 1
            time.sleep(_PAUSE_SECONDS)


def lost(acknowledged: list[Click], redis_url: str, dataset: Path) -> int:
    """How many acknowledged events are neither in the stream nor in the dataset's files, or are there twice."""
    entries: Any = Redis.from_url(redis_url).xrange(STREAM)
    rows = [orjson.loads(fields[FIELD]) for _, fields in entries]
    found = [(row["user_id"], row["item_id"], row["timestamp"]) for row in rows]
    wanted = set(acknowledged)
    for batch in Dataset.open(dataset).batches(columns=["user_id", "item_id", "timestamp"]):
        times = batch["timestamp"].cast("int64").to_pylist()
        found += list(zip(batch["user_id"].to_pylist(), batch["item_id"].to_pylist(), times, strict=True))
    counted = [event for event in found if event in wanted]
    return len(wanted) - len(set(counted)) + len(counted) - len(set(counted))
