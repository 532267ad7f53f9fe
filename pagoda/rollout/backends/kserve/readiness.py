"""How far the towers are that KServe runs, and where they answer."""

from __future__ import annotations

from pagoda.generations.manifest import Manifest
from pagoda.rollout.backends.base import Readiness, Target
from pagoda.rollout.backends.kserve import knative
from pagoda.rollout.backends.kserve.lease_memory import Memory
from pagoda.rollout.backends.kserve.objects import Deployment, InferenceService, ServedTower, standard_url
from pagoda.rollout.backends.kserve.standard import needed

_ALL = 100


def readiness(service: InferenceService, manifest: Manifest, target: Target, memory: Memory) -> Readiness:
    """Whether the tower of a generation has the pods that `target` needs, as a share of the stable arm's."""
    tower, base = ServedTower.of(manifest), max(1, memory.base)
    missing = (_missing_revision if service.mode == "Knative" else _missing_predictor)(service, tower)
    if missing:
        return Readiness(missing=(missing,))
    ready = pods(service, tower).ready
    alone = service.mode == "Knative" and service.uri == tower.uri and knative.share(service) == _ALL
    enough = ready >= needed(target, tower, base) == base
    return Readiness(_ALL if alone or enough else min(_ALL, _ALL * ready // base))


def address(service: InferenceService, manifest: Manifest) -> str | None:
    """Where the tower of a generation answers; None when it has no address."""
    tower = ServedTower.of(manifest)
    if service.mode == "Knative":
        tag = knative.tag(service, tower)
        return knative.tag_url(service, tag) if tag else None
    if service.uri == tower.uri or tower.name in service.canaries:
        return standard_url(service.name, service.namespace, tower.version)
    return None


def shares(service: InferenceService) -> list[str]:
    """What KServe's traffic fields say, for people."""
    if service.mode == "Knative":
        return [f"Knative: {tag or 'newest revision'} {percent} %" for tag, percent in knative.shown(service)]
    return [f"KServe: {name} {entry['trafficPercent']} %" for name, entry in service.canaries.items()]


def pods(service: InferenceService, tower: ServedTower) -> Deployment:
    """The Deployment of a tower."""
    if service.mode == "Knative":
        return knative.pods(service, tower)
    return service.deployment(service.predictor.get("name", "") if service.uri == tower.uri else tower.name)


def _missing_predictor(service: InferenceService, tower: ServedTower) -> str:
    if service.uri != tower.uri and tower.name not in service.canaries:
        return f"{service.name} has no predictor {tower.name}"
    found = pods(service, tower)
    if not found.uri:
        return f"KServe has not yet made the Deployment of {tower.name}"
    # Asked of the Deployment: the status of an InferenceService is another object's in every version of KServe.
    if found.uri != tower.uri:
        return f"the Deployment of {tower.name} still brings {found.uri}"
    if not found.ready:
        return found.refusal or f"no pod of {tower.name} is ready"
    return "" if found.settled else found.refusal or f"pods of {tower.name} are being replaced"


def _missing_revision(service: InferenceService, tower: ServedTower) -> str:
    found = pods(service, tower)
    if knative.tag(service, tower) is None and service.uri == tower.uri:
        return found.refusal or f"the revision of {tower.name} is not ready"
    if knative.tag(service, tower) is None:
        return f"{service.name} shows no tag for a revision of {tower.name}"
    return "" if found.ready else found.refusal or f"no pod of {tower.name} is ready"
