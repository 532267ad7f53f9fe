"""The HTTP API, over real HTTP: what the Python client sends is what a cluster would get."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes import client

from .controllers import Controllers
from .fields import FieldConflictError, Owned
from .webhook import INFERENCE_SERVICE, DeniedError, admit, schema

SERVING = "serving.kserve.io/v1beta1"
_APPLY = "application/apply-patch+yaml"
_OBJECT = re.compile(r"/apis/([^/]+/[^/]+)/namespaces/([^/]+)/([^/]+)(?:/([^/]+))?(/status)?$")


class StatusError(Exception):
    """An error answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class FakeCluster:
    """Objects, their history of versions, and what a test wants to go wrong."""

    namespace = "recall"

    def __init__(self) -> None:
        schema(INFERENCE_SERVICE)  # Without the schemas a test is skipped here: the server's threads cannot.
        self.objects: dict[tuple[str, str], Owned] = {}
        self.controllers = Controllers()
        self.apis = {SERVING, "apps/v1", "coordination.k8s.io/v1", "gateway.networking.k8s.io/v1"}
        self.denied: set[tuple[str, str]] = set()
        self.knows_canary = True
        self.failures: list[int] = []
        """Statuses of the next answers, whatever is asked."""
        self.before: Callable[[str, str], None] = lambda *_: None
        self.requests: list[tuple[str, str]] = []
        self.applied: list[dict[str, Any]] = []
        self._version = 0
        self._lock = threading.RLock()

    def create(self, plural: str, found: dict[str, Any], manager: str = "helm", operation: str = "Apply") -> None:
        """Put an object there, as `manager` would."""
        owned = Owned(found, manager, operation)
        owned.found["metadata"] |= {"namespace": self.namespace, "generation": 1}
        self.objects[(plural, found["metadata"]["name"])] = owned
        self._bump(owned)
        self.settle()

    def service(self) -> dict[str, Any]:
        """The InferenceService."""
        return self.objects[("inferenceservices", "tower")].found

    def settle(self) -> None:
        """Controllers do what there is to do, then write the status."""
        for (plural, _), owned in self.objects.items():
            if plural == "inferenceservices":
                status = self.controllers.reconcile(owned.found)
                if status != owned.found.get("status"):
                    owned.found["status"] = status
                    self._bump(owned)

    def tick(self) -> None:
        """Pods start; controllers follow."""
        with self._lock:
            self.controllers.tick()
            for _ in range(2):
                self.settle()

    def edit(self, manager: str, body: dict[str, Any]) -> None:
        """Somebody else changes the InferenceService."""
        with self._lock:
            owned = self.objects[("inferenceservices", "tower")]
            owned.merge(body, manager)
            self._wrote(owned, spec=True)

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
        if method == "PATCH" and (of_status or plural in ("deployments", "httproutes")):
            self.tick()  # Somebody plays the controllers; ours do what theirs would.
            return {"metadata": {"generation": 1}}
        if plural == "deployments":
            return {"items": [self._deployment(each) for each in self.controllers.pods]}
        if plural == "httproutes":
            return self._route(name)
        if method == "PATCH" and content == _APPLY and (plural, name) not in self.objects:
            self.namespace = namespace
            self.create(plural, body, query["fieldManager"])
        owned = self.objects.get((plural, name))
        if owned is None:
            raise StatusError(404, f'{plural} "{name}" not found')
        if method == "PATCH":
            self._patch(plural, owned, query, content, body)
        return {**owned.found, "metadata": {**owned.found["metadata"], "managedFields": owned.managed_fields()}}

    def _patch(self, plural: str, owned: Owned, query: dict[str, str], content: str, body: Any) -> None:
        expected = body["metadata"].get("resourceVersion")
        if expected and expected != owned.found["metadata"]["resourceVersion"]:
            raise StatusError(409, "the object has been modified; please apply your changes to the latest version")
        patch = json.loads(json.dumps(body))
        patch["metadata"].pop("resourceVersion", None)
        trial = _copy(owned)
        spec = json.dumps(trial.found.get("spec"), sort_keys=True)
        try:
            if content == _APPLY:
                self.applied.append(patch)
                trial.apply(patch, query["fieldManager"], force=query.get("force") == "true")
            else:
                trial.merge(patch, query.get("fieldManager", "unknown"))
            if plural == "inferenceservices":
                admit(trial.found, owned.found)
        except FieldConflictError as error:
            raise StatusError(409, str(error)) from None
        except DeniedError as error:
            raise StatusError(422, f"admission webhook denied the request: {error}") from None
        changed = trial.found != owned.found or trial.owners != owned.owners
        owned.found, owned.owners = trial.found, trial.owners
        if changed:
            self._wrote(owned, spec=json.dumps(owned.found.get("spec"), sort_keys=True) != spec)

    def _wrote(self, owned: Owned, *, spec: bool) -> None:
        self._bump(owned)
        if spec:
            owned.found["metadata"]["generation"] += 1
            self.settle()

    def _bump(self, owned: Owned) -> None:
        self._version += 1
        owned.found["metadata"]["resourceVersion"] = str(self._version)

    def _deployment(self, name: str) -> dict[str, Any]:
        pods = self.controllers.pods[name]
        return {
            "metadata": {"name": name, "labels": pods.labels, "generation": 1},
            "spec": {"replicas": pods.replicas},
            "status": {
                "observedGeneration": 1,
                "replicas": pods.replicas,
                "updatedReplicas": pods.replicas,
                "readyReplicas": pods.ready,
            },
        }

    def _route(self, name: str) -> dict[str, Any]:
        if name != "tower-predictor" or "no route" in self.apis:
            raise StatusError(404, "not found")
        refused = "no gateway" in self.apis
        return {"status": {"parents": [{"conditions": [{"type": "Accepted", "status": str(not refused)}]}]}}

    def _openapi(self) -> dict[str, Any]:
        spec = {"predictor": {}, **({"canary": {}} if self.knows_canary else {})}
        service = {"properties": {"spec": {"properties": spec}}}
        return {"components": {"schemas": {"io.kserve.serving.v1beta1.InferenceService": service}}}


def _copy(owned: Owned) -> Owned:
    other = Owned(owned.found, "copy")
    other.owners = {key: set(paths) for key, paths in owned.owners.items()}
    return other


@contextmanager
def served(cluster: FakeCluster) -> Iterator[client.ApiClient]:
    """A client of the cluster, over HTTP on a port of the loopback."""

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
            content = json.dumps(found).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
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
