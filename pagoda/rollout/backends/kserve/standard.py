"""Standard mode: one entry of `spec.canary` for each tower beside the stable predictor.

What KServe does with it, by its source (v0.20.0, and main of 2026-08-21: pkg/controller/v1beta1/inferenceservice/
components/predictor.go and pkg/apis/serving/v1beta1/inference_service_validation.go): a canary has a name of its own,
no autoscaling fields, and not more `minReplicas` than the stable predictor. KServe takes a canary's replicas from the
stable predictor's minimum (v0.20.0 at once, main as soon as one of its pods is available), so the minimum is raised
by as many. A Deployment is named after `predictor.name`; so naming the stable predictor as the canary, and dropping
the entry, promotes without restarting a pod. It also deletes every other Deployment, main even before it makes the
new one: so it comes last, when the grace period is over and the canary has all its pods. Until then the promoted
tower is a canary with 100 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from pagoda.rollout.backends.base import Target
from pagoda.rollout.backends.kserve.lease_memory import Memory
from pagoda.rollout.backends.kserve.objects import InferenceService, ServedTower
from pagoda.rollout.backends.kserve.replicas import Bounds, stable_replicas

_ALL = 100
_CONTAINER = "kserve-container"
NOT_OF_PODS = (
    *("name", "model", "minReplicas", "canaryTrafficPercent"),
    *("maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling"),
)
"""What a canary has of its own, or must not have."""


@dataclass(frozen=True)
class ApplyPlan:
    """What to apply, and what to remember of it."""

    spec: Mapping[str, Any]
    """Everything that Pagoda wants of the InferenceService's spec."""
    memory: Memory


def plan(service: InferenceService, target: Target, memory: Memory, bounds: Bounds) -> ApplyPlan:
    """The spec that brings the servers nearer to `target`."""
    stable = ServedTower.of(target.stable) if target.stable else None
    if service.uri is None:
        # The chart leaves the version to us, and nothing serves yet: no canary is needed to put the first one in.
        first = stable or (ServedTower.of(target.candidate) if target.candidate else None)
        return ApplyPlan(
            _predictor(service.running(first) if first else service, bounds.fields(bounds.minimum)), memory
        )
    base = stable_replicas(service, target, memory, bounds)
    present = service
    if (
        stable
        and stable.uri != service.uri
        and (_may_take_over(service, target, stable, base) or service.predictor.get("name") == stable.name)
    ):
        # The latter was edited by hand: a canary may not have the stable predictor's name.
        service = service.running(stable)
    entries = _entries(service, target, base)
    if not entries:
        # An empty list first: one that somebody else has a hand in does not go away by being left out.
        gone: dict[str, Any] = {"canary": []} if present.canaries else {}
        return ApplyPlan({**_predictor(service, bounds.fields(bounds.minimum)), **gone}, memory)
    memory = replace(memory, base=base, surge=sum(entry["predictor"]["minReplicas"] for entry in entries))
    return ApplyPlan({**_predictor(service, bounds.fields(memory.base + memory.surge)), "canary": entries}, memory)


def needed(target: Target, tower: ServedTower, base: int) -> int:
    """Replicas that a tower must have: its share of the stable arm's, rounded up."""
    if target.candidate and ServedTower.of(target.candidate) == tower:
        return max(1, ceil(base * target.capacity / _ALL))
    return max(1, base)


def _entries(service: InferenceService, target: Target, base: int) -> list[dict[str, Any]]:
    """Canary entries: what drains, the candidate, the promoted tower until it takes over."""
    candidate = ServedTower.of(target.candidate) if target.candidate else None
    stable = ServedTower.of(target.stable) if target.stable else None
    wanted: dict[ServedTower, tuple[int, int]] = {}
    for tower in map(ServedTower.of, target.held):
        if entry := service.canaries.get(tower.name):  # What is gone already is not started again for nothing.
            wanted[tower] = (0, entry["predictor"].get("minReplicas", 1))
    if candidate and candidate != stable:
        wanted[candidate] = (target.percent, needed(target, candidate, base))
    if stable and stable.uri != service.uri:
        share = _ALL - (target.percent if candidate and candidate != stable else 0)
        wanted[stable] = (share, needed(target, stable, base))
    return [_entry(service, tower, *each) for tower, each in wanted.items() if tower.uri != service.uri]


def _may_take_over(service: InferenceService, target: Target, stable: ServedTower, base: int) -> bool:
    """Whether the stable tower may become the stable predictor, which deletes the present one's pods."""
    kept = [
        ServedTower.of(manifest).uri for manifest in (*target.held, *([target.candidate] if target.candidate else []))
    ]
    pods = service.deployment(stable.name)
    runs = stable.name in service.canaries and pods.uri == stable.uri and pods.settled
    return runs and pods.ready >= max(1, base) and service.uri not in kept


def _entry(service: InferenceService, tower: ServedTower, share: int, replicas: int) -> dict[str, Any]:
    # The CRD asks for a container's name here, though KServe takes the runtime's in its place.
    model = {**service.predictor["model"], "name": _CONTAINER, "storageUri": tower.uri}
    # Service account, spread and all else that pods are made of, so that they are those of the stable predictor but for
    # the version: KServe restarts a canary at its promotion if there is a difference.
    pods = {key: value for key, value in service.predictor.items() if key not in NOT_OF_PODS}
    predictor = {
        **pods,
        "name": tower.name,
        "minReplicas": replicas,
        "model": model,
    }
    return {"trafficPercent": share, "predictor": predictor}


def _predictor(service: InferenceService, replicas: Mapping[str, int]) -> dict[str, Any]:
    """Our part of the stable predictor."""
    predictor: dict[str, Any] = {"model": {"storageUri": service.uri}, **replicas}
    if name := service.predictor.get("name"):
        predictor["name"] = name
    return {"predictor": predictor}
