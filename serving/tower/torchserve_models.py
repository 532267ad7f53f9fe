"""Which full versions TorchServe holds: the one seam over its management API."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx

from pagoda.errors import ConfigError, UnavailableError
from pagoda.settings import socket_path
from pagoda.sockets import client_of
from serving.tower.archive import MODEL, archive_name, place
from serving.tower.batching import DEFAULT_BATCHING, Batching

_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 150.0
_OK, _FORBIDDEN, _NOT_FOUND, _CONFLICT = 200, 403, 404, 409


class TowerModels:
    """Brings full versions to a TorchServe process and takes them away; every call can be repeated."""

    def __init__(
        self, url: str, store: Path, batching: Batching = DEFAULT_BATCHING, *, timeout_seconds: float = 120.0
    ) -> None:
        """Make a client; nothing is asked yet.

        Args:
            url: Management API: `unix:/path/to/socket`.
            store: TorchServe's folder of archives, which all of them must come from.
            batching: Of the versions to be brought.
            timeout_seconds: Longest wait for a version's workers.

        Raises:
            ConfigError: `url` is no socket's.
        """
        if not socket_path(url):
            raise ConfigError(f"management URL {url!r} of the user tower: must be unix:/path")
        self._http = client_of(url, _PATIENCE_SECONDS)
        self._url, self._store, self._batching, self._timeout = url, store, batching, timeout_seconds

    def __enter__(self) -> TowerModels:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ensure(self, full_version: int, archive: Path) -> None:
        """Have `full_version` served and wait until all its workers are ready.

        Args:
            full_version: The version.
            archive: Its archive, anywhere on this host, verified.

        Raises:
            IntegrityError: The archive is another version's.
            UnavailableError: TorchServe does not answer, or the workers do not come up.
        """
        place(archive, full_version, self._store)
        if self._describe(full_version) is None:
            self._register(full_version)
        elif self._ready(full_version) < self._batching.workers:
            scale = {"min_worker": self._batching.workers, "max_worker": self._batching.workers}
            self._expect(self._call("PUT", f"/models/{MODEL}/{full_version}.0", scale), _OK, 202)
        self._await(full_version)

    def retire(self, full_version: int) -> None:
        """Stop serving `full_version` and remove its archive; nothing happens if it is gone.

        Raises:
            UnavailableError: TorchServe does not answer or refuses.
        """
        self.archive(full_version).unlink(missing_ok=True)
        answer = self._call("DELETE", f"/models/{MODEL}/{full_version}.0")
        if answer.status_code == _FORBIDDEN:  # the default version, which Pagoda does not use, must be another one
            others = [version for version in self._versions() if version != full_version]
            self._expect(self._call("PUT", f"/models/{MODEL}/{max(others)}.0/set-default"), _OK)
            answer = self._call("DELETE", f"/models/{MODEL}/{full_version}.0")
        self._expect(answer, _OK, _NOT_FOUND)

    def held(self) -> list[int]:
        """The full versions that have a ready worker.

        Raises:
            UnavailableError: TorchServe does not answer.
        """
        return [version for version, ready in self._versions().items() if ready]

    def archive(self, full_version: int) -> Path:
        """Where the archive of `full_version` is, or would be, in the store."""
        return self._store / archive_name(full_version)

    def _register(self, version: int) -> None:
        query = {"url": archive_name(version), "model_name": MODEL, "synchronous": "true", **self._batching.query()}
        answer = self._call("POST", "/models", query)
        self._expect(answer, _OK, 202, _CONFLICT)  # conflict: somebody else registered it meanwhile

    def _await(self, version: int) -> None:
        deadline = time.monotonic() + self._timeout
        while (ready := self._ready(version)) < self._batching.workers:
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"user tower: {ready} of {self._batching.workers} workers of version {version} are ready after "
                    f"{self._timeout:.0f} s; see TorchServe's log"
                )
            time.sleep(_POLL_SECONDS)

    def _ready(self, version: int) -> int:
        return self._versions().get(version, 0)

    def _describe(self, version: int) -> int | None:
        return self._versions().get(version)

    def _versions(self) -> dict[int, int]:
        answer = self._call("GET", f"/models/{MODEL}/all")
        if answer.status_code == _NOT_FOUND:
            return {}
        self._expect(answer, _OK)
        return {int(float(model["modelVersion"])): _ready_workers(model) for model in answer.json()}

    def _call(self, method: str, path: str, query: dict[str, Any] | None = None) -> httpx.Response:
        try:
            return self._http.request(method, path, params=query)
        except httpx.HTTPError as error:
            raise UnavailableError(f"user tower: TorchServe's management API at {self._url}: {error}") from error

    def _expect(self, answer: httpx.Response, *statuses: int) -> None:
        if answer.status_code not in statuses:
            raise UnavailableError(
                f"user tower: TorchServe answered {answer.request.method} {answer.request.url.path} with "
                f"{answer.status_code}: {answer.text.strip()}"
            )


def _ready_workers(model: dict[str, Any]) -> int:
    return sum(worker["status"] == "READY" for worker in model["workers"])
