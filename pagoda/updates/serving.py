"""Whether the servers hold a generation: asked before it may serve, by the calls that requests will make."""

from __future__ import annotations

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential

from pagoda.errors import GateError, UnavailableError
from pagoda.index.collection import Collections
from pagoda.registry.manifest import Manifest
from pagoda.registry.publish import Check
from pagoda.settings import Settings

_PATIENCE_SECONDS = 180
_OK = 200


def serving_checks(settings: Settings) -> tuple[Check, Check]:
    """What must be true before a generation is released: its collection is whole, and the tower answers for it."""
    return _Collection(settings), _Tower(settings)


class _Collection:
    def __init__(self, settings: Settings) -> None:
        milvus = settings.milvus
        self._collections = Collections(milvus.uri, milvus.token, milvus.timeout_seconds)

    def __call__(self, manifest: Manifest) -> None:
        """Raise GateError unless the collection is loaded with as many rows as the manifest says."""
        name = manifest.collection
        if not self._collections.exists(name):
            raise GateError(f"generation {manifest.id}: collection {name!r} is gone")
        if not self._collections.loaded(name):
            raise GateError(f"generation {manifest.id}: collection {name!r} is not loaded")
        if (rows := self._collections.count(name)) != manifest.item_count:
            raise GateError(f"generation {manifest.id}: collection {name!r} has {rows} rows, not {manifest.item_count}")


class _Tower:
    def __init__(self, settings: Settings) -> None:
        self._url = settings.tower.url

    @retry(
        retry=retry_if_exception_type(UnavailableError),
        stop=stop_after_delay(_PATIENCE_SECONDS),
        wait=wait_exponential(0.05, max=1),
        reraise=True,
    )
    def __call__(self, manifest: Manifest) -> None:
        """Wait until the tower answers a request that names the generation.

        Raises:
            UnavailableError: It did not in three minutes; the follower's log says why.
        """
        body = {"generation": manifest.id, "instances": [{"user_id": _nobody(manifest)}]}
        url = f"{self._url}/predictions/pagoda/{manifest.full_version}.0"
        try:
            answer = httpx.post(url, json=body, timeout=10)
        except httpx.HTTPError as error:
            raise UnavailableError(f"user tower at {url}: {error}") from error
        if answer.status_code != _OK:
            raise UnavailableError(
                f"user tower at {url} does not hold generation {manifest.id} yet: "
                f"{answer.status_code} {answer.text[:300]}"
            )


def _nobody(manifest: Manifest) -> int | str:
    return "" if manifest.spec.id_type == "string" else -1
