"""A namespace of a cluster that is known by its HTTP API alone."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from kubernetes import client

from pagoda.rollout.backends.kserve.objects import (
    APPS,
    LEASES,
    ROUTES,
    SERVICE_LABEL,
    SERVICES,
    SERVING,
    deployment_name,
)

_APPLY, _MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
_GROUPS = {SERVICES: SERVING, "leases": LEASES, "deployments": APPS, "httproutes": ROUTES}
_IMAGE = "registry.k8s.io/pause:3.10"


class RemoteNamespace:
    """Made for one test, and gone after it.

    What KServe's controllers and the Deployments' would make of the InferenceService is written by `tick`: the runtime
    that it names is not there, so KServe itself makes nothing of it, where it runs at all.
    """

    def __init__(self, api: client.ApiClient) -> None:
        """Make it."""
        self.api, self.namespace = api, f"pagoda-test-{secrets.token_hex(4)}"
        self._call("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}}, "application/json")

    def close(self) -> None:
        """Delete it, with all that is in it."""
        self._call("DELETE", f"/api/v1/namespaces/{self.namespace}")

    def create(self, plural: str, found: dict[str, Any]) -> None:
        """See `Place.create`; helm 4 applies on the server's side."""
        self._apply(plural, found)

    def service(self) -> dict[str, Any]:
        """See `Place.service`."""
        return self._call("GET", self._path(SERVICES, "tower"))

    def edit(self, labels: dict[str, str]) -> None:
        """Somebody else changes the InferenceService."""
        self._call("PATCH", self._path(SERVICES, "tower"), {"metadata": {"labels": labels}}, _MERGE)

    def tick(self) -> None:
        """See `Place.tick`."""
        service = self.service()
        predictor = service["spec"]["predictor"]
        for each in (predictor, *(entry["predictor"] for entry in service["spec"].get("canary", []))):
            self._run(deployment_name("tower", each.get("name", "")), each.get("minReplicas", 1))
        self._route()
        seen = {"observedGeneration": service["metadata"]["generation"], "deploymentMode": "Standard"}
        self._status(SERVICES, "tower", seen)

    def _run(self, name: str, replicas: int) -> None:
        labels = {"app": name}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "pause", "image": _IMAGE}]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}
        metadata = {"name": name, "labels": {SERVICE_LABEL: "tower"}}
        made = self._apply(
            "deployments", {"apiVersion": APPS, "kind": "Deployment", "metadata": metadata, "spec": spec}
        )
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas)
        self._status("deployments", name, {"observedGeneration": made["metadata"]["generation"], **counts})

    def _route(self) -> None:
        name, gateway = "tower-predictor", {"name": "gateway"}
        spec = {"parentRefs": [gateway]}
        self._apply("httproutes", {"apiVersion": ROUTES, "kind": "HTTPRoute", "metadata": {"name": name}, "spec": spec})
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        accepted = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""}
        parent = {"parentRef": gateway, "controllerName": "pagoda.dev/test"}
        self._status(
            "httproutes", name, {"parents": [{**parent, "conditions": [{**accepted, "lastTransitionTime": now}]}]}
        )

    def _apply(self, plural: str, body: dict[str, Any]) -> dict[str, Any]:
        path = f"{self._path(plural, body['metadata']['name'])}?fieldManager=helm"
        return self._call("PATCH", path, body, _APPLY)

    def _status(self, plural: str, name: str, status: dict[str, Any]) -> None:
        self._call("PATCH", f"{self._path(plural, name)}/status", {"status": status}, _MERGE)

    def _path(self, plural: str, name: str) -> str:
        return f"/apis/{_GROUPS[plural]}/namespaces/{self.namespace}/{plural}/{name}"

    def _call(self, method: str, path: str, body: Any = None, content: str = "application/json") -> dict[str, Any]:
        found = self.api.call_api(
            path,
            method,
            header_params={"Accept": "application/json", "Content-Type": content},
            body=body,
            response_type="object",
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
        )
        return dict(found)
