"""The driver of an installation, put together from its settings."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import attrgetter

from pagoda.errors import ConfigError
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import ReleaseLog, open_log
from pagoda.index.factory import caution, open_collections
from pagoda.registry.factory import open_registry
from pagoda.registry.publish import write_aliases
from pagoda.rollout.backends.base import Backend
from pagoda.rollout.backends.local.backend import LocalBackend
from pagoda.rollout.backends.local.memory import unloaded_collection
from pagoda.rollout.backends.local.probe import GenerationProbe
from pagoda.rollout.child_process import apart
from pagoda.rollout.driver import Driver, Look
from pagoda.rollout.measures.offline_evidence import OfflineEvidence
from pagoda.rollout.measures.outcome_stream import StreamMetrics
from pagoda.settings import Settings, require_parts
from pagoda.settings.rollout import ON_CLUSTERS

_PODS = 4
"""Questions to the tower's Service on a cluster, over a connection each, so that more than one pod is asked."""


def open_driver(settings: Settings, backend: str = "") -> Driver:
    """The driver of an installation; nothing is asked yet.

    Args:
        settings: Of the installation.
        backend: `local`, `kserve` or `pods`; empty: as the settings say, else `local`.

    Raises:
        ConfigError: A setting that the driver needs is empty.
    """
    log = open_log(settings)
    require_parts(settings, "the rollout driver", "index", "tower", "store")
    return Driver(
        log,
        open_backend(settings, log, backend),
        StreamMetrics(settings.redis.url),
        partial(_evidence, settings),
        caution(settings),
    )


def open_backend(settings: Settings, log: ReleaseLog, backend: str = "") -> Backend:
    """Where generations run.

    Raises:
        ConfigError: There is no such backend, or a setting that it needs is empty.
    """
    shelf, timeout = open_collections(settings), settings.tower.timeout_seconds
    chosen = backend or settings.rollout.backend or "local"
    if chosen == "pods":
        from pagoda.cluster import Cluster
        from pagoda.generations.hosts import holdings
        from pagoda.rollout.backends.kserve.lease_memory import LeaseMemory
        from pagoda.rollout.backends.pods.backend import PodsBackend

        rollout = settings.rollout
        _require_cluster(settings, "rollout.lease", "rollout.namespace", "tower.hosts")
        memory, hosts = LeaseMemory(Cluster(rollout.namespace), rollout.lease), partial(holdings, settings.tower.hosts)
        return PodsBackend(shelf, memory, hosts=hosts, state=log.state)
    if chosen == "kserve":
        from pagoda.cluster import Cluster
        from pagoda.rollout.backends.kserve.backend import KServeBackend
        from pagoda.rollout.backends.kserve.replicas import Bounds

        rollout = settings.rollout
        _require_cluster(settings, "rollout.inference_service", "rollout.lease", "rollout.namespace")
        return KServeBackend(
            Cluster(rollout.namespace),
            rollout.inference_service,
            rollout.lease,
            bounds=Bounds(rollout.min_replicas, rollout.max_replicas),
            probe=GenerationProbe(shelf, timeout, times=_PODS),
            checks=[
                lambda target: unloaded_collection(shelf, target.candidate, settings.index) if target.candidate else []
            ],
        )
    if chosen != "local":
        raise ConfigError(f"there is no backend {chosen!r}; there are local, kserve and pods")
    return LocalBackend(
        shelf,
        GenerationProbe(shelf, timeout),
        index=settings.index,
        tower_url=settings.tower.server_url,
        tables=settings.tables_folder,
        memory=settings.home / "rollout" / "applied",
        state=log.state,
    )


@contextmanager
def leading(settings: Settings, backend: str = "") -> Iterator[Callable[[], bool]]:
    """Whether this driver is the one to act, to be asked before each look: on a cluster by the Lease, else always.

    At the end the lead is given up.
    """
    if (backend or settings.rollout.backend) not in ON_CLUSTERS:
        yield lambda: True
        return
    from pagoda.cluster import Cluster
    from pagoda.rollout.backends.kserve.leader_election import Leader

    leader = Leader(Cluster(settings.rollout.namespace), settings.rollout.lease, identity())
    try:
        yield leader.leads
    finally:
        leader.release()


def tell_humans(settings: Settings, look: Look) -> None:
    """Let the registry's alias follow what is stable; a `watch` of `Driver.run`. In a process of its own."""
    if look.decision.event and look.decision.event.kind in ("promoted", "rolled_back"):
        apart(_write_aliases, settings)


def identity() -> str:
    """The name of this driver among others: its pod's, on a cluster."""
    return socket.gethostname()


def _write_aliases(settings: Settings) -> None:
    write_aliases(open_log(settings), open_registry(settings))


def _evidence(settings: Settings, candidate: Manifest, champion: Manifest | None) -> OfflineEvidence:
    return apart(_measure, settings, candidate, champion)


def _measure(settings: Settings, candidate: Manifest, champion: Manifest | None) -> OfflineEvidence:
    # Not at the top: it brings torch, which the driver itself has no use for.
    from pagoda.rollout.measures.candidate import measure

    return measure(settings, candidate, champion)


def _require_cluster(settings: Settings, *keys: str) -> None:
    if missing := [key for key in keys if not attrgetter(key)(settings)]:
        raise ConfigError(f"the rollout driver needs the settings {', '.join(missing)}")
