"""A stage whose servers are KServe's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from kubernetes import client

from pagoda.cluster import Cluster
from pagoda.rollout import commands
from pagoda.rollout.backends.kserve.backend import KServeBackend
from pagoda.rollout.backends.kserve.replicas import Bounds
from pagoda.rollout.driver import Driver, Look
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.rollout.state.machine import Phase
from tests.rollout.kserve.fakes.apiserver import FakeCluster
from tests.rollout.kserve.fakes.standard import SOURCE
from tests.rollout.kserve.fakes.store import AUTOSCALERS, DEPLOYMENTS
from tests.rollout.worlds import Stage, evidence, quick

LABELS = {"app.kubernetes.io/name": "pagoda"}


BOUNDS = Bounds(2)


def chart(mode: str, *, scaled: bool = False, **predictor: Any) -> dict[str, Any]:
    """The InferenceService as the chart makes it: without a version, and without replicas."""
    annotations = {"serving.kserve.io/deploymentMode": mode}
    if mode == "Knative":
        annotations["serving.kserve.io/enable-tag-routing"] = "true"
    else:
        annotations["serving.kserve.io/autoscalerClass"] = "hpa" if scaled else "none"
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
        "spec": {"predictor": {"serviceAccountName": "tower", "model": model, **predictor}},
    }


def lease() -> dict[str, Any]:
    """Where the backend keeps what it must remember."""
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "rollout"}}


class Place(Protocol):
    """A namespace with KServe, whose pods start when a test says so."""

    namespace: str
    tower: str
    lease: str

    def create(self, plural: str, found: dict[str, Any], /) -> None:
        """Put an object there, as the chart would."""

    def service(self) -> dict[str, Any]:
        """The InferenceService."""

    def tick(self) -> None:
        """Pods start; controllers follow."""


class OnKServe(Stage):
    """With one InferenceService, whose first version is promoted."""

    def __init__(
        self,
        cluster: Place,
        api: client.ApiClient,
        found: dict[str, Any] | None = None,
        bounds: Bounds = BOUNDS,
        *,
        install: Callable[[], None] | None = None,
    ) -> None:
        self.cluster, self.api, self.bounds = cluster, api, bounds
        if install:
            install()
        else:
            cluster.create("inferenceservices", found or chart("Standard"))
            cluster.create("leases", lease())
        cluster.tick()  # KServe is quicker than the first release.
        self.backend = self.connect()
        super().__init__(stable=False)
        self.evidence = evidence(champion_recall=None)
        commands.start(self.log, "g1", policy=quick(), by="test")
        self.until(Phase.FINISHED)
        self.evidence = evidence()

    def connect(self, attempts: int = 3) -> KServeBackend:
        return KServeBackend(
            Cluster(self.cluster.namespace, self.api, attempts=attempts, pause_seconds=0.001),
            self.cluster.tower,
            self.cluster.lease,
            bounds=self.bounds,
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

    def look_until(self, phase: Phase) -> None:
        """The driver goes on, and no controller."""
        for _ in range(9):
            self.driver.reconcile()
            if (found := rollout_of(self.log.state())) and found.phase is phase:
                return
        raise AssertionError(f"never {phase}")

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

    @property
    def pods(self) -> dict[str, int]:
        """Ready pods by Deployment."""
        found = self.cluster.find(DEPLOYMENTS)
        return {each["metadata"]["name"]: each["status"].get("readyReplicas", 0) for each in found if "status" in each}

    @property
    def autoscalers(self) -> set[str]:
        return {each["metadata"]["name"] for each in self.cluster.find(AUTOSCALERS)}

    def restarts(self) -> int:
        return self.cluster.workloads.restarts

    def ready(self, id_: str) -> int:
        """Ready pods of a generation's tower, wherever they are."""
        uri = self.log.state().generation(id_).tower.uri
        found = (each for each in self.cluster.find(DEPLOYMENTS) if each["metadata"]["annotations"].get(SOURCE) == uri)
        return sum((each.get("status") or {}).get("readyReplicas", 0) for each in found)
