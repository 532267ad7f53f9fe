"""A namespace of a real API server, known by its HTTP API alone. It is a `Store` for the controllers that stand in.

KServe's own controller makes nothing of what is here, even where it runs: the runtime that the InferenceService names
is not there. Kubernetes' controllers are asked for: where they run they do their part, and only the kubelet's is
played.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from kubernetes import client

from pagoda.rollout.backends.kserve.objects import APPS, AUTOSCALING, LEASES, SERVING
from tests.rollout.kserve.fakes.standard import Standard
from tests.rollout.kserve.fakes.store import AUTOSCALERS, DEPLOYMENTS, SERVICE_LABEL, SERVICES
from tests.rollout.kserve.fakes.workloads import Workloads

_APPLY, _MERGE, _JSON = "application/apply-patch+yaml", "application/merge-patch+json", "application/json"
_GROUPS = {SERVICES: SERVING, "leases": LEASES, DEPLOYMENTS: APPS, AUTOSCALERS: AUTOSCALING}
_PATIENCE_SECONDS, _PAUSE_SECONDS = 20.0, 0.1


class RemoteNamespace:
    """Made for one test, and gone after it."""

    def __init__(
        self, api: client.ApiClient, tower: str = "tower", lease: str = "rollout", *, controllers: bool | None = None
    ) -> None:
        """Make it.

        Args:
            api: Of the server.
            tower: Name of the InferenceService.
            lease: Name of the driver's Lease.
            controllers: Whether Kubernetes' own run there; None: wait a while for what they write.
        """
        self.tower, self.lease = tower, lease
        self.api, self.namespace = api, f"pagoda-test-{secrets.token_hex(4)}"
        self._call("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        self.standard, self.workloads = Standard(self, tower), Workloads(self)
        self._controllers = controllers

    def close(self) -> None:
        """Delete it, with all that is in it."""
        self._call("DELETE", f"/api/v1/namespaces/{self.namespace}")

    def create(self, plural: str, found: dict[str, Any]) -> None:
        """See `Place.create`; helm 4 applies on the server's side."""
        self.upgrade(found, plural=plural)

    def service(self) -> dict[str, Any]:
        """See `Place.service`."""
        return self._call("GET", self._path(SERVICES, self.tower))

    def edit(self, manager: str, body: dict[str, Any]) -> None:
        """Somebody else changes the InferenceService."""
        self._call("PATCH", f"{self._path(SERVICES, self.tower)}?fieldManager={manager}", body, _MERGE)

    def upgrade(self, body: dict[str, Any], manager: str = "helm", plural: str = SERVICES) -> None:
        """Somebody else applies an object on the server's side, without force.

        Raises:
            client.ApiException: 409: another manager has a field of it; 422: it is refused.
        """
        path = f"{self._path(plural, body['metadata']['name'])}?fieldManager={manager}&fieldValidation=Strict"
        self._call("PATCH", path, body, _APPLY)

    def tick(self) -> None:
        """See `Place.tick`."""
        self.standard.reconcile()
        if not self._has_controllers():
            self.workloads.observe()
            self.workloads.scale()
            self.workloads.start()
            return
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            self._start_pods()
            if all(map(_settled, self.find(DEPLOYMENTS))):
                return
            time.sleep(_PAUSE_SECONDS)

    def get(self, plural: str, name: str) -> dict[str, Any] | None:
        """See `Store.get`."""
        with _gone():
            return self._call("GET", self._path(plural, name))
        return None

    def find(self, plural: str) -> list[dict[str, Any]]:
        """See `Store.find`."""
        items = self._call("GET", f"{self._path(plural, '')}?labelSelector={SERVICE_LABEL}")["items"]
        return [each for each in items if "deletionTimestamp" not in each["metadata"]]

    def write(self, plural: str, body: dict[str, Any]) -> None:
        """See `Store.write`.

        KServe makes an object or patches it (deployment_reconciler.go:467-501): replicas that it leaves out stay.
        """
        if self.get(plural, body["metadata"]["name"]) is None:
            self._call("POST", self._path(plural, ""), body)
        else:
            self._call("PATCH", f"{self._path(plural, body['metadata']['name'])}?fieldManager=kserve", body, _MERGE)

    def scale(self, name: str, replicas: int) -> None:
        """See `Store.scale`."""
        path = f"{self._path(DEPLOYMENTS, name)}?fieldManager=autoscaler"
        self._call("PATCH", path, {"spec": {"replicas": replicas}}, _MERGE)

    def write_status(self, plural: str, name: str, status: dict[str, Any]) -> None:
        """See `Store.write_status`."""
        self._call("PATCH", f"{self._path(plural, name)}/status", {"status": status}, _MERGE)

    def remove(self, plural: str, name: str) -> None:
        """See `Store.remove`."""
        self._call("DELETE", self._path(plural, name))

    def _has_controllers(self) -> bool:
        """Whether Kubernetes' controllers run: then they see the first Deployment within seconds."""
        if self._controllers is None:
            deadline = time.monotonic() + 5
            while not self._controllers and time.monotonic() < deadline:
                self._controllers = any(each.get("status") for each in self.find(DEPLOYMENTS))
                time.sleep(_PAUSE_SECONDS)
        return bool(self._controllers)

    def _start_pods(self) -> None:
        """The kubelet's part; pods without a tower never answer their probe."""
        pods = f"/api/v1/namespaces/{self.namespace}/pods"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = [{"type": "Ready", "status": "True", "lastTransitionTime": now}]
        for pod in self._call("GET", pods)["items"]:
            started = any(each["type"] == "Ready" for each in pod["status"].get("conditions", []))
            if not started and self.standard.has_tower(pod):
                status = {"phase": "Running", "conditions": ready}
                with _gone():
                    self._call("PATCH", f"{pods}/{pod['metadata']['name']}/status", {"status": status}, _MERGE)

    def _path(self, plural: str, name: str) -> str:
        return f"/apis/{_GROUPS[plural]}/namespaces/{self.namespace}/{plural}/{name}".rstrip("/")

    def _call(self, method: str, path: str, body: Any = None, content: str = _JSON) -> dict[str, Any]:
        found = self.api.call_api(
            path,
            method,
            header_params={"Accept": _JSON, "Content-Type": content},
            body=body,
            response_type="object",
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
        )
        return dict(found)


@contextmanager
def _gone() -> Iterator[None]:
    """What is not there, or no longer, is no failure."""
    try:
        yield
    except client.ApiException as error:
        if error.status != 404:
            raise


def _settled(deployment: dict[str, Any]) -> bool:
    """Whether its controller has done all that it can: pods without a tower stay as they are."""
    status, wanted = deployment.get("status") or {}, deployment["spec"]["replicas"]
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return False
    return not Standard.has_tower(deployment) or (
        status.get("updatedReplicas", 0) == status.get("replicas", 0) == status.get("availableReplicas", 0) == wanted
    )
