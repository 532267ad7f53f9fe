"""Which full versions the tower on KServe's model server holds, for the follower of the same host."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from pagoda.errors import UnavailableError
from pagoda.sockets import client_of
from serving.tower.archive import MODEL, archive_name, place

_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 10.0


class KServeModels:
    """Brings full versions to a server and takes them away, by its store alone; every call can be repeated."""

    def __init__(self, url: str, store: Path, *, timeout_seconds: float = 120.0) -> None:
        """Make a client; nothing is asked yet.

        Args:
            url: Where the server answers.
            store: Its folder of archives, which it follows.
            timeout_seconds: Longest wait for a version.
        """
        self._http = client_of(url, _ANSWER_SECONDS)
        self._url, self._store, self._timeout = url, store, timeout_seconds

    def ensure(self, full_version: int, archive: Path) -> None:
        """Have `full_version` served, from its archive, anywhere on this host and verified, and wait until it answers.

        Raises:
            IntegrityError: The archive is another version's.
            UnavailableError: The server does not answer, or not in time.
        """
        place(archive, full_version, self._store)
        deadline = time.monotonic() + self._timeout
        while full_version not in self.held():
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"user tower: version {full_version} is not held after {self._timeout:.0f} s; see the tower's log"
                )
            time.sleep(_POLL_SECONDS)

    def retire(self, full_version: int) -> None:
        """Stop serving `full_version`; nothing happens if it is gone."""
        (self._store / archive_name(full_version)).unlink(missing_ok=True)

    def held(self) -> list[int]:
        """The full versions that answer.

        Raises:
            UnavailableError: The server does not answer.
        """
        try:
            answer = self._http.get(f"/v2/models/{MODEL}").raise_for_status()
        except httpx.HTTPError as error:
            raise UnavailableError(f"user tower at {self._url}: {error}") from error
        return [int(version) for version in answer.json()["versions"]]
