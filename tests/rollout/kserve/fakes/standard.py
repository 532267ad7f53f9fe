"""KServe's controller in Standard mode: what it makes of an InferenceService, in which order, and what it writes of it.

Copied in behaviour from kserve/kserve at main of 2026-08-21 (aaac4e2), and where they differ at v0.20.0; paths below
pkg/controller/v1beta1/inferenceservice/ unless they begin with pkg/. `shared/upstream.md`, section 1, has the same by
row.
"""

from __future__ import annotations

import copy
import json
from math import ceil
from typing import Any

from .store import AUTOSCALERS, DEPLOYMENTS, SERVICE_LABEL, SERVICES, Store

CLASS = "serving.kserve.io/autoscalerClass"
MODE = "serving.kserve.io/deploymentMode"
SOURCE = "internal.serving.kserve.io/storage-initializer-sourceuri"
MODEL_FORMAT = "modelFormat"
_COMPONENT = "component"
_SCALE = ("minReplicas", "maxReplicas", "scaleMetric", "scaleMetricType", "scaleTarget", "canaryTrafficPercent", "name")
_OF_DEPLOYMENTS = ("deploymentStrategy",)


class Standard:
    """The controller. Every reconcile begins anew from what the store holds, as after a restart."""

    def __init__(self, store: Store, name: str) -> None:
        """Nothing is reconciled yet.

        Args:
            store: Where objects are.
            name: Of the InferenceService.
        """
        self.store, self.name = store, name
        self.release = "main"
        """Or `v0.20.0`."""
        self.own_generation = False
        """Whether `observedGeneration` is the InferenceService's own: in no version read; kserve#6096 would have it."""
        self.loops = False
        """Whether the storage initializer loops between error and running: then no status is written and no route
        touched (components/predictor.go:280-289, controller.go:302-304)."""
        self.weights: dict[str, int] = {}
        """Of the HTTPRoute: main alone writes them (#5912)."""

    def reconcile(self) -> None:
        """One pass (components/predictor.go:224-236; v0.20.0:224-236 has the other order)."""
        service = self.store.get(SERVICES, self.name)
        if service is None:
            return
        before = self.store.get(DEPLOYMENTS, self._stable_name(service))
        if self.release == "main":
            statuses = self._canaries(service)
            self._stable(service, statuses)
        else:
            self._stable(service, (service.get("status") or {}).get("canaryStatuses") or [])
            statuses = self._canaries(service)
        if self.loops:
            return
        self._write_status(service, statuses, before)

    def _canaries(self, service: dict[str, Any]) -> list[dict[str, Any]]:
        """Makes canaries, reads how they are, deletes what is neither stable nor canary (predictor.go:902-1035)."""
        wanted, statuses = {self._stable_name(service)}, []
        for entry in service["spec"].get("canary") or []:
            predictor = merged(service["spec"]["predictor"], entry["predictor"])
            name, replicas = deployment_name(self.name, predictor), canary_replicas(service, entry)
            # Of the component's extension only minReplicas is passed on (predictor.go:942-946).
            self._deploy(service, predictor, name, replicas, autoscaling={})
            wanted.add(name)
            status = (self.store.get(DEPLOYMENTS, name) or {}).get("status") or {}
            ready = status.get("availableReplicas", 0) > 0
            # The percent is the spec's, ready or not (predictor.go:957-979).
            statuses.append({"name": predictor["name"], "ready": ready, "trafficPercent": entry["trafficPercent"]})
        for gone in self.store.find(DEPLOYMENTS):
            if gone["metadata"]["name"] not in wanted:
                self.store.remove(DEPLOYMENTS, gone["metadata"]["name"])  # Their HPAs stay (predictor.go:1000-1035).
        return statuses

    def _stable(self, service: dict[str, Any], statuses: list[dict[str, Any]]) -> None:
        predictor = copy.deepcopy(service["spec"]["predictor"])
        ready = {status["name"] for status in statuses if status["ready"]}
        taken = sum(
            canary_replicas(service, entry)
            for entry in service["spec"].get("canary") or []
            # predictor.go:877-900; v0.20.0 counts all of them (#5984).
            if self.release != "main" or entry["predictor"]["name"] in ready
        )
        minimum = predictor.get("minReplicas")
        if minimum is not None and taken:
            minimum = max(minimum - taken, 1)
        self._deploy(service, predictor, self._stable_name(service), minimum, autoscaling=predictor)

    def _deploy(
        self,
        service: dict[str, Any],
        predictor: dict[str, Any],
        name: str,
        minimum: int | None,
        autoscaling: dict[str, Any],
    ) -> None:
        """Deployment and HPA (reconcilers/deployment/deployment_reconciler.go:140-175, 251-273, 467-501)."""
        labels, notes = pod_metadata(service, predictor)
        labels |= {"app": f"isvc.{name}"}
        spec: dict[str, Any] = {
            "selector": {"matchLabels": {"app": labels["app"]}},
            "template": {"metadata": {"labels": labels, "annotations": notes}, "spec": pod_spec(predictor)},
        }
        autoscaler = notes.get(CLASS, "hpa")
        if autoscaler == "none":
            spec["replicas"] = 1 if minimum is None else minimum  # Else it is the HPA's, and a new one begins at 1.
        metadata = {"name": name, "labels": labels, "annotations": notes}
        self.store.write(
            DEPLOYMENTS, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
        )
        if autoscaler == "hpa":
            self._autoscale(name, labels, notes, minimum, autoscaling)
        elif self.store.get(AUTOSCALERS, name):
            self.store.remove(AUTOSCALERS, name)

    def _autoscale(
        self,
        name: str,
        labels: dict[str, str],
        notes: dict[str, str],
        minimum: int | None,
        of: dict[str, Any],
    ) -> None:
        """The HPA (reconcilers/hpa/hpa_reconciler.go:60-183): CPU 80 % without a target, max never below min."""
        low = max(minimum or 1, 1)
        target = {"type": "Utilization", "averageUtilization": of.get("scaleTarget", 80)}
        metric = {"type": "Resource", "resource": {"name": of.get("scaleMetric", "cpu"), "target": target}}
        spec = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": low,
            "maxReplicas": max(of.get("maxReplicas", 0), low),
            "metrics": [metric],
        }
        metadata = {"name": name, "labels": labels, "annotations": notes}
        kind = "HorizontalPodAutoscaler"
        self.store.write(
            AUTOSCALERS, {"apiVersion": "autoscaling/v2", "kind": kind, "metadata": metadata, "spec": spec}
        )

    def _write_status(
        self, service: dict[str, Any], statuses: list[dict[str, Any]], before: dict[str, Any] | None
    ) -> None:
        """pkg/apis/serving/v1beta1/inference_service_status.go:360-457."""
        found = self.store.get(DEPLOYMENTS, self._stable_name(service)) or {}
        there = found.get("status") or {}
        ready = there.get("availableReplicas", 0) >= found.get("spec", {}).get("replicas", 1)
        conditions = [_condition("PredictorReady", ready)]
        if statuses:
            conditions.append(_condition("CanaryPredictorReady", all(each["ready"] for each in statuses)))
        # Line 455: of the stable predictor's Deployment, as it was before this pass; it has none when it was just made.
        seen = ((before or {}).get("status") or {}).get("observedGeneration", 0)
        status: dict[str, Any] = {
            "observedGeneration": service["metadata"]["generation"] if self.own_generation else seen,
            "deploymentMode": "Standard",
            "canaryStatuses": statuses,
            "conditions": conditions,
        }
        self.store.write_status(SERVICES, self.name, status)
        if ready and self.release == "main":  # reconcilers/ingress/httproute_reconciler.go:258-265, 689-743
            shown = {deployment_name(self.name, each): each["trafficPercent"] for each in statuses if each["ready"]}
            self.weights = {**shown, self._stable_name(service): 100 - sum(shown.values())}

    @staticmethod
    def has_tower(found: dict[str, Any]) -> bool:
        """Whether a Deployment or a pod brings an archive: without one TorchServe is never ready."""
        return SOURCE in (found["metadata"].get("annotations") or {})

    def _stable_name(self, service: dict[str, Any]) -> str:
        return deployment_name(self.name, service["spec"]["predictor"])


