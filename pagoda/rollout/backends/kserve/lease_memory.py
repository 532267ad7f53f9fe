"""What the backend must remember between calls and across drivers: annotations of a Lease.

Not of the InferenceService: KServe copies its annotations to the pods, so writing one there restarts the stable arm.
The Lease's resource version makes a change of the memory a race that one driver wins.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pagoda.cluster import Cluster
from pagoda.errors import UnavailableError
from pagoda.rollout.backends.kserve.objects import LEASES

_PREFIX = "rollout.pagoda.dev/"
_PLURAL = "leases"


@dataclass(frozen=True)
class Memory:
    """What was applied last, and what it replaced."""

    record: int = 0
    """Of the log; an older one is refused."""
    purpose: str = ""
    """The target in short."""
    base: int = 0
    """Replicas of the stable arm when the purpose was new."""
    surge: int = 0
    """Replicas that were asked for on top of the base and may still be there."""
    applied_minimum: int = 0
    """Knative mode: the installation's minimum that was applied last."""


class LeaseMemory:
    """Reads and writes the memory."""

    def __init__(self, cluster: Cluster, lease: str) -> None:
        self._cluster, self._lease = cluster, lease
        self._version = ""

    def read(self) -> Memory:
        """What is remembered.

        Raises:
            UnavailableError: The Lease is not there, or Kubernetes does not answer.
        """
        found = self._cluster.get(LEASES, _PLURAL, self._lease)
        if found is None:
            raise UnavailableError(f"Lease {self._cluster.namespace}/{self._lease} is not there; the chart makes it")
        self._version = found["metadata"]["resourceVersion"]
        notes: dict[str, Any] = found["metadata"].get("annotations") or {}
        told = {name: str(notes.get(_PREFIX + name, "")) for name in asdict(Memory())}
        try:
            numbers = {name: int(value or 0) for name, value in told.items() if name != "purpose"}
        except ValueError as error:
            place = f"Lease {self._cluster.namespace}/{self._lease}"
            raise UnavailableError(f"{place}: an annotation {_PREFIX}… is no number ({error}); remove it") from None
        return Memory(purpose=told["purpose"], **numbers)

    def write(self, memory: Memory) -> None:
        """Remember this.

        Raises:
            ConflictError: Somebody wrote since the last `read`.
        """
        notes = {_PREFIX + name: str(value) for name, value in asdict(memory).items()}
        metadata = {"name": self._lease, "resourceVersion": self._version, "annotations": notes}
        body = {"apiVersion": LEASES, "kind": "Lease", "metadata": metadata}
        self._cluster.merge(LEASES, _PLURAL, body)
