"""Knative mode: a new `storageUri` is a new revision, `canaryTrafficPercent` its share; the rest is the one before.

KServe sends the remainder to the revision that was last rolled out to 100 %. At 100 % it forgets that one, which then
may scale to zero; so a promoted tower stays at 99 % until the grace period is over. Any other change of the predictor
would be a new revision too, so replicas are set once, with the version.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pagoda.errors import UnavailableError
from pagoda.rollout.backends.base import Target
from pagoda.rollout.backends.kserve.cluster import MANAGER
from pagoda.rollout.backends.kserve.memory import Memory
from pagoda.rollout.backends.kserve.objects import Service, Tower
from pagoda.rollout.backends.kserve.standard import Plan

_ALL = 100
_ALMOST = 99


def plan(service: Service, target: Target, memory: Memory) -> Plan:
    """The spec that brings the servers nearer to `target`."""
    stable = Tower.of(target.stable) if target.stable else None
    candidate = Tower.of(target.candidate) if target.candidate else None
    rolled = rolled_out(service, memory)
    memory = replace(memory, rolled=rolled or "")
    if service.uri is None or rolled is None or stable is None:
        first = stable or candidate
        return Plan(_latest(service, first.uri if first else None, _ALL, None), memory)
    if candidate and candidate != stable:
        return _trial(service, stable, candidate, target, memory)
    if service.uri == stable.uri:
        kept = any(Tower.of(manifest).uri == rolled != stable.uri for manifest in target.held)
        return Plan(_latest(service, stable.uri, _ALMOST if kept else _ALL, None), memory)
    if rolled == stable.uri:
        return Plan(_latest(service, service.uri, 0, None), memory)
    # Neither revision is the stable tower: somebody changed the object by hand. Bring it as the latest.
    return Plan(_latest(service, stable.uri, _ALMOST, None), memory)


def rolled_out(service: Service, memory: Memory) -> str | None:
    """`storageUri` of the revision that gets what the latest one does not."""
    return service.uri if share(service) == _ALL else memory.rolled or None


def _trial(service: Service, stable: Tower, candidate: Tower, target: Target, memory: Memory) -> Plan:
    if memory.rolled != stable.uri:
        raise UnavailableError(
            f"InferenceService {service.name}: a new revision would displace the stable tower {stable.uri}, because "
            f"{memory.rolled} was last rolled out to 100 %"
        )
    if service.uri == candidate.uri:
        return Plan(_latest(service, candidate.uri, target.percent, None), memory)
    if service.uri == stable.uri and (not service.seen or stable_revision(service) != latest_revision(service)):
        raise UnavailableError(f"InferenceService {service.name}: KServe has not yet rolled {stable.uri} out to 100 %")
    pods = service.deployments.get(stable_revision(service), None)
    base = max(pods.ready if pods else 0, service.predictor.get("minReplicas", 1), 1)
    memory = replace(memory, base=base)
    return Plan(_latest(service, candidate.uri, target.percent, base), memory)


def share(service: Service) -> int:
    """Percent of the traffic that the latest revision gets."""
    return int(service.predictor.get("canaryTrafficPercent", _ALL))


def is_settled(service: Service) -> bool:
    """Whether the latest revision is the one that was asked for last, and ready."""
    found = _component(service)
    return service.seen and bool(found) and found.get("latestReadyRevision") == found.get("latestCreatedRevision")


def latest_revision(service: Service) -> str:
    """Name of the newest ready revision."""
    return str(_component(service).get("latestReadyRevision", ""))


def stable_revision(service: Service) -> str:
    """Name of the revision that was last rolled out to 100 %."""
    found = _component(service)
    rolled = str(found.get("latestRolledoutRevision", ""))
    # KServe's own rule for a revision that was rolled out and then rolled back.
    if share(service) < _ALL and rolled == found.get("latestReadyRevision"):
        return str(found.get("previousRolledoutRevision", ""))
    return rolled


def tag_urls(service: Service) -> dict[str, str]:
    """Address of each revision by its tag: `latest`, `prev`."""
    traffic = _component(service).get("traffic") or []
    return {entry["tag"]: str(entry["url"]) for entry in traffic if entry.get("tag") and entry.get("url")}


def _component(service: Service) -> dict[str, Any]:
    return dict((service.status.get("components") or {}).get("predictor") or {})


def _latest(service: Service, uri: str | None, percent: int, replicas: int | None) -> dict[str, Any]:
    """Our part of the predictor. `minReplicas` stays ours once it was, or its removal would be one more revision."""
    predictor: dict[str, Any] = {"model": {"storageUri": uri}, "canaryTrafficPercent": percent}
    kept = service.predictor.get("minReplicas") if _owns_replicas(service) else None
    if (wanted := replicas if replicas is not None else kept) is not None:
        predictor["minReplicas"] = wanted
    return {"predictor": predictor}


def _owns_replicas(service: Service) -> bool:
    return MANAGER in service.appliers("predictor", "minReplicas")
