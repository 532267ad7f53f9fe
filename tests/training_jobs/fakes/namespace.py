"""A namespace of an API server with jobs that train: what it takes, what it says, and what it deletes.

Deletion in the foreground is Kubernetes' own: the object stays, with `deletionTimestamp`, until what it owns is gone
(Kubernetes 1.36, pkg/controller/garbagecollector/garbagecollector.go, processDeletingDependentsItem).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jsonschema import Draft7Validator

from tests.rollout.kserve.fakes.apiserver import StatusError
from tests.training_jobs.fakes.controllers import CONTROLLERS, Controller

SCHEMAS = Path(__file__).parents[1] / "schemas"
"""Of the CRDs of kubeflow/trainer v2.3.0 and kubeflow/training-operator v1.9.0, manifests/base/crds: descriptions and
status dropped, unknown fields refused."""
STEP = "full-update-abc-1"
_PATH = re.compile(
    r"/(?:api|apis)/(?P<group>v1|[^/]+/[^/]+)/namespaces/(?P<namespace>[^/]+)/(?P<plural>[^/]+)(?P<rest>.*)"
)


@cache
def schema(plural: str) -> Draft7Validator:
    """The validator of a kind of job."""
    name = {"trainjobs": "trainjob-trainer-v1alpha1", "pytorchjobs": "pytorchjob-kubeflow-v1"}[plural]
    return Draft7Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


class FakeNamespace:
    """Jobs, pods, logs, and the controllers of the jobs."""

    def __init__(self, *kinds: str) -> None:
        """Of a cluster that has these kinds of job, by plural."""
        self.controllers: dict[str, Controller] = {plural: CONTROLLERS[plural]() for plural in kinds}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {STEP: step_pod()}
        self.logs: dict[str, str] = {}
        self.made: list[dict[str, Any]] = []
        """Every job that was ever made."""
        self.failures: list[int] = []
        """Statuses of the next answers."""
        self.forbidden: set[str] = set()
        """Plurals of what the step's account has no right to."""
        self.creating: Callable[[], None] = lambda: None
        """Called before a job is made."""
        self._uids = 0

    @property
    def job(self) -> dict[str, Any]:
        """The one job that is there."""
        (found,) = self.jobs.values()
        return found

    @property
    def controller(self) -> Controller:
        """Of that job."""
        return next(each for each in self.controllers.values() if each.kind == self.job["kind"])

    def play(self, event: str) -> None:
        """Something happens to the job, where there is one and it can."""
        if event == "collect":
            for name in [name for name, job in self.jobs.items() if "deletionTimestamp" in job["metadata"]]:
                del self.jobs[name]
        elif self.jobs and "deletionTimestamp" not in self.job["metadata"]:
            self.controller.play(self.job, event)

    def handle(self, method: str, url: str, content: str, body: Any) -> Any:  # noqa: ARG002
        """See `Answering.handle`."""
        parts = urlsplit(url)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if self.failures:
            raise StatusError(self.failures.pop(0), "injected")
        match = _PATH.match(parts.path)
        if match is None:
            if parts.path.removeprefix("/apis/") in {each.group_version for each in self.controllers.values()}:
                return {"kind": "APIResourceList"}
            raise StatusError(404, f"{parts.path} not found")
        if match["plural"] in self.forbidden:
            raise StatusError(403, f"{match['plural']} is forbidden")
        if match["plural"] == "pods":
            return self._pods(match["rest"].strip("/"), query)
        if match["plural"] not in self.controllers:
            raise StatusError(404, f"{match['plural']} not found")
        return self._jobs(method, match["plural"], match["rest"].strip("/"), query, body)

    def _jobs(self, method: str, plural: str, name: str, query: dict[str, str], body: Any) -> Any:
        if method == "POST":
            return self._create(plural, body)
        if name not in self.jobs:
            raise StatusError(404, f'{plural} "{name}" not found')
        if method == "DELETE":
            self.jobs[name]["metadata"]["deletionTimestamp"] = "2026-11-30T10:00:00Z"
            if query.get("propagationPolicy") != "Foreground":
                return self.jobs.pop(name)
        return self.jobs[name]

    def _create(self, plural: str, body: dict[str, Any]) -> dict[str, Any]:
        self.creating()
        job = copy.deepcopy(body)
        if problems := [error.message for error in schema(plural).iter_errors(job)]:
            raise StatusError(422, "; ".join(problems))
        if job["metadata"]["name"] in self.jobs:
            raise StatusError(409, f'{plural} "{job["metadata"]["name"]}" already exists')
        if problem := self.controllers[plural].admit(job):
            raise StatusError(422, f"admission webhook denied the request: {problem}")
        self._uids += 1
        job["metadata"]["uid"] = str(self._uids)
        self.jobs[job["metadata"]["name"]] = job
        self.made.append(job)
        return job

    def _pods(self, rest: str, query: dict[str, str]) -> Any:
        if not rest:
            label, _, value = query["labelSelector"].partition("=")
            return {"items": [pod for pod in self.pods.values() if pod["metadata"]["labels"].get(label) == value]}
        name, _, part = rest.partition("/")
        if name not in self.pods:
            raise StatusError(404, f'pods "{name}" not found')
        if part == "log":
            return "\n".join(self.logs.get(name, "").splitlines()[-int(query["tailLines"]) :])
        return self.pods[name]

    def add_pod(self, name: str, exit_code: int, log: str) -> None:
        """A pod of the job, which has ended."""
        ended = {"terminated": {"exitCode": exit_code, "reason": "Error" if exit_code else "Completed"}}
        self.pods[name] = {
            "metadata": {"name": name, "labels": {"training.pagoda.dev/job": self.job["metadata"]["name"]}},
            "spec": {"containers": [{"name": "node"}]},
            "status": {
                "phase": "Failed" if exit_code else "Succeeded",
                "containerStatuses": [{"name": "node", "state": ended}],
            },
        }
        self.logs[name] = log


def step_pod() -> dict[str, Any]:
    """The pod of a pipeline's step, as Kubeflow Pipelines 2.17.0 and Argo make it.

    backend/src/v2/compiler/argocompiler/container.go (environment by field), backend/src/v2/driver/k8s.go (by reference
    to ConfigMaps and secrets), Argo Workflows' own labels, owner and sidecar.
    """
    secret = {"name": "pagoda-object-storage", "key": "AWS_SECRET_ACCESS_KEY", "optional": True}
    settings = {"name": "pagoda-pipelines", "key": "PAGODA_REGISTRY__URI", "optional": True}
    env = [
        {"name": "ARGO_CONTAINER_NAME", "value": "main"},
        {"name": "KFP_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": secret}},
        {"name": "PAGODA_REGISTRY__URI", "valueFrom": {"configMapKeyRef": settings}},
    ]
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "full-update-abc", "uid": "w-1"}
    return {
        "metadata": {
            "name": STEP,
            "labels": {
                "app.kubernetes.io/name": "pagoda",
                "app.kubernetes.io/component": "pipelines",
                "workflows.argoproj.io/workflow": "full-update-abc",
            },
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": {
            "serviceAccountName": "pipeline-runner",
            "imagePullSecrets": [{"name": "registry"}],
            "tolerations": [
                {"key": "gpu", "operator": "Exists"},
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300},
            ],
            "containers": [
                {"name": "wait", "image": "argoexec:1", "env": []},
                {"name": "main", "image": "registry.corp/components:1", "env": env},
            ],
        },
    }
