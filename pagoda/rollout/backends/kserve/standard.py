"""Standard mode: one entry of `spec.canary` for each tower beside the stable predictor, weights by Gateway API.

KServe's rules (its webhook, and `shared/schemas/README.md`): a canary has a name of its own, no autoscaling fields, and
not more `minReplicas` than the stable predictor. While a canary is ready, KServe takes its replicas from the stable
predictor's minimum. A Deployment is named after `predictor.name`; so naming the stable predictor as the canary, and
dropping the entry, promotes without restarting a pod, and deletes the old stable Deployment. That comes last, when
the grace period is over: until then the promoted tower is a canary with 100 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from pagoda.rollout.backends.base import Target
from pagoda.rollout.backends.kserve.cluster import MANAGER
from pagoda.rollout.backends.kserve.memory import Memory
from pagoda.rollout.backends.kserve.objects import Service, Tower

_ALL = 100
_NONE = "none"
_CONTAINER = "kserve-container"
NOT_OF_PODS = (
    *("name", "model", "minReplicas", "canaryTrafficPercent"),
    *("maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling"),
)
"""What a canary has of its own, or must not have."""


@dataclass(frozen=True)
class Plan:
    """What to apply, and what to remember of it."""

    spec: Mapping[str, Any]
    """Everything that Pagoda wants of the InferenceService's spec."""
    memory: Memory


def plan(service: Service, target: Target, memory: Memory) -> Plan:
    """The spec that brings the servers nearer to `target`."""
    stable = Tower.of(target.stable) if target.stable else None
    if service.uri is None:
        # The chart leaves the version to us, and nothing serves yet: no canary is needed to put the first one in.
        first = stable or (Tower.of(target.candidate) if target.candidate else None)
        return Plan(_predictor(service, first, None), memory)
    memory = replace(memory, base=_base(service, target, memory))
    if stable and stable.uri != service.uri and _may_take_over(service, target, stable, memory.base):
        memory = replace(memory, minimum=memory.minimum or _present_minimum(service))
        return Plan(_predictor(service, stable, max(memory.base, _minimum(memory))), memory)
    entries = _entries(service, target, memory.base)
    if not entries:
        return _at_rest(service, memory)
    memory = replace(memory, minimum=memory.minimum or _present_minimum(service))
    total = memory.base + sum(entry["predictor"]["minReplicas"] for entry in entries)
    spec = _predictor(service, None, _capped(service, max(total, _minimum(memory))))
    return Plan({**spec, "canary": entries}, memory)


def _at_rest(service: Service, memory: Memory) -> Plan:
    """Nothing beside the stable predictor: give its minimum back."""
    present = _present_minimum(service)
    if memory.minimum not in ("", present):
        restored = int(memory.minimum) if memory.minimum != _NONE else None
        return Plan(_predictor(service, None, restored), memory)
    memory = replace(memory, minimum="")
    # Where we are the only owner left, letting go of the field would delete it; so it stays as it is.
    alone = present != _NONE and service.appliers("predictor", "minReplicas") == [MANAGER]
    return Plan(_predictor(service, None, int(present) if alone else None), memory)


def needed(target: Target, tower: Tower, base: int) -> int:
    """Replicas that a tower must have: its share of the stable arm's, rounded up."""
    if target.candidate and Tower.of(target.candidate) == tower:
        return max(1, ceil(base * target.capacity / _ALL))
    return max(1, base)


def _entries(service: Service, target: Target, base: int) -> list[dict[str, Any]]:
    """Canary entries: the candidate, the promoted tower until it takes over, and what drains."""
    shares: dict[Tower, int] = {}
    candidate = Tower.of(target.candidate) if target.candidate else None
    stable = Tower.of(target.stable) if target.stable else None
    for manifest in target.held:
        tower = Tower.of(manifest)
        if tower.name in service.canaries:  # What is gone already is not started again for nothing.
            shares[tower] = 0
    if candidate and candidate != stable:
        shares[candidate] = target.percent
    if stable and stable.uri != service.uri:
        shares[stable] = _ALL - (target.percent if candidate and candidate != stable else 0)
    return [
        _entry(service, tower, share, needed(target, tower, base))
        for tower, share in shares.items()
        if tower.uri != service.uri
    ]


def _may_take_over(service: Service, target: Target, stable: Tower, base: int) -> bool:
    """Whether the stable tower may become the stable predictor, which deletes the present one's pods."""
    kept = [Tower.of(manifest).uri for manifest in (*target.held, *([target.candidate] if target.candidate else []))]
    pods = service.deployment(stable.name)
    ready = stable.name in service.canaries and service.seen and pods.settled and pods.ready >= max(1, base)
    return ready and service.uri not in kept


def _entry(service: Service, tower: Tower, share: int, replicas: int) -> dict[str, Any]:
    # The CRD asks for a container's name here, though KServe takes the runtime's in its place.
    model = {**service.predictor["model"], "name": _CONTAINER, "storageUri": tower.uri}
    # Service account, spread and all else that pods are made of, so that they are those of the stable predictor but for
    # the version: KServe restarts a canary at its promotion if there is a difference.
    pods = {key: value for key, value in service.predictor.items() if key not in NOT_OF_PODS}
    predictor = {
        **pods,
        "name": tower.name,
        "minReplicas": _capped(service, replicas),
        "model": model,
    }
    return {"trafficPercent": share, "predictor": predictor}


def _predictor(service: Service, tower: Tower | None, minimum: int | None) -> dict[str, Any]:
    """Our part of the stable predictor: another tower, or the present one."""
    name = tower.name if tower else service.predictor.get("name")
    predictor: dict[str, Any] = {"model": {"storageUri": tower.uri if tower else service.uri}}
    if name:
        predictor["name"] = name
    if minimum is not None:
        predictor["minReplicas"] = minimum
    return {"predictor": predictor}


def _base(service: Service, target: Target, memory: Memory) -> int:
    """Replicas of the stable arm now, without those that KServe is going to take away again."""
    if memory.purpose == purpose(target) and memory.base:
        return memory.base
    stable = Tower.of(target.stable) if target.stable else None
    name = service.predictor.get("name", "")
    if stable and stable.uri != service.uri and stable.name in service.canaries:
        name = stable.name
    present = service.deployment(name).replicas
    waiting = sum(
        entry["predictor"].get("minReplicas", 1)
        for other, entry in service.canaries.items()
        if other != name and not service.deployment(other).ready
    )
    surplus = waiting if memory.minimum else 0
    return max(1, present - surplus, _minimum(memory) if memory.minimum else service.predictor.get("minReplicas", 1))


def purpose(target: Target) -> str:
    """A target in short: as long as it stays the same, so does what was measured for it."""
    ids = [manifest.full_version if manifest else 0 for manifest in (target.stable, target.candidate)]
    held = ",".join(str(manifest.full_version) for manifest in target.held)
    return f"{ids[0]}/{ids[1]}/{target.percent}/{target.capacity}/{held}"


def _present_minimum(service: Service) -> str:
    return str(service.predictor.get("minReplicas", _NONE))


def _minimum(memory: Memory) -> int:
    return int(memory.minimum) if memory.minimum.isdigit() else 1


def _capped(service: Service, replicas: int) -> int:
    return min(replicas, service.predictor.get("maxReplicas") or replicas)
