"""Rollouts on KServe in bad weather: servers that fail, objects that change underneath, drivers that die, operators."""

from __future__ import annotations

import contextlib
import random

import pytest

from pagoda.errors import ConflictError, GateError
from pagoda.rollout import commands
from pagoda.rollout.machine import Phase
from pagoda.rollout.reading import rollout_of

from .fakes.apiserver import FakeCluster, served
from .kserve import OnFake
from .worlds import add_full, quick

pytestmark = pytest.mark.integration


def storm(stage: OnFake, chance: random.Random) -> None:
    """One look at the world, with whatever goes wrong."""
    cluster = stage.cluster
    cluster.failures = [503] * chance.choice([0, 0, 0, 1, 2, 9])
    interrupted = chance.random() < 0.2

    def interfere(method: str, path: str) -> None:
        nonlocal interrupted
        if interrupted and method == "PATCH" and path.endswith("/tower"):
            interrupted = False
            cluster.edit("controller", {"metadata": {"finalizers": [str(chance.random())]}})

    cluster.before = interfere
    if chance.random() < 0.2:
        stage.backend = stage.connect(attempts=2)
        stage.driver = stage.drive()
    if chance.random() < 0.03:
        act = chance.choice([commands.abort, commands.force, commands.pause])
        with contextlib.suppress(ConflictError):
            act(stage.log, by="ann")
    stage.driver.reconcile()
    if chance.random() < 0.7:
        cluster.tick()
    stage.clock.forward(chance.choice([0.5, 2, 5]))


def course(mode: str, seed: int) -> None:
    chance, cluster = random.Random(seed), FakeCluster()
    with served(cluster) as api:
        stage = OnFake(cluster, api, mode)
        stage.backend = stage.connect(attempts=2)
        stage.driver = stage.drive()
        for version in (2, 3, 4):
            if version > 2:
                add_full(stage.log, version)
            try:
                commands.start(stage.log, f"g{version}", policy=quick(grace_seconds=15), by="test")
            except (ConflictError, GateError):
                continue
            for _ in range(60):
                storm(stage, chance)
        cluster.failures, cluster.before = [], lambda *_: None
        for _ in range(5):
            try:
                commands.resume(stage.log, by="ann")
            except ConflictError:
                break
        stage.until(Phase.FINISHED)
        for _ in range(4):
            stage.step()
        check(stage, mode)


def check(stage: OnFake, mode: str) -> None:
    found = rollout_of(stage.log.state())
    stable = stage.log.state().generation(stage.log.state().stable or "")
    weights = {name: share for name, share in stage.cluster.controllers.weights.items() if share}
    assert found is not None and list(weights.values()) == [100]
    (serving,) = weights
    deployment = f"{serving}-deployment" if mode == "Knative" else serving
    pods = stage.cluster.controllers.pods[deployment]
    assert pods.template[0]["model"]["storageUri"] == stable.tower.uri
    assert pods.ready >= 2 and stage.restarts() == 0
    if mode == "Standard":
        assert list(stage.pods) == [serving] and "canary" not in stage.spec


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
@pytest.mark.parametrize("seed", range(2))
def test_what_the_log_says_is_what_kserve_does_in_the_end(mode: str, seed: int) -> None:
    course(mode, seed)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["Standard", "Knative"])
@pytest.mark.parametrize("seed", range(10, 40))
def test_many_storms(mode: str, seed: int) -> None:
    course(mode, seed)
