"""The election of a driver, against a fake of the Kubernetes HTTP API."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from kubernetes import client

from pagoda.cluster import Cluster
from pagoda.errors import UnavailableError
from pagoda.rollout import commands
from pagoda.rollout.backends.kserve.leader_election import Leader
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.rollout.state.machine import Phase
from tests.rollout.kserve.fakes.apiserver import FakeCluster, served
from tests.rollout.worlds import Stage, quick

LEASE = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "rollout"}}


class Clock:
    """A machine's own clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def place() -> Iterator[tuple[FakeCluster, client.ApiClient]]:
    """A cluster with an empty Lease."""
    cluster = FakeCluster()
    cluster.create("leases", dict(LEASE))
    with served(cluster) as api:
        yield cluster, api


def _leader(api: client.ApiClient, name: str, clock: Clock) -> Leader:
    cluster = Cluster("recall", api, attempts=2, pause_seconds=0.001)
    return Leader(cluster, "rollout", name, seconds=30, monotonic=clock)


def test_one_of_two_leads_and_the_other_takes_over_when_it_is_gone(place: tuple[FakeCluster, client.ApiClient]) -> None:
    cluster, api = place
    clock = Clock()
    first, second = _leader(api, "one", clock), _leader(api, "two", clock)
    for _ in range(6):
        assert first.leads()
        assert not second.leads()
        clock.now += 11
    clock.now += 31  # The first is not heard of any more.
    assert second.leads()
    spec = cluster.objects[("leases", "rollout")].found["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 2)
    assert not first.leads(), "it sees that it was replaced"


def test_a_leader_that_stops_lets_the_next_one_begin_at_once(place: tuple[FakeCluster, client.ApiClient]) -> None:
    clock = Clock()
    first, second = _leader(place[1], "one", clock), _leader(place[1], "two", clock)
    assert first.leads()
    assert not second.leads()
    first.release()
    assert second.leads()


def test_a_lease_that_somebody_wrote_meanwhile_is_not_taken(place: tuple[FakeCluster, client.ApiClient]) -> None:
    cluster, api = place
    leader = _leader(api, "one", Clock())
    rival = _leader(api, "two", Clock())

    def before(method: str, path: str) -> None:
        if method == "PATCH":
            cluster.before = lambda *_: None
            assert rival.leads()

    cluster.before = before
    assert not leader.leads()


def test_without_a_lease_it_says_who_makes_it() -> None:
    with served(FakeCluster()) as api, pytest.raises(UnavailableError, match="the chart makes it"):
        _leader(api, "one", Clock()).leads()


def test_a_driver_that_does_not_lead_does_nothing() -> None:
    stage, stop = Stage(), threading.Event()
    commands.start(stage.log, "g2", policy=quick(), by="test")
    asked: list[bool] = []

    def leads() -> bool:
        asked.append(True)
        stop.set()
        return False

    stage.driver.run(stop, every_seconds=0.001, watch=lambda _: pytest.fail("it looked"), leads=leads)
    assert asked
    assert rollout_of(stage.log.state()).phase is Phase.REGISTERED