def canary_replicas(service: dict[str, Any], entry: dict[str, Any]) -> int:
    """predictor.go:861-870."""
    share = ceil(service["spec"]["predictor"].get("minReplicas", 1) * entry["trafficPercent"] / 100)
    return int(entry["predictor"].get("minReplicas", share))


def merged(stable: dict[str, Any], canary: dict[str, Any]) -> dict[str, Any]:
    """`mergo.Merge(stable, canary, WithOverride)` without the autoscaling fields (predictor.go:902-916).

    Empty values do not override, and lists replace whole.
    """
    found = copy.deepcopy(stable)
    for key, value in canary.items():
        if isinstance(value, dict) and isinstance(found.get(key), dict):
            found[key] = merged(found[key], value)
        elif value not in (None, "", 0, False, [], {}):
            found[key] = copy.deepcopy(value)
    return {key: value for key, value in found.items() if key not in _SCALE or key == "name"}


def pod_metadata(service: dict[str, Any], predictor: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Labels and annotations of Deployment and pods (predictor.go:99-173, 297-306, 501-522)."""
    metadata = service["metadata"]
    notes = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != MODEL_FORMAT}
    if uri := (predictor.get("model") or {}).get("storageUri"):
        notes[SOURCE] = uri
    own = {SERVICE_LABEL: metadata["name"], _COMPONENT: "predictor"}
    return {**(metadata.get("labels") or {}), **own}, notes


def pod_spec(predictor: dict[str, Any]) -> dict[str, Any]:
    """What pods are made of, as one container whose environment changes with any field of it.

    The container is the runtime's, whatever `model` calls it (utils/utils.go:253-263).
    """
    own = {key: value for key, value in predictor.items() if key not in (*_SCALE, *_OF_DEPLOYMENTS)}
    own["model"] = {key: value for key, value in (own.get("model") or {}).items() if key not in ("name", "storageUri")}
    env = [{"name": "PREDICTOR", "value": json.dumps(own, sort_keys=True)}]
    return {"containers": [{"name": "kserve-container", "image": "registry.k8s.io/pause:3.10", "env": env}]}


def deployment_name(service: str, predictor: dict[str, Any]) -> str:
    """pkg/constants/constants.go:802-807."""
    return f"{service}-{predictor['name']}-predictor" if predictor.get("name") else f"{service}-predictor"


def _condition(kind: str, status: bool) -> dict[str, str]:
    return {"type": kind, "status": str(status)}
