"""A rollout on KServe as an API server sees it: the fake, and by `make test-cluster` the one that KUBECONFIG names.

A real one needs the CRDs of KServe; Kubernetes' own controllers may run there or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config

from pagoda.cluster import MANAGER, Cluster
from pagoda.rollout import commands
from pagoda.rollout.backends.kserve.backend import KServeBackend
from pagoda.rollout.backends.kserve.standard import NOT_OF_PODS
from pagoda.rollout.state.machine import Phase
from pagoda.rollout.target import target_of
from tests.rollout.kserve.fakes.apiserver import FakeCluster, served

from .remote import RemoteNamespace
from .stage import BOUNDS, LABELS, OnKServe, chart

pytestmark = pytest.mark.integration


@pytest.fixture
def api(request: pytest.FixtureRequest) -> Iterator[client.ApiClient]:
    if request.config.getoption("--cluster"):
        try:
            config.load_config()
        except config.ConfigException as error:
            pytest.exit(f"no cluster to test on: {error} Set KUBECONFIG.", returncode=1)
        with client.ApiClient() as real:
            yield real
    else:
        with served(FakeCluster()) as fake:
            yield fake


@pytest.fixture
def place(api: client.ApiClient, request: pytest.FixtureRequest) -> Iterator[RemoteNamespace]:
    made = RemoteNamespace(api, controllers=None if request.config.getoption("--cluster") else False)
    yield made
    made.close()


@pytest.fixture
def stage(place: RemoteNamespace) -> OnKServe:
    return OnKServe(place, place.api)


def pods(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the pods of each predictor are made of, by its name."""
    every = (spec["predictor"], *(entry["predictor"] for entry in spec.get("canary", [])))
    # The container's name is the runtime's, whatever a canary says.
    return {
        each["name"]: {key: value for key, value in each.items() if key not in NOT_OF_PODS}
        | {"model": {key: value for key, value in each["model"].items() if key != "name"}}
        for each in every
    }


def test_a_rollout_is_accepted_at_every_step_and_restarts_nothing(stage: OnKServe) -> None:
    target = target_of(stage.log.state())
    assert stage.backend.preflight(target) == []
    stage.start()
    made, shares = pods(stage.spec), []
    while "g1" not in stage.log.state().retired:
        assert stage.step().trouble == ()
        for name, present in pods(stage.spec).items():
            assert made.setdefault(name, present) == present
        if (share := stage.percents().get("v2")) not in shares[-1:]:
            shares.append(share)
    stage.step()
    stage.step()
    assert shares[-4:] == [10, 50, 100, None]
    predictor = stage.spec["predictor"]
    assert (predictor["name"], predictor["model"]["storageUri"]) == ("v2", "s3://towers/2")
    assert (predictor["minReplicas"], stage.percents()) == (2, {})


def test_a_rollback_is_accepted_and_leaves_no_trace(stage: OnKServe) -> None:
    before = stage.spec
    stage.start()
    stage.until(Phase.CANARY)
    commands.abort(stage.log, by="ann")
    stage.step()
    assert stage.percents() == {"v2": 0}
    stage.until(Phase.FINISHED)
    stage.step()
    stage.step()
    assert stage.spec == before


def test_what_others_wrote_stays(stage: OnKServe, place: RemoteNamespace) -> None:
    stage.start()
    stage.until(Phase.CANARY)
    place.edit("kubectl-edit", {"metadata": {"labels": {"touched": "yes"}}})
    stage.until(Phase.FINISHED)
    stage.step()
    metadata, original = place.service()["metadata"], chart("Standard")
    assert metadata["labels"] == LABELS | {"touched": "yes"}
    assert original["metadata"]["annotations"].items() <= metadata["annotations"].items()
    assert stage.spec["predictor"]["model"].items() >= original["spec"]["predictor"]["model"].items()


def test_nothing_is_written_when_nothing_is_to_change(stage: OnKServe, place: RemoteNamespace) -> None:
    def written() -> tuple[int, list[dict[str, Any]]]:
        metadata = place.service()["metadata"]
        return metadata["generation"], [each for each in metadata["managedFields"] if each["manager"] == MANAGER]

    stage.start()
    stage.until(Phase.CANARY)
    stage.step()
    before = written()
    for _ in range(5):
        stage.driver.reconcile()
    assert written() == before


def test_an_object_that_changed_meanwhile_is_read_again(stage: OnKServe, place: RemoteNamespace) -> None:
    races = []

    class Overtaken(Cluster):
        def apply(self, group_version: str, plural: str, body: Any) -> None:
            if len(races) < 2:
                races.append(plural)
                place.edit("kubectl-edit", {"metadata": {"labels": {"touched": str(len(races))}}})
            super().apply(group_version, plural, body)

    stage.start()
    stage.until(Phase.VERIFIED)
    cluster = Overtaken(place.namespace, place.api)
    stage.backend = KServeBackend(cluster, "tower", "rollout", bounds=BOUNDS, probe=lambda *_: ())
    stage.driver = stage.drive()
    stage.step()
    assert len(races) == 2 and stage.percents() == {"v2": 10}
    assert place.service()["metadata"]["labels"]["touched"] == "2"
