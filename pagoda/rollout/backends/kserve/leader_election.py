"""Which of several drivers leads: the holder of a Lease. The others wait, ready to take over.

The release log keeps two drivers from harm in any case; a leader keeps them from doing everything twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pagoda.cluster import Cluster
from pagoda.errors import ConflictError, UnavailableError
from pagoda.rollout.backends.kserve.objects import LEASES

_PLURAL = "leases"
_log = logging.getLogger(__name__)


class Leader:
    """One driver's part in the election. As in Kubernetes' own clients, clocks of two machines are never compared."""

    def __init__(
        self,
        cluster: Cluster,
        lease: str,
        identity: str,
        *,
        seconds: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is asked yet.

        Args:
            cluster: Where the Lease is.
            lease: Its name; the chart makes it.
            identity: Of this driver, its pod's name.
            seconds: How long a leader that is not heard of stays one.
            monotonic: Clock of this machine.
        """
        self._cluster, self._lease, self._identity = cluster, lease, identity
        self._seconds, self._monotonic = seconds, monotonic
        self._seen: tuple[Any, Any] = (None, None)
        self._seen_at = self._asked_at = -seconds
        self._leading = False

    def leads(self) -> bool:
        """Whether this driver leads now; takes the lead when nobody has it, and keeps it. Cheap to ask often.

        Raises:
            UnavailableError: The Lease is not there, or Kubernetes does not answer.
        """
        now = self._monotonic()
        if self._leading and now - self._asked_at < self._seconds / 3:
            return True
        found = self._cluster.get(LEASES, _PLURAL, self._lease)
        if found is None:
            raise UnavailableError(f"Lease {self._cluster.namespace}/{self._lease} is not there; the chart makes it")
        spec = found.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if (holder, spec.get("renewTime")) != self._seen:
            self._seen, self._seen_at = (holder, spec.get("renewTime")), now
        free = not holder or holder == self._identity or now - self._seen_at >= self._seconds
        leading = free and self._take(found, holder)
        if leading != self._leading:
            _log.info("%s %s", self._identity, "leads" if leading else f"waits: {holder} leads")
        self._leading, self._asked_at = leading, now
        return leading

    def release(self) -> None:
        """Give the lead up, so that another driver need not wait; nothing happens without it."""
        if not self._leading:
            return
        self._leading = False
        body = {
            "apiVersion": LEASES,
            "kind": "Lease",
            "metadata": {"name": self._lease},
            "spec": {"holderIdentity": None},
        }
        try:
            self._cluster.merge(LEASES, _PLURAL, body)
        except (ConflictError, UnavailableError) as error:
            _log.warning("the lead was not given up: %s", error)

    def _take(self, found: dict[str, Any], holder: str) -> bool:
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: dict[str, Any] = {"renewTime": stamp}
        if holder != self._identity:
            changes = int((found.get("spec") or {}).get("leaseTransitions") or 0) + 1
            spec |= {"holderIdentity": self._identity, "acquireTime": stamp, "leaseTransitions": changes}
            spec["leaseDurationSeconds"] = max(1, int(self._seconds))
        metadata = {"name": self._lease, "resourceVersion": found["metadata"]["resourceVersion"]}
        try:
            self._cluster.merge(
                LEASES, _PLURAL, {"apiVersion": LEASES, "kind": "Lease", "metadata": metadata, "spec": spec}
            )
        except ConflictError:
            return False  # Somebody else was first, or the driver has written its memory; the next look tells.
        return True
