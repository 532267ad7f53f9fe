"""A real API server, by `make test-cluster`: the one that KUBECONFIG names, with the CRDs of KServe and Milvus."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from helm.generate.chart import CHART
from tests.rollout.kserve.remote import RemoteNamespace

BIN = Path(__file__).resolve().parents[2] / ".venv" / "bin"
STEPS = "kubeflow"
"""Where a single-user Kubeflow runs the steps; the chart puts their settings there."""


class Release:
    """A release called `pagoda` of the profile minimal, in a namespace of its own."""

    def __init__(self, api: client.ApiClient) -> None:
        self.place = RemoteNamespace(api, tower="pagoda-tower", lease="pagoda-rollout")
        self.namespace = self.place.namespace

    def upgrade(self, *values: str) -> None:
        """`helm upgrade --install`, which applies on the server's side and forces nothing."""
        sets = [word for value in values for word in ("--set", value)]
        chart = ("pagoda", str(CHART), "-f", str(CHART / "profiles" / "minimal.yaml"), "--no-hooks")
        run("helm", "upgrade", "--install", *chart, "-n", self.namespace, *sets)

    def get(self, kind: str, *name: str) -> dict[str, Any]:
        """One object, or all of a kind."""
        found: dict[str, Any] = json.loads(run("kubectl", "get", kind, *name, "-n", self.namespace, "-o", "json"))
        return found

    def close(self) -> None:
        """Uninstall it: not all of it lies in its namespace."""
        run("helm", "uninstall", "pagoda", "-n", self.namespace, "--no-hooks", "--ignore-not-found")
        self.place.close()


def run(program: str, *arguments: str, given: str = "") -> str:
    """Run helm or kubectl; what it says is the failure's."""
    command = [BIN / program, *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="session")
def api(request: pytest.FixtureRequest) -> Iterator[client.ApiClient]:
    if not request.config.getoption("--cluster"):
        pytest.skip("no API server: KUBECONFIG=… make test-cluster")
    config.load_config()
    with client.ApiClient() as real:
        yield real


@pytest.fixture
def release(api: client.ApiClient) -> Iterator[Release]:
    if STEPS not in run("kubectl", "get", "namespaces", "-o", "name"):
        run("kubectl", "create", "namespace", STEPS)
    made = Release(api)
    yield made
    made.close()


@pytest.fixture
def other(api: client.ApiClient, release: Release) -> Iterator[Release]:
    """Another installation of the same name."""
    assert release.namespace
    made = Release(api)
    yield made
    made.close()
