"""Kubernetes' own part: Deployments observed, pods that start, HorizontalPodAutoscalers.

kubernetes 1.36: pkg/controller/deployment/sync.go (status), pkg/controller/podautoscaler/horizontal.go (bounds first;
without a metric nothing else). Strategy is maxUnavailable 0, as in the chart: ready pods of the old template stay
until new ones are.
"""

from __future__ import annotations

import json
from math import ceil
from typing import Any

from .standard import Standard, deployment_name
from .store import AUTOSCALERS, DEPLOYMENTS, SERVICE_LABEL, SERVICES, Store


class Workloads:
    """Controllers and kubelet of one namespace."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.load: int | None = None
        """Replicas that the metric asks for where an autoscaler is, of both arms; None: there are no metrics."""
        self.restarts = 0
        self._running: dict[str, tuple[str, int]] = {}
        """By Deployment: the template that its ready pods run, and how many they are."""

    def observe(self) -> None:
        """The Deployment controller: counts, and the generation that it has seen."""
        for found in self.store.find(DEPLOYMENTS):
            name, replicas, template = found["metadata"]["name"], found["spec"]["replicas"], _template(found)
            running, ready = self._running.get(name, (template, 0))
            ready = min(ready, replicas)
            self._running[name] = (running, ready)
            self._write(found, updated=ready if running == template else 0, ready=ready)
        there = {found["metadata"]["name"] for found in self.store.find(DEPLOYMENTS)}
        self._running = {name: pods for name, pods in self._running.items() if name in there}

    def start(self) -> None:
        """The kubelet: every pod that was asked for is ready, of the present template; but those without a tower."""
        for found in self.store.find(DEPLOYMENTS):
            if not Standard.has_tower(found):
                continue
            name, replicas, template = found["metadata"]["name"], found["spec"]["replicas"], _template(found)
            running, ready = self._running.get(name, (template, 0))
            self.restarts += running != template and ready > 0
            self._running[name] = (template, replicas)
            self._write(found, updated=replicas, ready=replicas)

    def scale(self) -> None:
        """The autoscaler (horizontal.go:860-900): bounds first, and then no metrics are written."""
        for found in self.store.find(AUTOSCALERS):
            name, spec = found["metadata"]["name"], found["spec"]
            deployment = self.store.get(DEPLOYMENTS, name)
            if deployment is None:
                continue  # FailedGetScale, for ever.
            present = deployment["spec"]["replicas"]
            bounded = min(max(present, spec["minReplicas"]), spec["maxReplicas"])
            metrics, desired = [], bounded
            if self.load is not None and bounded == present:
                load, target = self.load * self._share(found) / 100, spec["metrics"][0]["resource"]
                used = round(target["target"]["averageUtilization"] * load / max(1, present))
                current = {"averageUtilization": used, "averageValue": "1"}
                metrics = [{"type": "Resource", "resource": {"name": target["name"], "current": current}}]
                desired = min(max(ceil(load), spec["minReplicas"]), spec["maxReplicas"])
            status: dict[str, Any] = {"currentReplicas": present, "desiredReplicas": desired, "currentMetrics": metrics}
            self.store.write_status(AUTOSCALERS, name, status)
            if desired != present:
                self.store.scale(name, desired)

    def _share(self, autoscaler: dict[str, Any]) -> int:
        """Percent of the users that recall sends to a predictor."""
        name = autoscaler["metadata"]["labels"][SERVICE_LABEL]
        spec = (self.store.get(SERVICES, name) or {}).get("spec") or {}
        shares = {
            deployment_name(name, each["predictor"]): int(each["trafficPercent"]) for each in spec.get("canary") or []
        }
        return shares.get(autoscaler["metadata"]["name"], 100 - sum(shares.values()))

    def _write(self, found: dict[str, Any], *, updated: int, ready: int) -> None:
        counts = {"replicas": max(ready, updated), "updatedReplicas": updated}
        counts |= {"readyReplicas": ready, "availableReplicas": ready}
        status = {"observedGeneration": found["metadata"]["generation"], **counts}
        if status != {key: (found.get("status") or {}).get(key) for key in status}:
            self.store.write_status(DEPLOYMENTS, found["metadata"]["name"], status)


def _template(found: dict[str, Any]) -> str:
    return json.dumps(found["spec"]["template"], sort_keys=True)
