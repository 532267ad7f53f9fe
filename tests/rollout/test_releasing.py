"""How updates end while rollouts go on: real trained versions, log, follower and driver; servers that only remember."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pagoda.data.dataset import Dataset
from pagoda.errors import GateError
from pagoda.registry.publish import carry_out, plan_rollback, publish
from pagoda.rollout import commands
from pagoda.rollout.driver import Driver
from pagoda.rollout.policy import RolloutPolicy
from pagoda.rollout.releasing import (
    Release,
    full_policy,
    incremental_policy,
    release_checks,
    release_full,
    tried,
    update_users,
)
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.rollout.state.machine import Phase, Rollout
from pagoda.settings import RolloutSettings
from pagoda.updates.full import FullUpdate
from pagoda.updates.incremental import Nothing
from pagoda.updates.incremental_steps import Done
from tests.training.worlds import config, hours, make
from tests.updates.installations import Installation

from .worlds import Said, Servers, evidence, quick

CONFIG = config(bootstrap_epochs=1)
LATENESS = timedelta(seconds=CONFIG.incremental.lateness_seconds)


class Rolling(Installation):
    """An installation with a driver that is asked to look; steps last no time."""

    def __init__(self, home: Path, dataset: Dataset) -> None:
        super().__init__(home, dataset, CONFIG)
        self.metrics, self.servers = Said(), Servers(patience=0)
        self.driver = Driver(self.log, self.servers, self.metrics, lambda *_: evidence())

    @property
    def rollout(self) -> Rollout:
        found = rollout_of(self.state())
        assert found is not None
        return found

    def until(self, phase: Phase) -> None:
        for _ in range(50):
            if self.rollout.phase is phase:
                return
            self.driver.reconcile()
        raise AssertionError(f"never {phase}: {self.driver.reconcile()}")

    def learn(self, until: float, how: Release = Release.ROLLOUT) -> dict[int, Done | Nothing]:
        return update_users(self.settings, str(self.dataset.path), at(until), how)

    def quiet(self) -> None:
        """Be as `pagoda up` sets an installation up: a driver runs, and incrementals do not wait for requests."""
        local = RolloutSettings(backend="local", incremental="now")
        self.settings = self.settings.model_copy(update={"rollout": local})


def at(hour: float) -> datetime:
    """When windows end at that hour."""
    return hours(0, 1).start + timedelta(hours=hour) + LATENESS


def instant(**changes: object) -> RolloutPolicy:
    """A policy whose steps last no time; the first waits for requests."""
    policy = quick(grace_seconds=0, drain_seconds=0, **changes)
    steps = tuple(step.model_copy(update={"minimum_seconds": 0}) for step in policy.steps)
    return policy.model_copy(update={"steps": steps})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("world") / "data")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    """A home in which full version 1 serves and version 2 is offered."""
    made = Rolling(tmp_path_factory.mktemp("trained") / "home", dataset)
    made.full(hours(0, 34))
    made.full(hours(34, 38), serve=False)
    return made.settings.home


@pytest.fixture
def home(dataset: Dataset, trained: Path, tmp_path: Path) -> Iterator[Rolling]:
    """Another home whose log has come as far; the artifacts stay where they are."""
    shutil.copytree(trained / "log", tmp_path / "home" / "log")
    made = Rolling(tmp_path / "home", dataset)
    with made.followed():
        yield made


def test_during_a_full_rollout_deltas_go_to_both_arms_each_on_its_own_base(home: Rolling) -> None:
    commands.start(home.log, "g2", policy=instant(), by="test")
    home.until(Phase.CANARY)
    home.metrics.requests = 10  # No further step, however often the driver looks.
    done = home.learn(42)
    assert all(isinstance(one, Done) and one.served for one in done.values()) and set(done) == {1, 2}
    arms = home.state().arms
    assert (arms.stable, arms.canary) == ("g1.3", "g2.4")
    assert [home.state().versions[number].base for number in (3, 4)] == [1, 2]
    assert sum(record.kind == "rollout.started" for record in home.state().others) == 1, "no canary of their own"
    home.driver.reconcile()
    rollout = home.rollout
    assert (rollout.phase, rollout.candidate, rollout.previous) == (Phase.CANARY, "g2.4", "g1.3")
    home.metrics.requests = 10_000
    home.until(Phase.FINISHED)
    assert home.state().stable == "g2.4" and {"g1", "g1.3"} <= home.state().retired


def test_a_candidate_without_an_arm_goes_on_as_its_newer_self(home: Rolling) -> None:
    commands.start(home.log, "g2", policy=instant(), by="test")
    told = {base: one.waits for base, one in home.learn(42).items() if isinstance(one, Done)}
    assert told == {1: "", 2: f"g2.4 is the candidate of rollout {home.rollout.id} now"}
    assert home.state().arms.stable == "g1.3" and home.rollout.candidate == "g2.4"
    home.until(Phase.FINISHED)
    assert home.state().stable == "g2.4"


def test_an_incremental_has_its_own_short_rollout_and_the_next_waits_for_it(home: Rolling) -> None:
    done = home.learn(42)[1]
    assert isinstance(done, Done) and not done.served and "began" in done.waits
    assert home.rollout.candidate == "g1.3" and home.rollout.policy.online.clicks is None
    waits = home.learn(46)[1]
    assert isinstance(waits, Nothing) and "the next update learns this too" in waits.reason
    assert len(home.state().versions) == 3, "nothing is trained that could not be delivered"


def test_on_a_quiet_machine_an_incremental_answers_at_once_unless_somebody_asks_for_a_rollout(home: Rolling) -> None:
    home.quiet()
    done = home.learn(42, Release.AUTO)[1]
    assert isinstance(done, Done) and done.served and home.state().stable == "g1.3"
    assert rollout_of(home.state()) is None
    home.learn(46, Release.ROLLOUT)
    assert home.rollout.candidate == "g1.4" and home.state().stable == "g1.3"
    waits = home.learn(50, Release.AUTO)[1]
    assert isinstance(waits, Nothing), "the rollout that somebody asked for is not cut short"


def test_on_a_quiet_machine_a_full_rollout_gets_its_deltas_on_both_bases(home: Rolling) -> None:
    home.quiet()
    commands.start(home.log, "g2", policy=instant(), by="test")
    assert set(home.learn(42, Release.AUTO)) == {1, 2}
    assert home.state().arms.stable == "g1.3" and home.rollout.candidate == "g2.4"


def test_on_a_cluster_an_incremental_has_its_rollout(home: Rolling) -> None:
    home.settings = home.settings.model_copy(update={"rollout": RolloutSettings(backend="kserve")})
    home.learn(42, Release.AUTO)
    assert home.rollout.candidate == "g1.3" and home.state().stable == "g1"


def test_on_a_cluster_nothing_is_released_at_once_that_no_predictor_runs(home: Rolling) -> None:
    home.settings = home.settings.model_copy(update={"rollout": RolloutSettings(backend="kserve")})
    state = home.state()
    with pytest.raises(GateError, match=r"no predictor runs full version 2.*`pagoda rollout start g2`"):
        publish(home.log, "g2", "stable", checks=release_checks(home.settings, state))
    assert home.state().stable == "g1"
    commands.start(home.log, "g2", policy=instant(), by="test")
    home.until(Phase.VERIFIED)
    (predictor, *_) = release_checks(home.settings, home.state())
    predictor(home.state().generations["g2"])
    predictor(home.state().generations["g1"])


def test_what_is_rolled_back_is_not_learned_again(home: Rolling) -> None:
    commands.start(home.log, "g2", policy=instant(), by="test")
    assert tried(home.state()) == ([hours(0, 38).end], [hours(0, 38).end])
    commands.abort(home.log, by="test")
    home.until(Phase.FINISHED)
    assert tried(home.state()) == ([hours(0, 38).end], [])


def test_what_somebody_rolled_back_by_hand_is_not_released_again_by_itself(home: Rolling) -> None:
    publish(home.log, "g2", "stable")
    assert tried(home.state()) == ([], [])
    carry_out(home.log, plan_rollback(home.state(), "g1"))
    assert tried(home.state()) == ([hours(0, 38).end], [])
    update = FullUpdate(home.settings, str(home.dataset.path), hours(34, 38), 1)
    with pytest.raises(GateError, match=r"g2 .* rolled back .* `pagoda publish g2`"):
        release_full(update)
    assert home.state().stable == "g1" and rollout_of(home.state()) is None


def test_what_was_rolled_back_by_hand_may_be_brought_back_by_hand(home: Rolling) -> None:
    publish(home.log, "g2", "stable")
    carry_out(home.log, plan_rollback(home.state(), "g1"))
    commands.start(home.log, "g2", policy=instant(), by="test")
    home.until(Phase.FINISHED)
    assert home.state().stable == "g2" and tried(home.state())[0] == [hours(0, 34).end], "the retired g1"


def test_without_a_driver_updates_answer_at_once(home: Rolling) -> None:
    done = update_users(home.settings, str(home.dataset.path), at(42))[1]
    assert isinstance(done, Done) and done.served and home.state().stable == "g1.3"
    assert rollout_of(home.state()) is None


def test_policies_come_from_the_files_that_the_settings_name(home: Rolling, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("steps: [{percent: 7}]\n")
    settings = home.settings.model_copy(update={"rollout": RolloutSettings(full_policy=str(path))})
    assert [step.percent for step in full_policy(settings).steps] == [7]
    assert incremental_policy(settings).online.clicks is None
