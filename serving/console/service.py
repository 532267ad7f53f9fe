"""The recall service as its callers reach it: a question, an event."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import httpx

from pagoda.access.roles import Role
from pagoda.access.tokens import bearer, token_for
from pagoda.errors import ConfigError, RequestError, UnavailableError
from pagoda.rollout.state.split import ARM_HEADER
from pagoda.settings import Settings
from serving.recall.api import MODEL, Prediction

_PATIENCE_SECONDS = 30.0


class RecallService:
    """One connection, with the tokens of this installation."""

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet.

        Raises:
            ConfigError: The settings do not say where it is.
        """
        if not settings.recall.url:
            raise ConfigError(f"recall: set recall.url (`pagoda up` does, in {settings.home}/endpoints.yaml)")
        self._settings = settings
        self._http = httpx.Client(base_url=settings.recall.url, timeout=_PATIENCE_SECONDS)

    def __enter__(self) -> RecallService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def ask(self, instance: Mapping[str, Any], arm: str = "") -> Prediction:
        """One user's answer, by an arm or by the user's own.

        Raises:
            RequestError: It is refused; the message is the service's.
            UnavailableError: It does not answer.
        """
        headers = {ARM_HEADER: arm} if arm else {}
        answer = self._post(f"/v1/models/{MODEL}:predict", "ask", {"instances": [instance]}, headers)
        prediction: Prediction = answer["predictions"][0]
        return prediction

    def send(self, event: Mapping[str, Any]) -> None:
        """Send one event.

        Raises:
            RequestError: It is refused; the message is the service's.
            UnavailableError: It was not taken.
        """
        self._post("/v1/events", "events", event, {})

    def _post(self, path: str, role: Role, body: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
        url = self._settings.recall.url
        try:
            shown = {**headers, **bearer(token_for(self._settings, role))}
            answer = self._http.post(path, json=body, headers=shown)
            content = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise UnavailableError(f"recall at {url}: {error or type(error).__name__}; see `pagoda status`") from error
        if answer.is_success:
            return content
        said = content.get("error", content) if isinstance(content, dict) else content
        if answer.is_client_error:
            raise RequestError(f"recall at {url}: {said}")
        raise UnavailableError(f"recall at {url}: {said}; see `pagoda status` and `pagoda logs recall`")
