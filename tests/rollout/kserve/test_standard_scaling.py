"""Rollouts in Standard mode beside an autoscaler, and within the installation's bounds."""

from __future__ import annotations

import pytest

from pagoda.cluster import MANAGER
from pagoda.rollout import commands
from pagoda.rollout.backends.kserve.replicas import Bounds
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.rollout.state.machine import Phase
from tests.rollout.worlds import add_full, quick

from .stage import OnFake

pytestmark = pytest.mark.integration


def test_shares_are_of_the_replicas_that_an_autoscaler_runs_now(scaled: OnFake) -> None:
    scaled.start()
    scaled.until(Phase.CANARY)
    assert scaled.pods["tower-v2-predictor"] >= 1
    while rollout_of(scaled.log.state()).step == 0:
        scaled.step()
    assert scaled.pods["tower-v2-predictor"] >= 4, "half of seven"
    assert scaled.pods["tower-v1-predictor"] >= 7
    scaled.until(Phase.PROMOTED)
    assert scaled.pods["tower-v2-predictor"] >= 7


@pytest.mark.parametrize("load", [7, None])
def test_a_surge_that_nobody_has_taken_away_yet_is_not_reserved_again(scaled: OnFake, load: int | None) -> None:
    """Without metrics an autoscaler never takes pods away that are within its bounds."""
    most: dict[str, int] = {}
    for id_, end in (("g2", Phase.PROMOTED), ("g3", Phase.CANARY), ("g4", Phase.PROMOTED)):
        if id_ != "g2":
            add_full(scaled.log, int(id_[1:]))
        commands.start(scaled.log, id_, policy=quick(), by="test")
        scaled.cluster.workloads.load = load
        while (found := rollout_of(scaled.log.state())) and found.phase is not end:
            scaled.step()
            for entry in scaled.spec.get("canary", []):
                name = entry["predictor"]["name"]
                most[name] = max(most.get(name, 0), entry["predictor"]["minReplicas"])
        commands.abort(scaled.log, by="ann")
        scaled.until(Phase.FINISHED)
        scaled.step()
    assert most["v2"] == most["v4"] == 7


def test_a_load_that_rises_within_a_step_raises_what_the_next_one_needs(scaled: OnFake) -> None:
    scaled.cluster.workloads.load = 2
    scaled.start()
    scaled.until(Phase.CANARY)
    scaled.cluster.workloads.load = 9
    while rollout_of(scaled.log.state()).step == 0:
        scaled.step()
    assert scaled.pods["tower-v2-predictor"] >= 4, "half of nine, within an autoscaler's tolerance"
    scaled.until(Phase.PROMOTED)
    assert scaled.pods["tower-v2-predictor"] >= 8


def test_a_promoted_tower_follows_the_load_before_its_grace_is_over(scaled: OnFake) -> None:
    scaled.cluster.workloads.load = 2
    scaled.start()
    scaled.until(Phase.PROMOTED)
    scaled.cluster.workloads.load = 9
    for _ in range(6):
        scaled.step()
    assert rollout_of(scaled.log.state()).phase is Phase.PROMOTED and scaled.pods["tower-v2-predictor"] >= 8


def test_a_load_beyond_the_maximum_is_not_followed_by_surges(scaled: OnFake) -> None:
    scaled.cluster.workloads.load = 50
    scaled.start()
    most = 0
    while "g1" not in scaled.log.state().retired:
        scaled.step()
        most = max([most, *(entry["predictor"]["minReplicas"] for entry in scaled.spec.get("canary", []))])
    assert most == 10


def test_bounds_are_the_installation_s_again_after_a_rollout(scaled: OnFake) -> None:
    scaled.start()
    scaled.until(Phase.CANARY)
    assert scaled.spec["predictor"]["maxReplicas"] >= scaled.spec["predictor"]["minReplicas"] > 2
    scaled.until(Phase.FINISHED)
    scaled.step()
    assert (scaled.spec["predictor"]["minReplicas"], scaled.spec["predictor"]["maxReplicas"]) == (2, 10)


def test_autoscalers_of_retired_predictors_are_cleared_away(scaled: OnFake) -> None:
    scaled.start()
    scaled.until(Phase.CANARY)
    assert scaled.autoscalers == {"tower-v1-predictor", "tower-v2-predictor"}
    scaled.until(Phase.FINISHED)
    scaled.step()
    scaled.step()
    assert scaled.autoscalers == {"tower-v2-predictor"}


def test_other_bounds_reach_kserve_at_any_step(stage: OnFake) -> None:
    stage.start()
    stage.until(Phase.CANARY)
    stage.bounds = Bounds(4)  # As a helm upgrade tells the driver, which starts again.
    stage.backend = stage.connect()
    stage.driver = stage.drive()
    stage.step()
    stage.step()
    assert stage.ready("g1") == 4
    stage.until(Phase.FINISHED)
    stage.step()
    assert stage.spec["predictor"]["minReplicas"] == 4 and stage.pods == {"tower-v2-predictor": 4}


def test_a_minimum_that_somebody_edits_is_the_installation_s_again(stage: OnFake) -> None:
    """The driver is its one owner: an edit would be lost at the next rollout anyway, and nobody would know when."""
    stage.cluster.edit("kubectl-edit", {"spec": {"predictor": {"minReplicas": 5}}})
    stage.step()
    owned = stage.cluster.objects[("inferenceservices", "tower")]
    assert stage.spec["predictor"]["minReplicas"] == 2
    minimum = ("spec", "predictor", "minReplicas")
    assert [manager for (manager, _), paths in owned.owners.items() if minimum in paths] == [MANAGER]
