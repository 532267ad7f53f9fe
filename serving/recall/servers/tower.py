"""The user tower's server as recall sees it: vectors of exactly the generation that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from pagoda.errors import IntegrityError, NotHeldError, PagodaError, RequestError, UnavailableError
from pagoda.generations.manifest import Manifest
from pagoda.settings import socket_path, tower_addresses
from serving import tracing
from serving.http.fields import PastItems

_CONNECTIONS = 256
_KEEP_SECONDS = 60
_JSON = {"Content-Type": "application/json"}
_OK, _BAD_REQUEST = 200, 400
_NOT_HELD = (404, 409)
"""409: not the generation. 404: TorchServe itself knows no such full version."""


@dataclass(frozen=True, slots=True)
class UserVectors:
    """A user's vectors, one for each interest, `dim` numbers each, and whether they have an ID row."""

    vectors: tuple[list[float], ...]
    known: bool


def connector_of(url: str, connections: int = _CONNECTIONS) -> aiohttp.BaseConnector:
    """Pooled connections to the tower's inference API at `url`, a port or a Unix socket."""
    if path := socket_path(url):
        return aiohttp.UnixConnector(path, limit=connections, keepalive_timeout=_KEEP_SECONDS)
    return aiohttp.TCPConnector(limit=connections, keepalive_timeout=_KEEP_SECONDS)


class TowerClient:
    """Asks the user tower over pooled connections."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        """Make a client of the inference API at `url`. Call it inside the running event loop."""
        self._url = url.rstrip("/")
        self._places: dict[int, str] = {}
        self._http = aiohttp.ClientSession(
            connector=connector_of(url),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_JSON,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )

    async def open(self, manifest: Manifest) -> None:
        """Nothing to do here: whoever brings models to its server opens them there."""

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def vectors(
        self, full_version: int, generation: str, instances: Sequence[dict[str, Any]]
    ) -> list[UserVectors]:
        """Compute the vectors of `instances`, raw values as the tower's protocol has them.

        Raises:
            NotHeldError: The server does not hold the generation.
            RequestError: A raw value is wrong.
            UnavailableError: The server does not answer in time, or fails.
            IntegrityError: It answered with another generation, or not as its protocol says.
        """
        body = _encode(generation, instances)
        first, *others = self._addresses(full_version)
        try:
            return self._read(await self._ask(first, body), generation, len(instances))
        except (NotHeldError, UnavailableError) as error:
            for address in others:
                with suppress(NotHeldError, UnavailableError):
                    vectors = self._read(await self._ask(address, body), generation, len(instances))
                    self._places[full_version] = address
                    return vectors
            raise error

    def _addresses(self, full_version: int) -> list[str]:
        """Where the version may answer; where it did last comes first."""
        place = self._places.get(full_version)
        return sorted(tower_addresses(self._url, full_version), key=lambda address: address != place)

    async def _ask(self, address: str, body: bytes) -> bytes:
        try:
            async with self._http.post(address, data=body, headers=tracing.headers() or None) as answer:
                status, content = answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnavailableError(
                f"user tower at {self._url}: {str(error) or type(error).__name__}", part="user tower"
            ) from error
        if status != _OK:
            raise self._refused(status, content)
        return content

    def _read(self, content: bytes, generation: str, users: int) -> list[UserVectors]:
        try:
            predictions = orjson.loads(content)["predictions"]
            if wrong := [row["generation"] for row in predictions if row["generation"] != generation]:
                raise IntegrityError(f"user tower at {self._url}: asked for {generation}, answered {wrong[0]}")
            vectors = [UserVectors(_vectors(row), row["known"]) for row in predictions]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise IntegrityError(f"user tower at {self._url}: unreadable answer ({error})") from error
        if len(vectors) != users:
            raise IntegrityError(f"user tower at {self._url}: {len(vectors)} vectors for {users} users")
        return vectors

    def _refused(self, status: int, content: bytes) -> PagodaError:
        message = _message(content)
        if status in _NOT_HELD:
            return NotHeldError(message)
        if status == _BAD_REQUEST:
            return RequestError(message)
        return UnavailableError(f"user tower at {self._url}: answered {status}: {message}", part="user tower")


def _vectors(row: dict[str, Any]) -> tuple[list[float], ...]:
    """As `serving.tower.bodies` names them: one, or one for each interest."""
    return tuple(row["vectors"]) if "vectors" in row else (row["vector"],)


def _encode(generation: str, instances: Sequence[dict[str, Any]]) -> bytes:
    try:
        return orjson.dumps({"generation": generation, "instances": instances}, default=PastItems.rows)
    except orjson.JSONEncodeError as error:  # reading takes deeper nesting than writing
        raise RequestError(f"instances: cannot be passed on: {error}") from None


def _message(content: bytes) -> str:
    """The reason in an answer of the handler (`error`) or of TorchServe itself (`message`)."""
    try:
        reasons = orjson.loads(content)
        return str(reasons.get("error") or reasons.get("message") or reasons)
    except (orjson.JSONDecodeError, AttributeError):
        return content[:200].decode(errors="replace")
