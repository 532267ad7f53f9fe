"""Knative mode: a new `storageUri` is a new revision, `canaryTrafficPercent` its share; the rest is the one before.

KServe sends the remainder to the revision that was last rolled out to 100 %, always (main of 2026-08-21,
inferenceservice/reconcilers/knative/ksvc_reconciler.go:123-164). At 100 % it forgets that one, which then may scale to
zero; so a promoted tower stays at 99 % until the grace period is over. Any other change of the predictor would be a new
revision too, so replicas change with the version, or when the installation wants others.

Which tower is behind a tag is read from what runs: `traffic` names a revision, and its Deployment the `storageUri`.
KServe's own memory of what was rolled out can go wrong, for it copies Knative's status in parts
(pkg/apis/serving/v1beta1/inference_service_status.go:567-634).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pagoda.errors import UnavailableError
from pagoda.rollout.backends.base import Target
from pagoda.rollout.backends.kserve.lease_memory import Memory
from pagoda.rollout.backends.kserve.objects import Deployment, InferenceService, ServedTower
from pagoda.rollout.backends.kserve.replicas import Bounds
from pagoda.rollout.backends.kserve.standard import ApplyPlan

_ALL = 100
_ALMOST = 99
TAGS = ("latest", "prev")


def plan(service: InferenceService, target: Target, memory: Memory, bounds: Bounds) -> ApplyPlan:
    """The spec that brings the servers nearer to `target`."""
    stable = ServedTower.of(target.stable) if target.stable else None
    candidate = ServedTower.of(target.candidate) if target.candidate else None
    rolled = rolled_out(service)
    if service.uri is None or stable is None:
        first = stable or candidate
        return ApplyPlan(_latest(first.uri if first else None, _ALL, bounds, 0), memory)
    if candidate and candidate != stable:
        return _trial(service, (stable, candidate), target.percent, memory, bounds)
    if service.uri == stable.uri:
        if any(ServedTower.of(manifest).uri == rolled != stable.uri for manifest in target.held):
            return ApplyPlan(_latest(stable.uri, _ALMOST, bounds, memory.base), memory)
        # One more revision, since the installation wants other bounds than when this one was made.
        replicas = bounds.minimum if memory.applied_minimum not in (0, bounds.minimum) else 0
        memory = replace(memory, applied_minimum=bounds.minimum, base=replicas or memory.base)
        return ApplyPlan(_latest(stable.uri, _ALL, bounds, memory.base), memory)
    if rolled in (stable.uri, None):  # None: KServe has yet to say; until then nothing is given to what was tried.
        return ApplyPlan(_latest(service.uri, 0, bounds, memory.base), memory)
    # The stable tower is nowhere: somebody changed the object by hand, or KServe forgot it. Bring it as the latest.
    return ApplyPlan(_latest(stable.uri, _ALL, bounds, memory.base), memory)


def rolled_out(service: InferenceService) -> str | None:
    """`storageUri` of the revision that gets what the latest one does not; None while there is none."""
    return _deployment(service, str(_component(service).get("latestRolledoutRevision", ""))).uri or None


def _trial(
    service: InferenceService, arms: tuple[ServedTower, ServedTower], percent: int, memory: Memory, bounds: Bounds
) -> ApplyPlan:
    (stable, candidate), rolled = arms, rolled_out(service)
    if service.uri == candidate.uri and rolled in (stable.uri, None):
        return ApplyPlan(_latest(candidate.uri, percent, bounds, memory.base), memory)
    if rolled != stable.uri:
        # A new revision would displace the stable tower. KServe keeps it as the previous one when it has rolled it out.
        return ApplyPlan(_latest(stable.uri, _ALL, bounds, memory.base), memory)
    if service.uri == stable.uri and share(service) == _ALL and not _alone(service):
        raise UnavailableError(f"InferenceService {service.name}: KServe has not yet rolled {stable.uri} out to 100 %")
    found = max(pods(service, stable).ready, memory.base)
    base = max(min(found, bounds.maximum) if bounds.maximum else found, bounds.minimum)
    return ApplyPlan(_latest(candidate.uri, percent, bounds, base), replace(memory, base=base))


def share(service: InferenceService) -> int:
    """Percent of the traffic that the latest revision is to get."""
    return int(service.predictor.get("canaryTrafficPercent", _ALL))


def shown(service: InferenceService) -> list[tuple[str, int]]:
    """What Knative gives each tag now."""
    return [(str(entry.get("tag", "")), int(entry.get("percent") or 0)) for entry in _traffic(service)]


def tag(service: InferenceService, tower: ServedTower) -> str | None:
    """The tag behind which a tower answers; None when it is behind none."""
    for entry in _traffic(service):
        if entry.get("tag") in TAGS and _deployment(service, str(entry.get("revisionName", ""))).uri == tower.uri:
            return str(entry["tag"])
    return None


def tag_url(service: InferenceService, name: str) -> str:
    """Where a tag answers in the cluster, as recall asks it.

    The one in the status is a public host where Knative has a domain (serving/pkg/reconciler/route/domains/domains.go).
    """
    return f"http://{name}-{service.name}-predictor.{service.namespace}.svc"


def pods(service: InferenceService, tower: ServedTower) -> Deployment:
    """The pods of a tower's revision that is routed, else of one that is only there."""
    for entry in _traffic(service):
        found = _deployment(service, str(entry.get("revisionName", "")))
        if found.uri == tower.uri:
            return found
    return next((found for found in service.deployments.values() if found.uri == tower.uri), Deployment())


def _alone(service: InferenceService) -> bool:
    """Whether all traffic goes to the newest revision, and KServe knows that it was rolled out."""
    found, traffic = _component(service), _traffic(service)
    newest = found.get("latestCreatedRevision")
    return len(traffic) == 1 and newest == found.get("latestRolledoutRevision") == traffic[0].get("revisionName")


def _deployment(service: InferenceService, revision: str) -> Deployment:
    return service.deployments.get(revision, Deployment())


def _traffic(service: InferenceService) -> list[dict[str, Any]]:
    return list(_component(service).get("traffic") or [])


def _component(service: InferenceService) -> dict[str, Any]:
    return dict((service.status.get("components") or {}).get("predictor") or {})


def _latest(uri: str | None, percent: int, bounds: Bounds, replicas: int) -> dict[str, Any]:
    """Our part of the predictor; `replicas` is what its revision began with."""
    model = {"storageUri": uri}
    return {
        "predictor": {"model": model, "canaryTrafficPercent": percent, **bounds.fields(max(replicas, bounds.minimum))}
    }
