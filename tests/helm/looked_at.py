"""A cluster that Helm looks at while it renders: `lookup` finds what is there, and nothing is changed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from helm.generate.chart import NAMESPACE, Resource, render

from .charts import Chart, with_values

_PLURALS = {"NetworkPolicy": "networkpolicies", "Milvus": "milvuses"}
_LOOKING = ("--dry-run=server", "--is-upgrade", "--disable-openapi-validation", "--burst-limit=1000", "--qps=1000")


@contextmanager
def cluster_with(folder: Path, *objects: Resource) -> Iterator[Sequence[str]]:
    """Arguments of Helm that make it look at a cluster with these objects."""
    answers = {**_discovery(), **{_path(found): found for found in objects}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path.split("?")[0])
            missing = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
            content = json.dumps(missing if found is None else found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(_kubeconfig(server.server_port)))
        yield (*_LOOKING, "--kubeconfig", str(kubeconfig))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def upgraded(folder: Path, values: Sequence[str], *objects: Resource) -> Chart:
    """The chart as an upgrade renders it where these objects are."""
    with cluster_with(folder, *objects) as arguments:
        return Chart(render(*arguments, *(part for one in values for part in ("--set", one))))


def _discovery() -> dict[str, Any]:
    """What the server says that it knows: the kinds of the chart, autoscalers included."""
    kinds: dict[str, set[str]] = {"autoscaling/v2": {"HorizontalPodAutoscaler"}}
    for resource in with_values().resources:
        kinds.setdefault(resource["apiVersion"], set()).add(resource["kind"])
    groups: dict[str, list[str]] = {}
    for version in kinds.keys() - {"v1"}:
        groups.setdefault(version.split("/")[0], []).append(version)
    return {
        "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "groups": [_group(name, found) for name, found in groups.items()]},
        **{_root(version): _resources(version, found) for version, found in kinds.items()},
    }


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    found = [{"groupVersion": version, "version": version.split("/")[1]} for version in versions]
    return {"name": name, "versions": found, "preferredVersion": found[0]}


def _resources(version: str, kinds: set[str]) -> dict[str, Any]:
    found = [{"name": _plural(kind), "kind": kind, "namespaced": True, "verbs": ["get"]} for kind in kinds]
    return {"kind": "APIResourceList", "groupVersion": version, "resources": found}


def _path(found: Resource) -> str:
    return f"{_root(found['apiVersion'])}/namespaces/{NAMESPACE}/{_plural(found['kind'])}/{found['metadata']['name']}"


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _plural(kind: str) -> str:
    return _PLURALS.get(kind, f"{kind.lower()}s")


def _kubeconfig(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
