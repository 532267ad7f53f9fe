"""Kubeflow Pipelines' HTTP API (v2beta1), as much as Pagoda uses, in the shapes that its own client understands.

It behaves as kubeflow/pipelines 2.17.0 does; paths are below backend/src of that version.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api as api
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipelines.compile import COMPILED

from .fake_runs import FakeRuns, RefusedError, Row, checked, filtered

PREFIX = "/apis/v2beta1"
OWN_NAMESPACE = "kubeflow"
"""Of the API server."""
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"


@dataclass
class FakeKubeflow(FakeRuns):
    """What the server holds, and what it was asked."""

    store: str = "database"
    """Where pipelines are: `database`, or `kubernetes` where it runs with --pipelinesStoreKubernetes=true."""
    pipelines: list[Row] = field(default_factory=list)
    resources: list[Row] = field(default_factory=list)
    """Pipeline resources in the cluster, which a server with a database does not look at."""
    experiments: list[Row] = field(default_factory=list)
    authorization: set[str | None] = field(default_factory=set)
    refuse: str = ""
    """Path that is answered with 503."""
    url: str = ""

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, kind: str) -> Row:
        """The answer to one request."""
        if self.refuse and self.refuse in path:
            raise RefusedError(503, "the database is away")
        for verb, pattern, handler in self._routes():
            if verb == method and (match := re.fullmatch(PREFIX + pattern, path)):
                return handler(query, body, kind, *match.groups())
        raise RefusedError(404, f"no route for {method} {path}")

    def apply(self, name: str, namespace: str, display_name: str | None = None) -> None:
        """A Pipeline resource and a PipelineVersion, as `kubectl apply` makes them."""
        row = {"name": name, "namespace": namespace} | ({"display_name": display_name} if display_name else {})
        pipeline = self.new("pipeline", self.resources, row)
        spec = checked_pipeline((COMPILED / f"{name}.yaml").read_text())
        version = {"pipeline_id": pipeline["pipeline_id"], "display_name": f"{name}-1", "pipeline_spec": spec}
        self.new("pipeline_version", self.versions, version)

    def _routes(self) -> list[tuple[str, str, Any]]:
        return [
            ("GET", "/healthz", self._health),
            ("GET", "/pipelines", self._list_pipelines),
            ("POST", "/pipelines/upload", self._upload),
            ("POST", "/pipelines/upload_version", self._upload_version),
            ("GET", r"/pipelines/([\w-]+)/versions", self._list_versions),
            ("GET", "/experiments", self._list_experiments),
            ("POST", "/experiments", self._create_experiment),
            ("GET", "/recurringruns", self.list_recurring),
            ("POST", "/recurringruns", self.create_recurring),
            ("POST", r"/recurringruns/([\w-]+):disable", self.disable_recurring),
            ("DELETE", r"/recurringruns/([\w-]+)", self.delete_recurring),
            ("GET", "/runs", self.list_runs),
            ("POST", "/runs", self.create_run),
        ]

    def _health(self, *_: Any) -> Row:
        return {"multi_user": self.multi_user, "pipeline_store": self.store}  # apiserver/main.go:469

    def _namespace(self, query: dict[str, str], body: Row | None = None) -> str:
        """A single user's is not looked at (apiserver/resource/resource_manager.go:2456, ReplaceNamespace)."""
        if not self.multi_user:
            return ""
        namespace = str((body or query).get("namespace") or "")
        if not namespace:
            raise RefusedError(400, "A namespace is required in multi-user mode")
        return namespace

    def _list_pipelines(self, query: dict[str, str], *_: Any) -> Row:
        """Of the cluster, a single user's server caches its own namespace alone (client_manager.go:227).

        The filter compares `spec.displayName`, which an unset one never equals, though what is then listed has the
        resource's name there (crd/kubernetes/v2beta1/pipeline_types.go:94 and ToModel).
        """
        namespace = self._namespace(query)
        if self.store == "database":
            return {"pipelines": [one for one in filtered(self.pipelines, query) if one["namespace"] == namespace]}
        rows = [one for one in filtered(self.resources, query) if one["namespace"] == (namespace or OWN_NAMESPACE)]
        return {"pipelines": [{"display_name": one["name"], **one} for one in rows]}

    def _upload(self, query: dict[str, str], body: bytes, kind: str) -> Row:
        """A pipeline and a first version of its name; the display name is the name (pipeline_upload_server.go)."""
        namespace = self._namespace(query)
        if self.store == "kubernetes" and not re.fullmatch(_SUBDOMAIN, query["name"]):
            raise RefusedError(400, f"Invalid pipeline name {query['name']!r}")  # pipeline_store_kubernetes.go:230
        rows = self.pipelines if self.store == "database" else self.resources
        if any(one["display_name"] == query["name"] for one in rows):
            raise RefusedError(409, "The name exists already")
        row = {"name": query["name"], "display_name": query["name"], "description": query.get("description")}
        pipeline = self.new("pipeline", rows, {**row, "namespace": namespace or self._own_namespace})
        self._add_version(pipeline["pipeline_id"], query["name"], body, kind)
        return pipeline

    @property
    def _own_namespace(self) -> str:
        return OWN_NAMESPACE if self.store == "kubernetes" else ""

    def _upload_version(self, query: dict[str, str], body: bytes, kind: str) -> Row:
        return self._add_version(query["pipelineid"], query["name"], body, kind)

    def _add_version(self, pipeline_id: str, name: str, body: bytes, kind: str) -> Row:
        if any((one["pipeline_id"], one["display_name"]) == (pipeline_id, name) for one in self.versions):
            raise RefusedError(409, "The version exists already")
        spec = checked_pipeline(_uploaded(body, kind))
        return self.new(
            "pipeline_version",
            self.versions,
            {"pipeline_id": pipeline_id, "display_name": name, "pipeline_spec": spec},
        )

    def _list_versions(self, query: dict[str, str], _: bytes, __: str, pipeline_id: str) -> Row:
        rows = [one for one in filtered(self.versions, query) if one["pipeline_id"] == pipeline_id]
        if query.get("sort_by") == "created_at desc":
            rows = rows[::-1]
        return {"pipeline_versions": rows[: int(query.get("page_size", 10))]}

    def _list_experiments(self, query: dict[str, str], *_: Any) -> Row:
        namespace = self._namespace(query)
        return {"experiments": [one for one in filtered(self.experiments, query) if one["namespace"] == namespace]}

    def _create_experiment(self, _: dict[str, str], body: bytes, __: str) -> Row:
        row = checked(api.V2beta1Experiment, body)
        return self.new("experiment", self.experiments, {**row, "namespace": self._namespace({}, row)})


def checked_pipeline(text: str) -> Row:
    """The documents of a compiled pipeline, parsed by Kubeflow's own protocol buffers."""
    spec, platforms = yaml.safe_load_all(text)
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(platforms, pipeline_spec_pb2.PlatformSpec())
    return {"pipeline_spec": spec, "platform_spec": platforms}


def _uploaded(body: bytes, kind: str) -> str:
    message = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    (part,) = [part for part in message.get_payload() if "uploadfile" in part["Content-Disposition"]]  # type: ignore[union-attr,index,str]
    return part.get_payload(decode=True).decode()  # type: ignore[union-attr,return-value]


@contextmanager
def kubeflow(*, multi_user: bool = False, store: str = "database") -> Iterator[FakeKubeflow]:
    """A server that answers until the block ends."""
    fake = FakeKubeflow(multi_user, store=store)

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            fake.authorization.add(self.headers.get("authorization"))
            try:
                answer = fake.answer(self.command, parts.path, query, body, self.headers.get("Content-Type", ""))
                self._reply(200, answer)
            except RefusedError as refused:
                self._reply(refused.status, {"code": refused.status, "message": str(refused)})

        def _reply(self, status: int, answer: Row) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _handle  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
