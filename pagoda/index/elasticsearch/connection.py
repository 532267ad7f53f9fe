"""HTTP to one server or cluster, whose errors say which collection and where."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import httpx
import orjson

from pagoda.errors import ConflictError, IntegrityError, PagodaError, UnavailableError
from pagoda.index.elasticsearch.multi_search import reason
from pagoda.sockets import client_of

LINES = "application/x-ndjson"
"""What `_bulk` and `_msearch` take: lines of JSON."""
_NOT_FOUND, _BUSY, _GATEWAY_TIMEOUT, _ERRORS = 404, 429, 504, 400


class SlowError(UnavailableError):
    """It did not answer in time; what was asked for may go on."""


class BusyError(UnavailableError):
    """It takes no more work just now."""


def authorization(api_key: str) -> dict[str, str]:
    """Headers that say who asks; a URL with `user:password@` in it needs none."""
    return {"Authorization": f"ApiKey {api_key}"} if api_key else {}


class HttpConnection:
    """A lazily opened client. A server that is down now may be up at the next call."""

    def __init__(self, url: str, api_key: str, timeout_seconds: float) -> None:
        self._url, self._headers, self._timeout = url, authorization(api_key), timeout_seconds
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def ask(
        self,
        doing: str,
        collection: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        lines: bytes | None = None,
        seconds: float | None = None,
    ) -> Any:
        """Ask, and give what the answer holds; None where it holds nothing.

        Args:
            doing: The call in words, for messages: "search".
            collection: Physical name of the collection.
            method: Of HTTP.
            path: With the names of collections in it, which need no quoting.
            params: Of the query string.
            body: JSON to send.
            lines: In place of it, lines of JSON.
            seconds: How long it may take, where not as long as others.

        Raises:
            UnavailableError: It does not answer in time (`SlowError`), takes no more work (`BusyError`) or refuses it.
            IntegrityError: The collection does not exist.
            ConflictError: It exists already.
        """
        where = f"{doing} of collection {collection!r} at {self._url}"
        headers = {"Content-Type": LINES if lines else "application/json"} if body or lines else {}
        content = orjson.dumps(body) if body else lines
        timeout = self._timeout if seconds is None else seconds
        try:
            answer = self._open().request(
                method, path, params=params, content=content, headers=headers, timeout=timeout
            )
        except httpx.TimeoutException as error:
            raise SlowError(f"{where}: no answer in {timeout:.0f} s") from error
        except httpx.HTTPError as error:
            raise UnavailableError(f"{where}: no answer ({str(error) or type(error).__name__})") from error
        try:
            said = orjson.loads(answer.content) if answer.content else None
        except orjson.JSONDecodeError:
            said = {"error": answer.text}
        if answer.status_code >= _ERRORS:
            raise _problem(answer.status_code, said, where)
        return said

    def _open(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = client_of(self._url, self._timeout)
                self._client.headers.update(self._headers)
            return self._client


def _problem(status: int, said: Any, where: str) -> PagodaError:
    why = reason(said or {"error": "no reason given"})
    if status == _NOT_FOUND and (said is None or "index_not_found_exception" in why):
        return IntegrityError(f"{where}: the collection does not exist")
    if "resource_already_exists_exception" in why:
        return ConflictError(f"{where}: it exists already")
    kind = {_BUSY: BusyError, _GATEWAY_TIMEOUT: SlowError}.get(status, UnavailableError)
    return kind(f"{where}: {status}, {why}")
