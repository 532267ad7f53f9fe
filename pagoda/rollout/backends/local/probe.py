"""Whether the servers behind an address hold a generation: its tower and tables, and its collection."""

from __future__ import annotations

from typing import Protocol

from pagoda.errors import UnavailableError
from pagoda.generations.manifest import Manifest
from pagoda.updates.readiness import ask_tower


class Shelf(Protocol):
    """The calls of `pagoda.index.base.Collections` that a rollout needs."""

    def exists(self, name: str) -> bool:
        """Whether there is a collection."""

    def loaded(self, name: str) -> bool:
        """Whether all of it is in memory."""

    def start_loading(self, name: str) -> None:
        """Ask for it in memory."""

    def release(self, name: str) -> None:
        """Take it out of memory."""


class GenerationProbe:
    """Asks the tower for an answer by the generation, and the vector database for its collection."""

    def __init__(self, shelf: Shelf, timeout_seconds: float, *, times: int = 1) -> None:
        """Nothing is asked yet.

        Args:
            shelf: The collections.
            timeout_seconds: Of one question to the tower.
            times: Questions, each over a connection of its own: a Service of Kubernetes spreads them over its pods.
        """
        self._shelf, self._timeout, self._times = shelf, timeout_seconds, times

    def __call__(self, manifest: Manifest, address: str) -> list[str]:
        """What is missing of a generation behind the tower at `address`, one sentence each.

        Without an address nobody is asked: the tower runs in the recall process, where a canary answers nobody, and the
        stable arm in its place, until it has answered a request of its own.

        Raises:
            UnavailableError: Milvus does not answer.
        """
        missing = [problem] if address and (problem := self._tower(manifest, address)) else []
        return missing + missing_collection(self._shelf, manifest)

    def _tower(self, manifest: Manifest, address: str) -> str | None:
        for _ in range(self._times):
            try:
                problem = ask_tower(address, manifest, self._timeout)
            except UnavailableError as error:
                return str(error)
            if problem:
                return problem
        return None


def missing_collection(shelf: Shelf, manifest: Manifest) -> list[str]:
    """What keeps a generation's collection from being searched: one sentence, or none.

    Raises:
        UnavailableError: Milvus does not answer.
    """
    if shelf.loaded(manifest.collection):
        return []
    state = "loaded" if shelf.exists(manifest.collection) else "there"
    return [f"collection {manifest.collection} is not {state}"]
