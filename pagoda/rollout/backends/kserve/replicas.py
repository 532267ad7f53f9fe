"""How many pods the arms have: what the installation wants, and what runs for the stable arm now."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from pagoda.rollout.backends.base import Target
from pagoda.rollout.backends.kserve.lease_memory import Memory
from pagoda.rollout.backends.kserve.objects import InferenceService, ServedTower, deployment_name

_TOLERANCE = 0.1


@dataclass(frozen=True)
class Bounds:
    """What the installation wants of the stable arm outside a rollout.

    The driver is the one owner of these two fields of the predictor: it must change them in a rollout, and two owners
    of one field are a conflict at the next `helm upgrade`. So the chart tells the driver instead of KServe.
    """

    minimum: int = 1
    maximum: int = 0
    """0: the predictor has no `maxReplicas`."""

    def fields(self, minimum: int) -> dict[str, int]:
        """The predictor's fields for a minimum that a rollout may have raised; KServe refuses one above the maximum."""
        return {"minReplicas": minimum, **({"maxReplicas": max(self.maximum, minimum)} if self.maximum else {})}


def stable_replicas(service: InferenceService, target: Target, memory: Memory, bounds: Bounds) -> int:
    """Replicas that the stable arm needs for all users in Standard mode; a candidate's share is reckoned from them.

    What runs now is not it: KServe and the autoscaler take a canary's surge away in their own time, and what they have
    not yet taken would be reserved at the next step too. Within a rollout it only rises: a load that pauses returns.

    Args:
        service: What is there.
        target: What is to be.
        memory: What was asked for last.
        bounds: Of the stable arm outside a rollout.
    """
    least = max(1, bounds.minimum)
    if service.autoscaler_class == "none":
        return least  # KServe itself holds it there.
    name, wanted = _stable_predictor(service, target), _wanted(service)
    present = service.deployment(name).replicas
    if not service.canaries:
        found = max(present - memory.surge, min(present, wanted or 0))
    elif wanted is None:  # Without a metric only what goes beyond what was asked for is an autoscaler's wish.
        found = max(memory.base, present if present > service.predictor.get("minReplicas", 1) else 0)
    else:
        found = max(memory.base, wanted)
    return max(least, min(found, bounds.maximum) if bounds.maximum else found)


def _wanted(service: InferenceService) -> int | None:
    """Pods that the use of both arms together asks for; None without metrics.

    An autoscaler leaves its pods alone up to a tenth above its target, by Kubernetes' rule
    (https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details).
    """
    stable = service.autoscalers.get(deployment_name(service.name, service.predictor.get("name", "")))
    asked = [
        sum(autoscaler.used.get(name, 0) for autoscaler in service.autoscalers.values()) / (target * (1 + _TOLERANCE))
        for name, target in (stable.targets if stable else {}).items()
        if target and any(name in autoscaler.used for autoscaler in service.autoscalers.values())
    ]
    return ceil(max(asked)) if asked else None


def purpose(target: Target) -> str:
    """A target in short: as long as it stays the same, so does what was measured for it."""
    ids = [manifest.full_version if manifest else 0 for manifest in (target.stable, target.candidate)]
    held = ",".join(str(manifest.full_version) for manifest in target.held)
    return f"{ids[0]}/{ids[1]}/{target.percent}/{target.capacity}/{held}"


def _stable_predictor(service: InferenceService, target: Target) -> str:
    """Name of the predictor that answers the stable arm: a promoted tower is a canary until the grace is over."""
    stable = ServedTower.of(target.stable) if target.stable else None
    if stable and stable.uri != service.uri and stable.name in service.canaries:
        return stable.name
    return str(service.predictor.get("name", ""))
