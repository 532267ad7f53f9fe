"""How far the towers are that KServe runs, and where they answer."""

from __future__ import annotations

from pagoda.registry.manifest import Manifest
from pagoda.rollout.backends.base import Readiness, Target
from pagoda.rollout.backends.kserve import knative
from pagoda.rollout.backends.kserve.memory import Memory
from pagoda.rollout.backends.kserve.objects import Deployment, Service, Tower, standard_url
from pagoda.rollout.backends.kserve.standard import needed

_ALL = 100


def readiness(service: Service, manifest: Manifest, target: Target, memory: Memory) -> Readiness:
    """Whether the tower of a generation has the pods that `target` needs, as a share of the stable arm's."""
    tower, base = Tower.of(manifest), max(1, memory.base)
    missing = (_missing_revision if service.mode == "Knative" else _missing_predictor)(service, tower, memory)
    if missing:
        return Readiness(missing=(missing,))
    ready = pods(service, tower).ready
    alone = service.mode == "Knative" and service.uri == tower.uri and knative.share(service) == _ALL
    enough = ready >= needed(target, tower, base) == base
    return Readiness(_ALL if alone or enough else min(_ALL, _ALL * ready // base))


def address(service: Service, manifest: Manifest) -> str | None:
    """Where the tower of a generation answers; None when it has no address."""
    tower = Tower.of(manifest)
    if service.mode == "Knative":
        return knative.tag_urls(service).get("latest" if service.uri == tower.uri else "prev")
    if service.uri == tower.uri or tower.name in service.canaries:
        return standard_url(service.name, service.namespace, tower.version)
    return None


def shares(service: Service) -> list[str]:
    """What KServe's traffic fields say, for people."""
    if service.mode == "Knative":
        return [f"KServe: latest revision {knative.share(service)} %"]
    return [f"KServe: {name} {entry['trafficPercent']} %" for name, entry in service.canaries.items()]


def pods(service: Service, tower: Tower) -> Deployment:
    """The Deployment of a tower."""
    latest = service.uri == tower.uri
    if service.mode == "Knative":
        revision = knative.latest_revision(service) if latest else knative.stable_revision(service)
        return service.deployments.get(revision, Deployment())
    return service.deployment(service.predictor.get("name", "") if latest else tower.name)


def _missing_predictor(service: Service, tower: Tower, _: Memory) -> str:
    found = pods(service, tower)
    if service.uri != tower.uri and tower.name not in service.canaries:
        return f"{service.name} has no predictor {tower.name}"
    if not service.seen or not found.settled:
        return f"KServe has not yet carried out the latest change of {service.name}"
    return "" if found.ready else f"no pod of {tower.name} is ready"


def _missing_revision(service: Service, tower: Tower, memory: Memory) -> str:
    latest = service.uri == tower.uri
    if not latest and knative.rolled_out(service, memory) != tower.uri:
        return f"{service.name} has no revision of {tower.name}"
    if latest and not knative.is_settled(service):
        return f"the revision of {tower.name} is not ready"
    if ("latest" if latest else "prev") not in knative.tag_urls(service):
        return f"{service.name} shows no tag for the revision of {tower.name}"
    return "" if pods(service, tower).ready else f"no pod of {tower.name} is ready"
