"""A caller of the recall service."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from pagoda.access.tokens import bearer
from pagoda.errors import UnavailableError

_READY_SECONDS = 60


class RecallClient:
    """One connection to the recall service, KServe v1 bodies; the token is of the role `ask`."""

    def __init__(self, url: str, token: str = "") -> None:
        self._http = httpx.Client(base_url=url, headers=bearer(token), timeout=30)

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

    def _predict(self, instance: dict[str, Any]) -> dict[str, Any]:
        answer = self._http.post("/v1/models/recall:predict", json={"instances": [instance]}).raise_for_status()
        prediction: dict[str, Any] = answer.json()["predictions"][0]
        return prediction | {"user_id": instance["user_id"]}
