"""The backend on KServe: reads the InferenceService, plans by its mode, applies what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import tenacity

from pagoda.errors import ConflictError, UnavailableError
from pagoda.registry.manifest import Manifest
from pagoda.rollout.backends.base import BackendStatus, Readiness, Target
from pagoda.rollout.backends.kserve import knative, standard
from pagoda.rollout.backends.kserve.cluster import MANAGER, Cluster
from pagoda.rollout.backends.kserve.memory import Keeper, Memory
from pagoda.rollout.backends.kserve.objects import (
    APPS,
    REVISION_LABEL,
    SERVICE_LABEL,
    SERVICES,
    SERVING,
    Deployment,
    Service,
)
from pagoda.rollout.backends.kserve.preflight import Check, preflight
from pagoda.rollout.backends.kserve.readiness import address, readiness, shares
from pagoda.rollout.backends.kserve.standard import Plan, purpose

Probe = Callable[[Manifest, str], Sequence[str]]
"""Parts of a generation that are missing behind the tower at an address: tables, the collection."""

_OWNED = (
    ("predictor", "name"),
    ("predictor", "minReplicas"),
    ("predictor", "canaryTrafficPercent"),
    ("predictor", "model", "storageUri"),
    ("canary",),
)
_RACES = 5


class KServeBackend:
    """The user tower's InferenceService, in Standard or Knative mode, whichever it is in."""

    def __init__(
        self, cluster: Cluster, service: str, lease: str, *, probe: Probe, checks: Sequence[Check] = ()
    ) -> None:
        """Nothing is read or written yet.

        Args:
            cluster: Where it is.
            service: Name of the InferenceService.
            lease: Name of the Lease that keeps the memory.
            probe: Says which parts of a generation are missing at an address.
            checks: More preflight checks: whether the candidate's collection is in memory, say.
        """
        self._cluster, self._name = cluster, service
        self._lease, self._probe, self._checks = lease, probe, checks

    def preflight(self, target: Target) -> list[str]:
        """See `Backend.preflight`."""
        return preflight(self._cluster, self._name, self._lease, target, self._checks)

    def apply(self, target: Target) -> None:
        """See `Backend.apply`."""
        if not target.generations:
            return
        # What lost a race against KServe's controllers or another driver is planned anew, on what is there now.
        racing = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ConflictError),
            stop=tenacity.stop_after_attempt(_RACES),
            wait=tenacity.wait_random(0, 0.1),
            reraise=True,
        )
        try:
            racing(self._apply_once, target)
        except _OvertakenError as error:
            raise ConflictError(str(error)) from None

    def _apply_once(self, target: Target) -> None:
        service, keeper = self._read(), Keeper(self._cluster, self._lease)
        memory = keeper.read()
        if memory.record > target.record:
            raise _OvertakenError(f"record {memory.record} was applied already, this is {target.record}")
        planned = _plan(service, target, memory)
        differs = _differs(service, planned)
        told = planned.memory
        if differs or memory.purpose != purpose(target):
            told = replace(told, record=target.record, purpose=purpose(target))
        if told != memory:
            keeper.write(told)
        if differs:
            metadata = {
                "name": service.name,
                "namespace": service.namespace,
                "resourceVersion": service.found["metadata"]["resourceVersion"],
            }
            body = {"apiVersion": SERVING, "kind": "InferenceService", "metadata": metadata, "spec": planned.spec}
            self._cluster.apply(SERVING, SERVICES, body)

    def status(self, target: Target) -> BackendStatus:
        """See `Backend.status`."""
        service = self._read()
        memory = Keeper(self._cluster, self._lease).read()
        found = {}
        for manifest in target.generations:
            ready = readiness(service, manifest, target, memory)
            if not ready.missing and (missing := self._probe(manifest, address(service, manifest) or "")):
                ready = Readiness(missing=tuple(missing))
            found[manifest.id] = ready
        return BackendStatus(found, tuple(shares(service)))

    def addresses(self, target: Target) -> dict[str, str]:
        """Where the tower of each generation answers now, by generation; those without an address are left out.

        Raises:
            UnavailableError: Kubernetes does not answer.
        """
        service = self._read()
        found = {manifest.id: address(service, manifest) for manifest in target.generations}
        return {id_: url for id_, url in found.items() if url}

    def _read(self) -> Service:
        found = self._cluster.get(SERVING, SERVICES, self._name)
        if found is None:
            raise UnavailableError(f"InferenceService {self._cluster.namespace}/{self._name} is not there")
        service = Service(found)
        label = REVISION_LABEL if service.mode == "Knative" else None
        deployments = self._cluster.find(APPS, "deployments", f"{SERVICE_LABEL}={self._name}")
        named = {
            (item["metadata"].get("labels") or {}).get(label, "") if label else item["metadata"]["name"]: item
            for item in deployments
        }
        return Service(found, {name: Deployment.of(item) for name, item in named.items()})


class _OvertakenError(Exception):
    """A later record was applied; trying again would not help."""


def _plan(service: Service, target: Target, memory: Memory) -> Plan:
    if service.mode not in ("Standard", "Knative"):
        raise UnavailableError(f"InferenceService {service.name} is in {service.mode} mode; there are no arms in it")
    plan = knative.plan if service.mode == "Knative" else standard.plan
    return plan(service, target, memory)


def _differs(service: Service, planned: Plan) -> bool:
    """Whether the object, or which of its fields are ours, is not as planned.

    Fields that KServe's defaulting added to ours do not count, or every look would write.
    """
    spec: Any = service.found["spec"]
    names = [entry["predictor"]["name"] for entry in planned.spec.get("canary", [])]
    ours = {path for path in _OWNED if MANAGER in service.appliers(*path)}
    wanted = {path for path in _OWNED if _has(planned.spec, path)}
    return (
        not _within(planned.spec, spec) or ours != wanted or (bool(ours) and sorted(service.canaries) != sorted(names))
    )


def _has(spec: Any, path: Sequence[str]) -> bool:
    for key in path:
        if not isinstance(spec, Mapping) or key not in spec:
            return False
        spec = spec[key]
    return True


def _within(part: Any, whole: Any) -> bool:
    if isinstance(part, Mapping):
        return isinstance(whole, Mapping) and all(key in whole and _within(part[key], whole[key]) for key in part)
    if isinstance(part, list):
        return (
            isinstance(whole, list)
            and len(part) == len(whole)
            and all(_within(one, other) for one, other in zip(part, whole, strict=True))
        )
    return bool(part == whole)
