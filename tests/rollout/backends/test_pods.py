"""Recall's pods, with tower and search in each: who is asked, what counts, and a whole rollout on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pagoda.cluster import Cluster
from pagoda.errors import ConflictError
from pagoda.rollout.backends.base import Target
from pagoda.rollout.backends.kserve.lease_memory import LeaseMemory
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.rollout.state.machine import Phase
from tests.rollout.course import start, until
from tests.rollout.kserve.fakes.apiserver import FakeCluster, served
from tests.rollout.kserve.stage import lease
from tests.rollout.worlds import Stage

from .pods import Pods


class OnPods(Stage):
    """The log of `Stage`, and its driver over recall's pods."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        super().__init__()
        self.log.append("offered", {"generation": "g2"})
        self.servers = self.pods = Pods(folder, self.open(), LeaseMemory(cluster, "rollout"))  # type: ignore[assignment]
        self.driver = self.drive()

    def target(self, **changes: object) -> Target:
        state = self.log.state()
        one, two = (state.generations[id_] for id_ in ("g1", "g2"))
        return Target(**{"record": state.head, "stable": one, "candidate": two, **changes})


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[OnPods]:
    fake = FakeCluster()
    fake.create("leases", lease())
    with served(fake) as api:
        yield OnPods(tmp_path, Cluster(fake.namespace, api))


def test_a_canary_takes_every_step_on_recalls_pods(stage: OnPods) -> None:
    stage.pods.late[1].add("g2")
    start(stage)
    until(stage, Phase.CANARY)
    until(stage, Phase.CANARY)
    assert stage.pods.status(stage.target()).of("g2").capacity == 50
    stage.pods.late[1].clear()
    until(stage, Phase.FINISHED, turns=200)
    assert stage.log.state().stable == "g2"
    assert stage.pods.shelf.memory == {"recall_v2"}


def test_a_candidate_has_the_capacity_of_the_serving_pods_that_hold_it(stage: OnPods) -> None:
    look, pods = stage.target(), stage.pods
    assert pods.status(look).of("g2").capacity == 100
    pods.late[0].add("g2")
    pods.starting = True
    assert pods.status(look).of("g2").capacity == 50, "who begins holds nothing, and serves nobody"
    pods.late[1].add("g2")
    assert pods.status(look).of("g2").missing == ("no recall pod holds g2 yet",)
    pods.refused = {"g2": "its archive is damaged"}
    assert pods.status(look).of("g2").missing == ("recall pods refuse g2: its archive is damaged",)
    pods.late[1].clear()
    assert pods.status(look).of("g2").missing == ("recall pods refuse g2: its archive is damaged",), "one is enough"
    pods.late[0].clear()
    assert pods.status(look).of("g2").capacity == 100
    pods.shelf.memory.discard("recall_v2")
    assert pods.status(look).of("g2").missing == ("collection recall_v2 is not loaded",)


def test_without_pods_or_a_collection_nothing_begins(stage: OnPods) -> None:
    pods = stage.pods
    assert pods.preflight(stage.target()) == []
    pods.shelf.disk.discard("recall_v2")
    assert pods.preflight(stage.target()) == ["collection recall_v2 is not there"]
    pods.late = []
    assert "no recall pod says what it holds" in pods.preflight(stage.target())[0]


def test_an_older_record_is_refused_by_every_driver(stage: OnPods) -> None:
    late = stage.target()
    stage.log.append("offered", {"generation": "g1"})
    stage.pods.process().apply(stage.target())
    with pytest.raises(ConflictError, match="applied already"):
        stage.pods.process().apply(late)
    assert rollout_of(stage.log.state()) is None
