"""What KServe's controllers make of an InferenceService. Pods become ready only when a test says so."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from math import ceil
from typing import Any

TAGS = "serving.kserve.io/enable-tag-routing"
_SCALE = ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "canaryTrafficPercent", "name")


@dataclass
class Pods:
    """A Deployment."""

    template: Any
    replicas: int
    ready: int = 0
    restarts: int = 0
    labels: dict[str, str] = field(default_factory=dict)


class Controllers:
    """KServe's, the Deployments' and an autoscaler's."""

    def __init__(self) -> None:
        self.pods: dict[str, Pods] = {}
        self.deleted: list[str] = []
        self.load: int = 0
        """Replicas that an autoscaler wants of the stable predictor."""
        self.weights: dict[str, int] = {}
        self.revisions: list[tuple[str, Any]] = []
        self.rolled: list[str] = []

    def reconcile(self, service: dict[str, Any]) -> dict[str, Any]:
        """Bring Deployments and weights in line with the object; returns its status."""
        mode = service["metadata"].get("annotations", {}).get("serving.kserve.io/deploymentMode", "Standard")
        status = self._standard(service) if mode == "Standard" else self._knative(service)
        return {"observedGeneration": service["metadata"]["generation"], "deploymentMode": mode, **status}

    def tick(self) -> None:
        """Pods that were asked for become ready."""
        for pods in self.pods.values():
            pods.ready = pods.replicas

    def _standard(self, service: dict[str, Any]) -> dict[str, Any]:
        name, spec = service["metadata"]["name"], service["spec"]
        stable, canaries = spec["predictor"], spec.get("canary") or []
        own = _deployment(name, stable)
        statuses, wanted, taken = [], {own}, 0
        for entry in canaries:
            predictor = _overlay(stable, entry["predictor"])
            deployment = _deployment(name, predictor)
            share = ceil(stable.get("minReplicas", 1) * entry["trafficPercent"] / 100)
            replicas = entry["predictor"].get("minReplicas", max(1, share))
            self._ensure(deployment, _template(service, predictor), replicas, service)
            wanted.add(deployment)
            ready = self.pods[deployment].ready >= replicas
            taken += replicas if ready else 0
            statuses.append(
                {"name": predictor["name"], "ready": ready, "trafficPercent": entry["trafficPercent"] if ready else 0}
            )
        minimum = max(1, stable.get("minReplicas", 1) - taken)
        self._ensure(own, _template(service, stable), max(minimum, self.load), service)
        for gone in [other for other in self.pods if other not in wanted]:
            del self.pods[gone]
            self.deleted.append(gone)
        self.weights = {_deployment(name, {"name": said["name"]}): said["trafficPercent"] for said in statuses}
        self.weights[own] = 100 - sum(self.weights.values())
        return {"canaryStatuses": statuses}

    def _knative(self, service: dict[str, Any]) -> dict[str, Any]:
        name, stable = service["metadata"]["name"], service["spec"]["predictor"]
        template = (_template(service, stable), stable.get("minReplicas", 1))
        if not self.revisions or self.revisions[-1][1] != template:
            revision = f"{name}-predictor-{len(self.revisions) + 1:05d}"
            self.revisions.append((revision, template))
            self._ensure(f"{revision}-deployment", template[0], template[1], service)
            self.pods[f"{revision}-deployment"].labels["serving.knative.dev/revision"] = revision
        created = self.revisions[-1][0]
        ready = [revision for revision, _ in self.revisions if self._is_ready(revision)]
        latest, percent = (ready[-1] if ready else ""), stable.get("canaryTrafficPercent", 100)
        previous = self._previous(latest, percent)
        if percent == 100 and latest == created and (not self.rolled or self.rolled[-1] != latest):
            self.rolled.append(latest)
        traffic = [{"revisionName": latest, "percent": percent if previous else 100, "latestRevision": True}]
        if percent < 100 and previous:
            traffic.append({"revisionName": previous, "percent": 100 - percent})
        if service["metadata"].get("annotations", {}).get(TAGS) == "true":
            for tag, entry in zip(("latest", "prev"), traffic, strict=False):
                entry |= {
                    "tag": tag,
                    "url": f"http://{tag}-{name}-predictor.{service['metadata']['namespace']}.example",
                }
        self.weights = {entry["revisionName"]: entry["percent"] for entry in traffic}
        for revision, _ in self.revisions:
            if revision not in (*self.weights, created):  # No route names it, so Knative scales it to zero.
                self.pods.pop(f"{revision}-deployment", None)
        component = {
            "latestCreatedRevision": created,
            "latestReadyRevision": latest,
            "latestRolledoutRevision": self.rolled[-1] if self.rolled else "",
            "previousRolledoutRevision": self.rolled[-2] if len(self.rolled) > 1 else "",
            "traffic": traffic,
        }
        return {"components": {"predictor": component}}

    def _previous(self, latest: str, percent: int) -> str:
        rolled = self.rolled[-1] if self.rolled else ""
        if rolled == latest and percent < 100:
            return self.rolled[-2] if len(self.rolled) > 1 else ""
        return rolled

    def _is_ready(self, revision: str) -> bool:
        pods = self.pods.get(f"{revision}-deployment")
        return bool(pods and pods.ready)

    def _ensure(self, name: str, template: Any, replicas: int, service: dict[str, Any]) -> None:
        pods = self.pods.get(name)
        if pods is None:
            labels = {"serving.kserve.io/inferenceservice": service["metadata"]["name"]}
            self.pods[name] = Pods(copy.deepcopy(template), replicas, labels=labels)
            return
        if pods.template != template:
            pods.template, pods.restarts, pods.ready = copy.deepcopy(template), pods.restarts + 1, 0
        pods.replicas = replicas
        pods.ready = min(pods.ready, replicas)


def _overlay(stable: dict[str, Any], canary: dict[str, Any]) -> dict[str, Any]:
    """`mergo.Merge`: what the canary leaves out, it has from the stable predictor."""
    merged = copy.deepcopy(stable)
    for key, value in canary.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _overlay(merged[key], value) if both else value
    return merged


def _template(service: dict[str, Any], predictor: dict[str, Any]) -> Any:
    """What pods are made of: annotations and labels of the InferenceService are copied to them."""
    own = {key: value for key, value in predictor.items() if key not in _SCALE}
    # The container is the runtime's, whatever `model` calls it.
    own["model"] = {key: value for key, value in (own.get("model") or {}).items() if key != "name"}
    metadata = service["metadata"]
    return copy.deepcopy([own, metadata.get("annotations", {}), metadata.get("labels", {})])


def _deployment(service: str, predictor: dict[str, Any]) -> str:
    return f"{service}-{predictor['name']}-predictor" if predictor.get("name") else f"{service}-predictor"
