"""KServe's controller in Knative mode, and of Knative Serving what it looks at.

KServe at main of 2026-08-21 (pkg/controller/v1beta1/inferenceservice/reconcilers/knative/ksvc_reconciler.go:60-275,
pkg/apis/serving/v1beta1/inference_service_status.go:567-635), Knative Serving at main of the same day
(pkg/reconciler/{service,configuration,route,revision}).
"""

from __future__ import annotations

from typing import Any

from .standard import pod_metadata, pod_spec
from .store import DEPLOYMENTS, SERVICE_LABEL, SERVICES, Store

TAGS = "serving.kserve.io/enable-tag-routing"
REVISION = "serving.knative.dev/revision"


class Knative:
    """Both controllers; each of `reconcile`, `configure` and `route` is one pass of one of them."""

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name = store, name
        self.own_generation = False
        self.load = 0
        """Pods that the autoscaler wants of the revision with the most traffic."""
        self.revisions: list[tuple[str, dict[str, Any]]] = []
        self._template: dict[str, Any] | None = None
        self._targets: list[dict[str, Any]] = []
        self._generation = 0
        self._status: dict[str, Any] = {}

    @property
    def weights(self) -> dict[str, int]:
        """Percent by revision."""
        found: dict[str, int] = {}
        for entry in self._status.get("traffic", []):
            found[entry["revisionName"]] = found.get(entry["revisionName"], 0) + entry["percent"]
        return found

    def reconcile(self) -> None:
        """KServe's: the Knative Service as it shall be, then its status as it was (one step behind)."""
        service = self.store.get(SERVICES, self.name)
        if service is None:
            return
        component = ((service.get("status") or {}).get("components") or {}).get("predictor") or {}
        template, targets = _template(service), _targets(service, component.get("latestRolledoutRevision", ""))
        if (template, targets) != (self._template, self._targets):
            self._generation += 1
            self._template, self._targets = template, targets
        status = {
            "deploymentMode": "Knative",
            # Line 635: the Knative Service's.
            "observedGeneration": service["metadata"]["generation"]
            if self.own_generation
            else self._status.get("observedGeneration", 0),
            "components": {"predictor": _propagate(dict(component), self._status)},
        }
        self.store.write_status(SERVICES, self.name, status)

    def configure(self) -> None:
        """Knative's Configuration: a new revision for each template, the newest ready one."""
        if self._template is None:
            return
        if not self.revisions or self.revisions[-1][1] != self._template:
            name = f"{self.name}-predictor-{len(self.revisions) + 1:05d}"
            self.revisions.append((name, self._template))
            self._deploy(name, max(1, self._template["minimum"]))
        ready = [name for name, _ in self.revisions if self._ready(name)]
        self._status |= {
            "latestCreatedRevisionName": self.revisions[-1][0],
            "latestReadyRevisionName": ready[-1] if ready else "",
            "observedGeneration": self._generation,
        }

    def route(self) -> None:
        """Knative's Route: targets resolved to revisions; what is not routed scales to zero whatever its minimum."""
        latest = self._status.get("latestReadyRevisionName", "")
        if not latest:
            return
        traffic = []
        for target in self._targets:
            entry = {**target, "revisionName": target.get("revisionName") or latest}
            if tag := target.get("tag"):
                entry["url"] = f"http://{tag}-{self.name}-predictor.{self.store.namespace}.example.com"
            traffic.append(entry)
        self._status["traffic"] = traffic
        busiest = max(self.weights, key=lambda name: self.weights[name])
        created = self._status["latestCreatedRevisionName"]
        for name, template in self.revisions:
            if name in self.weights or name == created:
                self._deploy(name, max(1, template["minimum"], self.load if name == busiest else 0))
            elif (found := self.store.get(DEPLOYMENTS, f"{name}-deployment")) and found["spec"]["replicas"]:
                self._deploy(name, 0)

    def _deploy(self, revision: str, replicas: int) -> None:
        template = dict(self.revisions)[revision]
        labels = {**template["labels"], REVISION: revision}
        # `autoscaling.knative.dev/*` apart, a revision's annotations are its Deployment's (revision/resources/meta.go).
        metadata = {"name": f"{revision}-deployment", "labels": labels, "annotations": template["annotations"]}
        pods = {"metadata": {"labels": labels, "annotations": template["annotations"]}, "spec": template["spec"]}
        spec = {"replicas": replicas, "selector": {"matchLabels": {REVISION: revision}}, "template": pods}
        self.store.write(
            DEPLOYMENTS, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
        )

    def _ready(self, revision: str) -> bool:
        """Once its minimum is ready (pkg/reconciler/autoscaling/kpa/kpa.go:286-334); it stays so at zero."""
        found = self.store.get(DEPLOYMENTS, f"{revision}-deployment") or {}
        ready = (found.get("status") or {}).get("readyReplicas", 0)
        return ready >= max(1, dict(self.revisions)[revision]["minimum"]) or revision == self._status.get(
            "latestReadyRevisionName"
        )


def _template(service: dict[str, Any]) -> dict[str, Any]:
    """Everything that makes a new revision: labels, annotations (min and max scale are some of them), the pod."""
    predictor = service["spec"]["predictor"]
    labels, notes = pod_metadata(service, predictor)
    scale = {key: predictor.get(key) for key in ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget")}
    return {
        "labels": labels | {SERVICE_LABEL: service["metadata"]["name"]},
        "annotations": notes,
        "spec": pod_spec(predictor),
        "scale": scale,
        "minimum": predictor.get("minReplicas", 1),
    }


def _targets(service: dict[str, Any], rolled: str) -> list[dict[str, Any]]:
    """ksvc_reconciler.go:123-164."""
    percent = service["spec"]["predictor"].get("canaryTrafficPercent")
    split = percent is not None and bool(rolled)
    latest: dict[str, Any] = {"latestRevision": True, "percent": percent if split else 100}
    if (service["metadata"].get("annotations") or {}).get(TAGS) == "true":
        latest["tag"] = "latest"
    if not split or percent == 100:
        return [latest]
    return [latest, {"latestRevision": False, "revisionName": rolled, "percent": 100 - percent, "tag": "prev"}]


def _propagate(found: dict[str, Any], of: dict[str, Any]) -> dict[str, Any]:
    """inference_service_status.go:567-634."""
    if not of:
        return found
    latest, created = of.get("latestReadyRevisionName", ""), of.get("latestCreatedRevisionName", "")
    traffic = of.get("traffic", [])
    for entry in traffic:
        if entry["revisionName"] != latest or not entry["latestRevision"]:
            continue
        if found.get("latestRolledoutRevision", "") != latest:
            if entry["percent"] == 100:
                found["previousRolledoutRevision"] = found.get("latestRolledoutRevision", "")
                found["latestRolledoutRevision"] = latest
        elif latest == created and entry["percent"] < 100:
            total = sum(each["percent"] for each in traffic if each["revisionName"] == latest)
            if total == 100 and found.get("previousRolledoutRevision"):
                found["latestRolledoutRevision"] = found["previousRolledoutRevision"]
    return {**found, "latestCreatedRevision": created, "latestReadyRevision": latest, "traffic": traffic}
