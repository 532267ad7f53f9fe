"""A caller of the recall service."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import httpx
import numpy as np
from rich.progress import track
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from pagoda.errors import UnavailableError

_WARM_UP = 50
_READY_SECONDS = 60


class RecallClient:
    """One connection to the recall service, KServe v1 bodies."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)

    def __enter__(self) -> RecallClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    @retry(
        retry=retry_if_exception_type(UnavailableError),
        stop=stop_after_delay(_READY_SECONDS),
        wait=wait_fixed(0.2),
        reraise=True,
    )
    def wait_ready(self) -> None:
        """Wait until a warm-up request has gone all the way through.

        Raises:
            UnavailableError: It did not within a minute.
        """
        try:
            ready = self._http.get("/v2/health/ready").json().get("ready", False)
        except (httpx.HTTPError, ValueError):
            ready = False
        if not ready:
            raise UnavailableError(f"recall service at {self._http.base_url} is not ready; see its log")

    def recall(self, users: Sequence[int], k: int) -> list[dict[str, Any]]:
        """The answers for some users, one request each."""
        return [self._predict({"user_id": user, "k": k, "exclude_seen": True}) for user in users]

    def measure(self, users: Sequence[int], k: int = 100) -> dict[str, float]:
        """Ask for each user, one after the other; the first requests warm up and are not counted.

        Returns:
            p50 and p99 in milliseconds, and the number of requests counted.
        """
        milliseconds = []
        for user in track(users, description="requests", transient=True):
            start = time.perf_counter()
            self._predict({"user_id": user, "k": k})
            milliseconds.append((time.perf_counter() - start) * 1e3)
        counted = np.array(milliseconds[_WARM_UP:])
        p50, p99 = (round(float(value), 2) for value in np.percentile(counted, [50, 99]))
        return {"p50": p50, "p99": p99, "requests": len(counted)}

    def _predict(self, instance: dict[str, Any]) -> dict[str, Any]:
        answer = self._http.post("/v1/models/recall:predict", json={"instances": [instance]}).raise_for_status()
        prediction: dict[str, Any] = answer.json()["predictions"][0]
        return prediction | {"user_id": instance["user_id"]}
