"""The backend on KServe: reads the InferenceService, plans by its mode, applies what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import tenacity

from pagoda.cluster import MANAGER, Cluster
from pagoda.errors import ConflictError, UnavailableError
from pagoda.generations.manifest import Manifest
from pagoda.rollout.backends.base import BackendStatus, Readiness, Target
from pagoda.rollout.backends.kserve import knative, standard
from pagoda.rollout.backends.kserve.lease_memory import LeaseMemory, Memory
from pagoda.rollout.backends.kserve.objects import (
    APPS,
    AUTOSCALERS,
    AUTOSCALING,
    REVISION_LABEL,
    SERVICE_LABEL,
    SERVICES,
    SERVING,
    Autoscaler,
    Deployment,
    InferenceService,
    deployment_name,
)
from pagoda.rollout.backends.kserve.preflight import Check, preflight
from pagoda.rollout.backends.kserve.readiness import address, readiness, shares
from pagoda.rollout.backends.kserve.replicas import Bounds, purpose
from pagoda.rollout.backends.kserve.standard import ApplyPlan

Probe = Callable[[Manifest, str], Sequence[str]]
"""Parts of a generation that are missing behind the tower at an address: tables, the collection."""

_OWNED = (
    ("predictor", "name"),
    ("predictor", "minReplicas"),
    ("predictor", "maxReplicas"),
    ("predictor", "canaryTrafficPercent"),
    ("predictor", "model", "storageUri"),
    ("canary",),
)
_RACES = 5


class KServeBackend:
    """The user tower's InferenceService, in Standard or Knative mode, whichever it is in."""

    def __init__(
        self,
        cluster: Cluster,
        service: str,
        lease: str,
        *,
        bounds: Bounds,
        probe: Probe,
        checks: Sequence[Check] = (),
    ) -> None:
        """Nothing is read or written yet.

        Args:
            cluster: Where it is.
            service: Name of the InferenceService.
            lease: Name of the Lease that keeps the memory.
            bounds: Of the stable arm's replicas outside a rollout.
            probe: Says which parts of a generation are missing at an address.
            checks: More preflight checks: whether the candidate's collection is in memory, say.
        """
        self._cluster, self._name = cluster, service
        self._lease, self._bounds, self._probe, self._checks = lease, bounds, probe, checks

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
        service, keeper = self._read(), LeaseMemory(self._cluster, self._lease)
        memory = keeper.read()
        if memory.record > target.record:
            raise _OvertakenError(f"record {memory.record} was applied already, this is {target.record}")
        planned = _plan(service, target, memory, self._bounds)
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
        self._forget_autoscalers(service, planned)

    def _forget_autoscalers(self, service: InferenceService, planned: ApplyPlan) -> None:
        """Delete those of retired predictors.

        KServe's clean-up takes Deployments and Services alone (inferenceservice/components/predictor.go:1000-1035).
        """
        entries = (
            service.predictor,
            planned.spec["predictor"],
            *(each["predictor"] for each in planned.spec.get("canary", ())),
        )
        kept = {deployment_name(service.name, each.get("name", "")) for each in entries} | set(service.deployments)
        for name in set(service.autoscalers) - kept:
            self._cluster.delete(AUTOSCALING, AUTOSCALERS, name)

    def status(self, target: Target) -> BackendStatus:
        """See `Backend.status`."""
        service = self._read()
        memory = LeaseMemory(self._cluster, self._lease).read()
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

    def _read(self) -> InferenceService:
        found = self._cluster.get(SERVING, SERVICES, self._name)
        if found is None:
            raise UnavailableError(f"InferenceService {self._cluster.namespace}/{self._name} is not there")
        service, of_it = InferenceService(found), f"{SERVICE_LABEL}={self._name}"
        label = REVISION_LABEL if service.mode == "Knative" else None
        named = {
            (item["metadata"].get("labels") or {}).get(label, "") if label else item["metadata"]["name"]: item
            for item in self._cluster.find(APPS, "deployments", of_it)
            if "deletionTimestamp" not in item["metadata"]
        }
        deployments = {name: item for name, item in named.items() if name}
        scaled = service.mode == "Standard" and service.autoscaler_class == "hpa"
        autoscalers = self._cluster.find(AUTOSCALING, AUTOSCALERS, of_it) if scaled else []
        return InferenceService(
            found,
            {name: Deployment.of(item) for name, item in deployments.items()},
            {item["metadata"]["name"]: Autoscaler.of(item) for item in autoscalers},
        )


class _OvertakenError(Exception):
    """A later record was applied; trying again would not help."""


def _plan(service: InferenceService, target: Target, memory: Memory, bounds: Bounds) -> ApplyPlan:
    if service.mode not in ("Standard", "Knative"):
        raise UnavailableError(
            f"InferenceService {service.name} is in {service.mode or 'no known'} mode; there are no arms in it"
        )
    plan = knative.plan if service.mode == "Knative" else standard.plan
    return plan(service, target, memory, bounds)


def _differs(service: InferenceService, planned: ApplyPlan) -> bool:
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
