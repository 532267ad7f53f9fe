"""What must be there before a rollout touches KServe, and combinations that KServe would silently ignore."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pagoda.cluster import MANAGER, Cluster
from pagoda.rollout.backends.base import Target
from pagoda.rollout.backends.kserve.objects import (
    APPS,
    AUTOSCALERS,
    CLASS_ANNOTATION,
    KNATIVE,
    LEASES,
    MODE_ANNOTATION,
    SERVICE_LABEL,
    SERVICES,
    SERVING,
    TAGS_ANNOTATION,
    InferenceService,
    is_ours,
)
from pagoda.rollout.backends.kserve.pod_refusals import refusals

_OURS = (
    ("predictor", "model", "storageUri"),
    ("predictor", "name"),
    ("predictor", "minReplicas"),
    ("predictor", "maxReplicas"),
    ("predictor", "canaryTrafficPercent"),
    ("canary",),
)

Check = Callable[[Target], Sequence[str]]
"""A further check: one sentence for each thing that is missing."""


def preflight(cluster: Cluster, name: str, lease: str, target: Target, checks: Sequence[Check] = ()) -> list[str]:
    """Everything that stands in the way, one sentence each; empty when nothing does.

    Raises:
        UnavailableError: Kubernetes does not answer.
    """
    if not cluster.serves(SERVING):
        return [f"KServe is not installed: the API {SERVING} is missing"]
    problems = list(_rights(cluster, name, lease))
    if problems:
        return problems
    found = cluster.get(SERVING, SERVICES, name)
    if found is None:
        return [f"InferenceService {cluster.namespace}/{name} is missing; the chart makes it"]
    if cluster.get(LEASES, "leases", lease) is None:
        problems.append(f"Lease {cluster.namespace}/{lease} is missing; the chart makes it")
    if "predictor" not in _spec_fields(cluster.schemas(SERVING)):
        # Its spec is one value to the API server: applying a field of it would drop all others.
        return [*problems, "KServe's CRDs are the minimal ones (kserve-crd-minimal); install kserve-crd instead"]
    service = InferenceService(found)
    problems += _common(service)
    if service.mode == "Standard":
        problems += _standard(cluster, service)
    elif service.mode == "Knative":
        problems += _knative(cluster, service)
    elif service.mode:
        problems.append(f"InferenceService {name} is in {service.mode} mode; arms need Standard or Knative")
    else:
        problems.append(
            f"InferenceService {name} names no deployment mode, and KServe has not said which it took; set the "
            f"annotation {MODE_ANNOTATION} to Standard or Knative"
        )
    problems += refusals(cluster.find(APPS, "deployments", f"{SERVICE_LABEL}={name}"))
    return problems + [problem for check in checks for problem in check(target)]


def _rights(cluster: Cluster, name: str, lease: str) -> Iterator[str]:
    wanted = [
        ("get", "serving.kserve.io", SERVICES, name),
        ("patch", "serving.kserve.io", SERVICES, name),
        ("get", "coordination.k8s.io", "leases", lease),
        ("patch", "coordination.k8s.io", "leases", lease),
        ("list", "apps", "deployments", ""),
    ]
    for verb, group, plural, which in wanted:
        if not cluster.may(verb, group, plural, which):
            yield f"this account may not {verb} {plural}.{group} {which} in {cluster.namespace}".replace("  ", " ")


def _common(service: InferenceService) -> Iterator[str]:
    if "model" not in service.predictor:
        yield f"InferenceService {service.name}: spec.predictor has no `model`; its version could not be changed"
    if service.found["spec"].get("transformer"):
        yield (
            f"InferenceService {service.name} has a transformer, which calls the predictor directly and bypasses the "
            "weights of the arms; the recall service chooses the arm, so remove it"
        )
    for path in _OURS:
        if others := sorted(set(service.appliers(*path)) - {MANAGER}):
            yield (
                f"InferenceService {service.name}: {', '.join(others)} also applies spec.{'.'.join(path)}, which "
                "is the rollout driver's; leave that field out there"
            )


def _standard(cluster: Cluster, service: InferenceService) -> Iterator[str]:
    # Weights are not needed: recall reaches each arm by its Service. So v0.20.0 will do, which has spec.canary but no
    # weights in its routes, and no Gateway has to accept any route.
    if "canary" not in _spec_fields(cluster.schemas(SERVING)):
        yield "KServe is older than 0.20: without spec.canary there are no arms in Standard mode"
    if "canaryTrafficPercent" in service.predictor:
        yield f"InferenceService {service.name}: Standard mode silently ignores canaryTrafficPercent; remove it"
    if foreign := [name for name in service.canaries if not is_ours(name)]:
        yield f"InferenceService {service.name}: canary {', '.join(foreign)} is not Pagoda's; remove it first"
    if service.autoscaler_class not in ("hpa", "none"):
        yield (
            f"InferenceService {service.name}: with {CLASS_ANNOTATION} {service.autoscaler_class} nobody gives a "
            "canary its replicas; set it to hpa or none"
        )
    if service.autoscaler_class == "hpa":
        for verb in ("list", "delete"):
            if not cluster.may(verb, "autoscaling", AUTOSCALERS):
                yield f"this account may not {verb} {AUTOSCALERS}.autoscaling in {cluster.namespace}"


def _knative(cluster: Cluster, service: InferenceService) -> Iterator[str]:
    if not cluster.serves(KNATIVE):
        yield f"Knative Serving ({KNATIVE}) is missing"
    if service.canaries:
        yield f"InferenceService {service.name}: spec.canary is for Standard mode only; remove it"
    if service.annotations.get(TAGS_ANNOTATION) != "true":
        yield (
            f'InferenceService {service.name}: annotation {TAGS_ANNOTATION}: "true" is missing; without it the arms '
            "have no addresses"
        )


def _spec_fields(schemas: Mapping[str, Any]) -> set[str]:
    """Fields of an InferenceService's spec that the cluster knows one by one."""
    for name, schema in schemas.items():
        if name.endswith("InferenceService"):
            spec = (schema.get("properties") or {}).get("spec") or {}
            return set(spec.get("properties") or {})
    return set()
