"""A stage whose servers are KServe's."""

from __future__ import annotations

from typing import Any, Protocol

from kubernetes import client

from pagoda.rollout import commands
from pagoda.rollout.backends.kserve.backend import KServeBackend
from pagoda.rollout.backends.kserve.cluster import Cluster
from pagoda.rollout.driver import Driver, Look
from pagoda.rollout.machine import Phase
from pagoda.rollout.reading import rollout_of

from .fakes.apiserver import FakeCluster
from .worlds import Stage, evidence, quick

LABELS = {"app.kubernetes.io/name": "pagoda"}


def chart(mode: str, **predictor: Any) -> dict[str, Any]:
    """The InferenceService as the chart makes it: without a version."""
    annotations = {"serving.kserve.io/deploymentMode": mode}
    if mode == "Knative":
        annotations["serving.kserve.io/enable-tag-routing"] = "true"
    model = {
        "modelFormat": {"name": "pagoda-tower", "version": "1"},
        "protocolVersion": "v1",
        "runtime": "tower",
        "env": [{"name": "PAGODA_SEED", "value": "1"}],
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "tower", "labels": dict(LABELS), "annotations": annotations},
        "spec": {"predictor": {"serviceAccountName": "tower", "minReplicas": 2, "model": model, **predictor}},
    }


def lease() -> dict[str, Any]:
    """Where the backend keeps what it must remember."""
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "rollout"}}


class Place(Protocol):
    """A namespace with KServe, whose pods start when a test says so."""

    namespace: str

    def create(self, plural: str, found: dict[str, Any], /) -> None:
        """Put an object there, as the chart would."""

    def service(self) -> dict[str, Any]:
        """The InferenceService."""

    def tick(self) -> None:
        """Pods start; controllers follow."""


class OnKServe(Stage):
    """With one InferenceService, whose first version is promoted."""

    def __init__(self, cluster: Place, api: client.ApiClient, mode: str = "Standard", **predictor: Any) -> None:
        self.cluster, self.api = cluster, api
        cluster.create("inferenceservices", chart(mode, **predictor))
        cluster.create("leases", lease())
        self.backend = self.connect()
        super().__init__(stable=False)
        self.evidence = evidence(champion_recall=None)
        commands.start(self.log, "g1", policy=quick(), by="test")
        self.until(Phase.FINISHED)
        self.evidence = evidence()

    def connect(self, attempts: int = 3) -> KServeBackend:
        return KServeBackend(
            Cluster(self.cluster.namespace, self.api, attempts=attempts, pause_seconds=0.001),
            "tower",
            "rollout",
            probe=lambda *_: (),
        )

    def drive(self) -> Driver:
        return Driver(self.open(), self.backend, self.metrics, lambda *_: self.evidence)

    def step(self, seconds: float = 1.0) -> Look:
        look = self.driver.reconcile()
        self.cluster.tick()
        self.clock.forward(seconds)
        return look

    def until(self, phase: Phase, turns: int = 200) -> None:
        for _ in range(turns):
            found = rollout_of(self.log.state())
            if found and found.phase is phase:
                return
            look = self.step()
        raise AssertionError(f"never {phase}: {look}")

    def start(self, **changes: Any) -> None:
        commands.start(self.log, "g2", policy=quick(**changes), by="test")

    @property
    def spec(self) -> dict[str, Any]:
        return self.cluster.service()["spec"]

    def percents(self) -> dict[str, int]:
        return {entry["predictor"]["name"]: entry["trafficPercent"] for entry in self.spec.get("canary", [])}


class OnFake(OnKServe):
    """On a fake that tells what its controllers made of it."""

    cluster: FakeCluster

    def __init__(self, cluster: FakeCluster, api: client.ApiClient, mode: str = "Standard", **predictor: Any) -> None:
        if mode == "Knative":
            cluster.apis.add("serving.knative.dev/v1")
        super().__init__(cluster, api, mode, **predictor)

    @property
    def pods(self) -> dict[str, int]:
        return {name: pods.ready for name, pods in self.cluster.controllers.pods.items()}

    def restarts(self) -> int:
        return sum(pods.restarts for pods in self.cluster.controllers.pods.values())
