"""Rollouts on KServe in Knative mode, against a fake of the Kubernetes HTTP API and of what both controllers write."""

from __future__ import annotations

import pytest
from kubernetes import client

from pagoda.rollout import commands
from pagoda.rollout.backends.kserve.replicas import Bounds
from pagoda.rollout.state.machine import Phase
from pagoda.rollout.target import target_of
from tests.rollout.kserve.fakes.apiserver import FakeCluster
from tests.rollout.worlds import add_full, quick

from .stage import OnFake, chart

pytestmark = pytest.mark.integration

FIRST, SECOND, THIRD = (f"tower-predictor-{number:05d}" for number in (2, 3, 4))
"""Revisions: the chart's own, without a version, is the one before."""


@pytest.fixture
def knative(cluster: FakeCluster, api: client.ApiClient) -> OnFake:
    return OnFake(cluster, api, chart("Knative"))


def share(stage: OnFake) -> int:
    return int(stage.spec["predictor"].get("canaryTrafficPercent", 100))


def test_knative_makes_one_revision_a_version_and_moves_its_share(knative: OnFake) -> None:
    knative.start()
    shares = []
    while "g1" not in knative.log.state().retired:
        assert knative.pods[f"{FIRST}-deployment"] >= 2, "a rollback must need nothing new"
        if not shares or shares[-1] != share(knative):
            shares.append(share(knative))
        knative.step()
    assert shares == [100, 0, 10, 50, 99] and share(knative) == 100
    knative.step()
    assert len(knative.cluster.knative.revisions) == 3 and knative.restarts() == 0
    assert knative.cluster.knative.weights == {SECOND: 100}


def test_knative_rolls_back_to_the_revision_before(knative: OnFake) -> None:
    for end in (Phase.CANARY, Phase.PROMOTED):
        version = max(manifest.full_version for manifest in knative.log.state().generations.values()) + 1
        add_full(knative.log, version)
        commands.start(knative.log, f"g{version}", policy=quick(), by="test")
        knative.until(end)
        commands.abort(knative.log, by="ann")
        knative.step()
        assert share(knative) == 0 and knative.cluster.knative.weights[FIRST] == 100
        knative.until(Phase.FINISHED)
        knative.step()
        assert knative.cluster.knative.weights[FIRST] == 100
    knative.start()
    knative.until(Phase.FINISHED)
    knative.step()
    knative.step()
    assert knative.cluster.knative.weights == {"tower-predictor-00005": 100}
    assert len(knative.cluster.knative.revisions) == 5


def test_knative_arms_are_addressed_by_tag(knative: OnFake) -> None:
    knative.start()
    knative.until(Phase.CANARY)
    assert knative.backend.addresses(target_of(knative.log.state())) == {
        "g1": "http://prev-tower-predictor.recall.svc",
        "g2": "http://latest-tower-predictor.recall.svc",
    }, "the status shows a public host"


def test_knative_candidates_start_with_as_many_pods_as_the_stable_revision_has(knative: OnFake) -> None:
    knative.cluster.knative.load = 6
    knative.cluster.tick()
    knative.start()
    knative.until(Phase.CANARY)
    assert knative.pods[f"{SECOND}-deployment"] == 6


def test_a_candidate_that_is_not_ready_is_behind_no_tag(knative: OnFake, cluster: FakeCluster) -> None:
    """Until it is, Knative's tag `latest` answers with the revision before."""
    knative.start()
    knative.look_until(Phase.VERIFIED)
    for _ in range(3):
        cluster.reconcile()
    found = knative.backend.status(target_of(knative.log.state()))
    assert found.of("g2").missing == ("the revision of v2 is not ready",)
    assert knative.backend.addresses(target_of(knative.log.state())).keys() == {"g1"}


def test_a_revision_that_kserve_forgets_is_brought_again(knative: OnFake, cluster: FakeCluster) -> None:
    """KServe takes Knative's status in parts, and may believe that what was just rolled out was rolled back."""
    knative.start()
    knative.until(Phase.FINISHED)
    knative.step()
    add_full(knative.log, 3)
    commands.start(knative.log, "g3", policy=quick(), by="test")
    knative.look_until(Phase.VERIFIED)
    cluster.knative.reconcile()
    cluster.knative.route()  # The Route is quicker than the Configuration.
    cluster.knative.reconcile()
    component = cluster.service()["status"]["components"]["predictor"]
    assert component["latestRolledoutRevision"] == FIRST, "the race that this is about"
    knative.until(Phase.FINISHED)
    for _ in range(4):
        knative.step()
    state = knative.log.state()
    assert set(cluster.knative.weights.values()) == {100} and knative.ready(state.stable or "") >= 2


def test_other_bounds_are_one_more_revision_once_a_rollout_is_over(knative: OnFake, cluster: FakeCluster) -> None:
    knative.start()
    knative.until(Phase.CANARY)
    knative.bounds = Bounds(1, 8)
    knative.backend = knative.connect()
    knative.driver = knative.drive()
    knative.until(Phase.FINISHED)
    for _ in range(4):
        knative.step()
    assert (knative.spec["predictor"]["minReplicas"], knative.spec["predictor"]["maxReplicas"]) == (1, 8)
    before = len(cluster.knative.revisions)
    for _ in range(4):
        knative.step()
    assert len(cluster.knative.revisions) == before
