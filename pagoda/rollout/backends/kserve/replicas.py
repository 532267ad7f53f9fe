"""How many pods the arms have: what the installation wants, and what runs for the stable arm now."""

from __future__ import annotations

from dataclasses import dataclass

from pagoda.rollout.backends.base import Target
from pagoda.rollout.backends.kserve.memory import Memory
from pagoda.rollout.backends.kserve.objects import Service, Tower, deployment_name


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


def stable_replicas(service: Service, target: Target, memory: Memory, minimum: int) -> int:
    """Replicas of the stable arm in Standard mode, from which a candidate's share is reckoned.

    What runs now is not it: KServe and the autoscaler take a canary's surge away in their own time, and what they have
    not yet taken would be reserved at the next step too. Within a rollout it does not fall: a load that pauses returns.

    Args:
        service: What is there.
        target: What is to be.
        memory: What was asked for last.
        minimum: Of the stable arm outside a rollout.
    """
    if service.autoscaler_class == "none":
        return max(1, minimum)  # KServe itself holds it there.
    if memory.purpose == purpose(target) and memory.base:
        return max(memory.base, minimum)
    name = _stable_predictor(service, target)
    present = service.deployment(name).replicas
    autoscaler = service.autoscalers.get(deployment_name(service.name, name))
    wanted = autoscaler.wanted if autoscaler else None
    if not service.canaries:
        return max(1, minimum, present - memory.surge, min(present, wanted or 0))
    if wanted is None:  # Without a metric only what goes beyond what was asked for is an autoscaler's wish.
        wanted = present if present > service.predictor.get("minReplicas", 1) else 0
    return max(1, minimum, memory.base, min(present, wanted))


def purpose(target: Target) -> str:
    """A target in short: as long as it stays the same, so does what was measured for it."""
    ids = [manifest.full_version if manifest else 0 for manifest in (target.stable, target.candidate)]
    held = ",".join(str(manifest.full_version) for manifest in target.held)
    return f"{ids[0]}/{ids[1]}/{target.percent}/{target.capacity}/{held}"


def _stable_predictor(service: Service, target: Target) -> str:
    """Name of the predictor that answers the stable arm: a promoted tower is a canary until the grace is over."""
    stable = Tower.of(target.stable) if target.stable else None
    if stable and stable.uri != service.uri and stable.name in service.canaries:
        return stable.name
    return str(service.predictor.get("name", ""))
