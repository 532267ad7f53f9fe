"""Whether the servers behind an address hold a generation: its tower and tables, and its collection."""

from __future__ import annotations

from pagoda.errors import UnavailableError
from pagoda.generations.manifest import Manifest
from pagoda.rollout.backends.shelving import Shelf, missing_collection


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
        """What is missing of a generation behind the tower at `address`, one sentence each; without, of its collection.

        Without an address nobody is asked: the tower runs in the recall process, where a canary answers nobody, and the
        stable arm in its place, until it has answered a request of its own.

        Raises:
            UnavailableError: The index does not answer.
        """
        missing = [problem] if address and (problem := self._tower(manifest, address)) else []
        return missing + missing_collection(self._shelf, manifest)

    def _tower(self, manifest: Manifest, address: str) -> str | None:
        # Not at the top: it brings an HTTP client, which nobody needs where the tower runs in the recall process.
        from pagoda.updates.readiness import ask_tower

        for _ in range(self._times):
            try:
                problem = ask_tower(address, manifest, self._timeout)
            except UnavailableError as error:
                return str(error)
            if problem:
                return problem
        return None
