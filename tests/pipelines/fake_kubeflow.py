"""Kubeflow Pipelines' HTTP API (v2beta1), as much as Pagoda uses, in the shapes that its own client understands."""

from __future__ import annotations

import itertools
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

PREFIX = "/apis/v2beta1"
Row = dict[str, Any]


class RefusedError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class FakeKubeflow:
    """What the server holds, and what it was asked."""

    multi_user: bool = False
    pipelines: list[Row] = field(default_factory=list)
    versions: list[Row] = field(default_factory=list)
    experiments: list[Row] = field(default_factory=list)
    recurring: list[Row] = field(default_factory=list)
    runs: list[Row] = field(default_factory=list)
    authorization: set[str | None] = field(default_factory=set)
    refuse: str = ""
    """Path that is answered with 503."""
    url: str = ""
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, kind: str) -> Row:
        """The answer to one request."""
        if self.refuse and self.refuse in path:
            raise RefusedError(503, "the database is away")
        for verb, pattern, handler in self._routes():
            if verb == method and (match := re.fullmatch(PREFIX + pattern, path)):
                return handler(query, body, kind, *match.groups())
        raise RefusedError(404, f"no route for {method} {path}")

    def _routes(self) -> list[tuple[str, str, Any]]:
        return [
            ("GET", "/healthz", lambda *_: {"multi_user": self.multi_user}),
            ("GET", "/pipelines", self._list_pipelines),
            ("POST", "/pipelines/upload", self._upload),
            ("POST", "/pipelines/upload_version", self._upload_version),
            ("GET", r"/pipelines/([\w-]+)/versions", self._list_versions),
            ("GET", "/experiments", self._list_experiments),
            ("POST", "/experiments", self._create_experiment),
            ("GET", "/recurringruns", self._list_recurring),
            ("POST", "/recurringruns", self._create_recurring),
            ("DELETE", r"/recurringruns/([\w-]+)", self._delete_recurring),
            ("POST", "/runs", self._create_run),
        ]

    def _new(self, kind: str, rows: list[Row], row: Row) -> Row:
        number = next(self._ids)
        row = {f"{kind}_id": f"{kind}-{number}", "created_at": f"2026-11-22T00:00:{number:02d}Z", **row}
        rows.append(row)
        return row

    def _namespace(self, query: dict[str, str], body: Row | None = None) -> str:
        namespace = str((body or query).get("namespace") or "")
        if namespace and not self.multi_user:
            raise RefusedError(400, "In single-user mode, the request should not contain a namespace")
        if self.multi_user and not namespace:
            raise RefusedError(400, "A namespace is required in multi-user mode")
        return namespace

    def _list_pipelines(self, query: dict[str, str], *_: Any) -> Row:
        namespace = self._namespace(query)
        return {"pipelines": [one for one in _filtered(self.pipelines, query) if one["namespace"] == namespace]}

    def _upload(self, query: dict[str, str], body: bytes, kind: str) -> Row:
        namespace = self._namespace(query)
        if any(one["display_name"] == query["name"] for one in self.pipelines):
            raise RefusedError(409, "The name exists already")
        row = {"display_name": query["name"], "description": query.get("description"), "namespace": namespace}
        pipeline = self._new("pipeline", self.pipelines, row)
        self._add_version(pipeline["pipeline_id"], query["name"], body, kind)
        return pipeline

    def _upload_version(self, query: dict[str, str], body: bytes, kind: str) -> Row:
        return self._add_version(query["pipelineid"], query["name"], body, kind)

    def _add_version(self, pipeline_id: str, name: str, body: bytes, kind: str) -> Row:
        if any((one["pipeline_id"], one["display_name"]) == (pipeline_id, name) for one in self.versions):
            raise RefusedError(409, "The version exists already")
        spec = checked_pipeline(_uploaded(body, kind))
        return self._new(
            "pipeline_version",
            self.versions,
            {"pipeline_id": pipeline_id, "display_name": name, "pipeline_spec": spec},
        )

    def _list_versions(self, query: dict[str, str], _: bytes, __: str, pipeline_id: str) -> Row:
        rows = [one for one in _filtered(self.versions, query) if one["pipeline_id"] == pipeline_id]
        if query.get("sort_by") == "created_at desc":
            rows = rows[::-1]
        return {"pipeline_versions": rows[: int(query.get("page_size", 10))]}

    def _list_experiments(self, query: dict[str, str], *_: Any) -> Row:
        namespace = self._namespace(query)
        return {"experiments": [one for one in _filtered(self.experiments, query) if one["namespace"] == namespace]}

    def _create_experiment(self, _: dict[str, str], body: bytes, __: str) -> Row:
        row = _checked(api.V2beta1Experiment, body)
        return self._new("experiment", self.experiments, {**row, "namespace": self._namespace({}, row)})

    def _list_recurring(self, query: dict[str, str], *_: Any) -> Row:
        rows = [one for one in self.recurring if one["experiment_id"] == query["experiment_id"]]
        start, size = int(query.get("page_token") or 0), 2  # small pages, whatever is asked
        more = str(start + size) if start + size < len(rows) else ""
        return {"recurringRuns": rows[start : start + size], "next_page_token": more}

    def _create_recurring(self, _: dict[str, str], body: bytes, __: str) -> Row:
        row = _checked(api.V2beta1RecurringRun, body)
        self._known(row["pipeline_version_reference"])
        return self._new("recurring_run", self.recurring, row)

    def _delete_recurring(self, _: dict[str, str], __: bytes, ___: str, run_id: str) -> Row:
        self.recurring = [one for one in self.recurring if one["recurring_run_id"] != run_id]
        return {}

    def _create_run(self, _: dict[str, str], body: bytes, __: str) -> Row:
        row = _checked(api.V2beta1Run, body)
        self._known(row["pipeline_version_reference"])
        return self._new("run", self.runs, row)

    def _known(self, reference: Row) -> None:
        if not any(one["pipeline_version_id"] == reference["pipeline_version_id"] for one in self.versions):
            raise RefusedError(404, "no such pipeline version")


def checked_pipeline(text: str) -> Row:
    """The documents of a compiled pipeline, parsed by Kubeflow's own protocol buffers."""
    spec, platforms = yaml.safe_load_all(text)
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(platforms, pipeline_spec_pb2.PlatformSpec())
    return {"pipeline_spec": spec, "platform_spec": platforms}


def _filtered(rows: list[Row], query: dict[str, str]) -> list[Row]:
    predicates = json.loads(query.get("filter") or "{}").get("predicates", [])
    return [row for row in rows if all(row[one["key"]] == one["stringValue"] for one in predicates)]


def _checked(model: type, body: bytes) -> Row:
    """A body that has the shape of a model of the API."""
    row: Row = json.loads(body)
    unknown = set(row) - set(model.attribute_map.values())  # type: ignore[attr-defined]
    if unknown:
        raise RefusedError(400, f"unknown fields {unknown}")
    return row


def _uploaded(body: bytes, kind: str) -> str:
    message = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    (part,) = [part for part in message.get_payload() if "uploadfile" in part["Content-Disposition"]]  # type: ignore[union-attr,index,str]
    return part.get_payload(decode=True).decode()  # type: ignore[union-attr,return-value]


@contextmanager
def kubeflow(*, multi_user: bool = False) -> Iterator[FakeKubeflow]:
    """A server that answers until the block ends."""
    fake = FakeKubeflow(multi_user)

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
