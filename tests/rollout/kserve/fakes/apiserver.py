"""The HTTP API, over real HTTP: what the Python client sends is what a cluster would get."""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from kubernetes import client

from .fields import FieldConflictError, Owned
from .knative import Knative
from .standard import MODE, Standard
from .store import DEPLOYMENTS, SERVICE_LABEL, SERVICES
from .webhook import DeniedError, admit, default
from .workloads import Workloads

SERVING = "serving.kserve.io/v1beta1"
_APPLY = "application/apply-patch+yaml"
_OBJECT = re.compile(r"/apis/([^/]+/[^/]+)/namespaces/([^/]+)/([^/]+)(?:/([^/]+))?(/status)?$")
_GENERATIONS = (SERVICES, DEPLOYMENTS)
"""Kinds whose strategy counts changes of the spec; an HPA's does not (kubernetes 1.36, pkg/registry/autoscaling)."""


class StatusError(Exception):
    """An error answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Answering(Protocol):
    """A cluster that answers requests."""

    def handle(self, method: str, url: str, content: str, body: Any) -> Any:
        """Answer one request.

        Raises:
            StatusError: With an error.
        """


class FakeCluster:
    """Objects, their history of versions, the controllers, and what a test wants to go wrong. It is a `Store`, too."""

    namespace, tower, lease = "recall", "tower", "rollout"

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Owned] = {}
        self.standard, self.knative = Standard(self, "tower"), Knative(self, "tower")
        self.workloads = Workloads(self)
        self.apis = {SERVING, "apps/v1", "autoscaling/v2", "coordination.k8s.io/v1"}
        self.denied: set[tuple[str, str]] = set()
        self.knows_canary = self.knows_fields = True
        self.failures: list[int] = []
        """Statuses of the next answers, whatever is asked."""
        self.before: Callable[[str, str], None] = lambda *_: None
        self.requests: list[tuple[str, str]] = []
        self.applied: list[dict[str, Any]] = []
        self.removed: list[tuple[str, str]] = []
        self._version = 0
        self._lock = threading.RLock()

    def create(self, plural: str, found: dict[str, Any], manager: str = "helm", operation: str = "Apply") -> None:
        """Put an object there, as `manager` would."""
        owned = Owned(found, manager, operation)
        if plural == SERVICES:
            default(owned.found)
            self.apis |= {"serving.knative.dev/v1"} if _mode(found) == "Knative" else set()
        if plural == DEPLOYMENTS:
            owned.found["spec"].setdefault("replicas", 1)
        owned.found["metadata"] |= {"namespace": self.namespace, "generation": 1}
        self.objects[(plural, found["metadata"]["name"])] = owned
        self._bump(owned)

    def service(self) -> dict[str, Any]:
        """The InferenceService."""
        return self.objects[(SERVICES, "tower")].found

    def tick(self) -> None:
        """A round of every controller; pods start."""
        with self._lock:
            self.reconcile()
            self.workloads.observe()
            self.workloads.scale()
            self.workloads.start()

    def reconcile(self) -> None:
        """A pass of KServe, in the mode of the InferenceService, and of Knative where that is its mode."""
        with self._lock:
            if _mode(self.service()) == "Knative":
                for each in (self.knative.reconcile, self.knative.configure, self.knative.route):
                    each()
            else:
                self.standard.reconcile()

    def edit(self, manager: str, body: dict[str, Any]) -> None:
        """Somebody else changes the InferenceService, as `kubectl edit` does."""
        with self._lock:
            self._change(SERVICES, "tower", lambda owned: owned.merge(body, manager))

    def upgrade(self, body: dict[str, Any], manager: str = "helm") -> None:
        """Somebody else applies the InferenceService, as helm 4 does: on the server's side, without force.

        Raises:
            FieldConflictError: Another manager has a field of it.
            DeniedError: KServe refuses it.
        """
        with self._lock:
            self._change(SERVICES, "tower", lambda owned: owned.apply(body, manager, force=False))

    def get(self, plural: str, name: str) -> dict[str, Any] | None:
        """See `Store.get`."""
        owned = self.objects.get((plural, name))
        return copy.deepcopy(owned.found) if owned else None

    def find(self, plural: str) -> list[dict[str, Any]]:
        """See `Store.find`."""
        found = [owned.found for (kind, _), owned in self.objects.items() if kind == plural]
        return copy.deepcopy([each for each in found if SERVICE_LABEL in (each["metadata"].get("labels") or {})])

    def write(self, plural: str, body: dict[str, Any]) -> None:
        """See `Store.write`."""
        name, body = body["metadata"]["name"], copy.deepcopy(body)
        if (plural, name) not in self.objects:
            self.create(plural, body, "kserve", "Update")
            return
        owned = self.objects[(plural, name)]
        spec = {**owned.found["spec"], **body["spec"]}
        changed = spec != owned.found["spec"]
        owned.found["spec"] = spec
        owned.found["metadata"] |= {key: body["metadata"][key] for key in ("labels", "annotations")}
        if changed:
            self._wrote(plural, owned, spec=True)

    def scale(self, name: str, replicas: int) -> None:
        """See `Store.scale`."""
        self._change(DEPLOYMENTS, name, lambda owned: owned.merge({"spec": {"replicas": replicas}}, "autoscaler"))

    def write_status(self, plural: str, name: str, status: dict[str, Any]) -> None:
        """See `Store.write_status`."""
        owned = self.objects[(plural, name)]
        merged = {**owned.found.get("status", {}), **status}
        if merged != owned.found.get("status"):
            owned.found["status"] = merged
            self._bump(owned)

    def remove(self, plural: str, name: str) -> None:
        """See `Store.remove`."""
        del self.objects[(plural, name)]
        self.removed.append((plural, name))

    def handle(self, method: str, url: str, content: str, body: Any) -> Any:
        """Answer one request."""
        parts = urlsplit(url)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.before(method, parts.path)
        with self._lock:
            self.requests.append((method, parts.path))
            if self.failures:
                raise StatusError(self.failures.pop(0), "injected")
            if parts.path.startswith("/openapi/v3/apis/"):
                return self._openapi()
            if parts.path.endswith("/selfsubjectaccessreviews"):
                wanted = body["spec"]["resourceAttributes"]
                return {"status": {"allowed": (wanted["verb"], wanted["resource"]) not in self.denied}}
            if parts.path.startswith("/api/v1/namespaces"):
                return body or {}
            match = _OBJECT.match(parts.path)
            if match:
                return self._object(method, match, query, content, body)
            if parts.path.removeprefix("/apis/") in self.apis:
                return {"kind": "APIResourceList"}
            raise StatusError(404, f"{parts.path} not found")

    def _object(self, method: str, match: re.Match[str], query: dict[str, str], content: str, body: Any) -> Any:
        group, namespace, plural, name, of_status = match.groups()
        if group not in self.apis:
            raise StatusError(404, f"{group} not found")
        if name is None and method == "GET":
            return {"items": self.find(plural)}
        if method == "PATCH" and content == _APPLY and (plural, name) not in self.objects:
            self.namespace = namespace
            self.create(plural, body, query["fieldManager"])
        if method == "POST":
            self.create(plural, body, "kserve", "Update")
            return body
        owned = self.objects.get((plural, name or ""))
        if owned is None:
            raise StatusError(404, f'{plural} "{name}" not found')
        if method == "DELETE":
            self.remove(plural, name)
        elif method == "PATCH" and of_status:
            self.write_status(plural, name, body["status"])
        elif method == "PATCH":
            self._patch(plural, owned, query, content, body)
        return {**owned.found, "metadata": {**owned.found["metadata"], "managedFields": owned.managed_fields()}}

    def _patch(self, plural: str, owned: Owned, query: dict[str, str], content: str, body: Any) -> None:
        expected = body["metadata"].get("resourceVersion")
        if expected and expected != owned.found["metadata"]["resourceVersion"]:
            raise StatusError(409, "the object has been modified; please apply your changes to the latest version")
        patch = json.loads(json.dumps(body))
        patch["metadata"].pop("resourceVersion", None)
        if content == _APPLY:
            self.applied.append(patch)

        def change(owned: Owned) -> None:
            if content == _APPLY:
                owned.apply(patch, query["fieldManager"], force=query.get("force") == "true")
            else:
                owned.merge(patch, query.get("fieldManager", "unknown"))

        try:
            self._change(plural, owned.found["metadata"]["name"], change)
        except FieldConflictError as error:
            raise StatusError(409, str(error)) from None
        except DeniedError as error:
            raise StatusError(422, f"admission webhook denied the request: {error}") from None

    def _change(self, plural: str, name: str, change: Callable[[Owned], object]) -> None:
        """All or nothing, with admission before it is written."""
        owned = self.objects[(plural, name)]
        trial = _copy(owned)
        change(trial)
        if plural == SERVICES:
            default(trial.found)
            admit(trial.found, owned.found)
        spec = trial.found.get("spec") != owned.found.get("spec")
        changed = trial.found != owned.found or trial.owners != owned.owners
        owned.found, owned.owners = trial.found, trial.owners
        if changed:
            self._wrote(plural, owned, spec=spec)

    def _wrote(self, plural: str, owned: Owned, *, spec: bool) -> None:
        self._bump(owned)
        if spec and plural in _GENERATIONS:
            owned.found["metadata"]["generation"] += 1

    def _bump(self, owned: Owned) -> None:
        self._version += 1
        owned.found["metadata"]["resourceVersion"] = str(self._version)

    def _openapi(self) -> dict[str, Any]:
        spec = {"predictor": {}, **({"canary": {}} if self.knows_canary else {})} if self.knows_fields else {}
        service = {"properties": {"spec": {"properties": spec}}}
        return {"components": {"schemas": {"io.kserve.serving.v1beta1.InferenceService": service}}}


def _mode(service: dict[str, Any]) -> str | None:
    return (service["metadata"].get("annotations") or {}).get(MODE)


def _copy(owned: Owned) -> Owned:
    other = Owned(owned.found, "copy")
    other.owners = {key: set(paths) for key, paths in owned.owners.items()}
    return other


@contextmanager
def served(cluster: Answering) -> Iterator[client.ApiClient]:
    """A client of the cluster, over HTTP on a port of the loopback; an answer that is a text is sent as such."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            try:
                code, found = 200, cluster.handle(self.command, self.path, self.headers.get("Content-Type", ""), body)
            except StatusError as error:
                code, found = error.code, {"kind": "Status", "message": str(error), "code": error.code}
            text = isinstance(found, str)
            content = found.encode() if text else json.dumps(found).encode()
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if text else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PATCH = do_POST = do_DELETE = answer  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    configuration = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
    configuration.retries = False
    api = client.ApiClient(configuration)
    try:
        yield api
    finally:
        api.close()
        server.shutdown()
        server.server_close()
        thread.join()
