"""Retention never takes what serves, what a rollback needs, or what training goes on from."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagoda.config.training import parse_config
from pagoda.generations.creation import add_incremental
from pagoda.generations.live import live
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.versions import VersionRecord
from pagoda.index.in_process.collections import FolderCollections
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.registry.publish import carry_out, plan_rollback, publish
from pagoda.registry.retention import Removals, RetentionPolicy, carry_out_retention, plan_retention

from .conftest import Clock
from .worlds import World

TWO = RetentionPolicy(full_versions=2)


class Place:
    """Four days of full versions with two incrementals each: g1, g1.2, g1.3, g4, … g10.12; each day is published."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.folder = folder
        self.log = ReleaseLog(str(folder / "log"), clock=self.clock)
        self.registry = FolderRegistry(folder / "versions", self.log)
        self.world = World(folder / "made")
        for number in range(4):
            for manifest in self.world.serve_chain(self.registry, self.log, 2, day_number=number):
                publish(self.log, manifest.id, "stable")
                self.clock.forward(hours=8)
                self.outputs(self.registry.get(manifest.order[1] or manifest.order[0])).mkdir(parents=True)
        self.index = FolderCollections(folder / "index")
        for name in (*(f"recall_v{number}" for number in (1, 4, 7, 10)), "somebody_elses"):
            self.index.create(name, 2, (), keys=False, description="")

    def outputs(self, record: VersionRecord) -> Path:
        return self.folder / "artifacts" / record.key.replace(":", "/")

    def clean(self, policy: RetentionPolicy = TWO) -> Removals:
        return carry_out_retention(
            self.log,
            self.registry,
            policy,
            collections=self.index.names,
            drop=self.index.drop,
            step_outputs=lambda record: str(self.outputs(record)),
        )

    def stored(self) -> set[int]:
        return {record.version for record in self.registry.list() if Path(record.uri).exists()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_last_stable_generation_of_each_kept_full_version_stays(place: Place) -> None:
    removals = place.clean()
    assert set(removals.generations) == {"g1", "g1.2", "g1.3", "g4", "g4.5", "g4.6", "g7", "g7.8", "g10"}
    assert removals.collections == ("recall_v1", "recall_v4")
    assert removals.versions == (1, 2, 3, 4, 5, 6)
    assert place.index.names() == ["recall_v10", "recall_v7", "somebody_elses"]
    assert place.stored() == {7, 8, 9, 10, 11, 12}
    assert not place.outputs(place.registry.get(1)).exists()
    assert place.outputs(place.registry.get(7)).exists()
    # What it kept is enough to go back to yesterday.
    carry_out(place.log, plan_rollback(place.log.state(), to="g7.9"))
    assert place.log.state().stable == "g7.9"


def test_cleaning_again_finds_nothing(place: Place) -> None:
    place.clean()
    head = place.log.state().head
    assert not place.clean()
    assert place.log.state().head == head


def test_the_grace_keeps_what_served_lately(place: Place) -> None:
    kept = RetentionPolicy(full_versions=2, grace=place.clock.now - place.log.state().releases[3].at)
    planned = plan_retention(place.log.state(), place.log.now(), kept)
    assert "g1.3" not in planned.generations and "g1.2" in planned.generations
    assert planned.versions == ()  # g1.3 needs version 1 and both of its segments


def test_a_candidate_and_its_parts_stay_however_long_its_rollout_takes(place: Place) -> None:
    place.world.serve_chain(place.registry, place.log, 1, day_number=4)
    place.log.append("rollout.step", {"arms": {"stable": "g10.12", "canary": "g13"}})
    place.clock.forward(hours=48)
    removals = place.clean()
    assert {"g13", "g13.14", "g10.12"}.isdisjoint(removals.generations)
    assert {10, 11, 12, 13, 14} <= place.stored()


def test_what_a_channel_asks_is_live_and_kept_as_long_as_what_has_the_channel(place: Place) -> None:
    declared = parse_config("channels: [{kind: two_tower, share: 0.5}, {kind: second_generation, share: 0.5}]").channels
    before = place.log.state().stable
    made = place.world.serve_chain(place.registry, place.log, 2, day_number=4, channels=declared)
    assert [manifest.second for manifest in made] == [before] * 3 == ["g10.12"] * 3
    later = place.world.serve_chain(place.registry, place.log, 0, day_number=5, channels=declared)[0]
    publish(place.log, made[-1].id, "stable")
    place.clock.forward(hours=48)
    state = place.log.state()
    # What is asked asks nothing itself, or each version would keep all those before it.
    assert set(live(state, place.log.now())) == {made[-1].id, "g10.12"}
    publish(place.log, later.id, "stable")
    place.clock.forward(hours=48)
    assert set(live(place.log.state(), place.log.now())) == {later.id, "g10.12"}
    removals = place.clean(RetentionPolicy(full_versions=2))
    assert "g10.12" not in removals.generations
    assert {10, 11, 12} <= place.stored() and "recall_v10" in place.index.names()
    assert later.second == "g10.12", "it is what was stable when that one was made, whatever was released since"


def test_an_incremental_that_no_generation_has_yet_keeps_its_chain(place: Place) -> None:
    parent = place.registry.get(12)
    base = place.registry.get(10)
    late = place.registry.register(place.world.incremental(base, 999, parent))
    place.clean()
    manifest = add_incremental(place.log, late.version)
    assert [segment.version for segment in manifest.segments] == [13, 12, 11]
    assert {10, 11, 12, 13} <= place.stored()


def test_a_release_that_comes_in_between_wins(place: Place) -> None:
    """Somebody rolls back to a generation just as retention is about to retire it."""

    def collections() -> set[str]:
        carry_out(place.log, plan_rollback(place.log.state(), to="g4.6"))
        return place.index.names()

    carry_out_retention(
        place.log,
        place.registry,
        TWO,
        collections=collections,
        drop=place.index.drop,
        step_outputs=lambda record: str(place.outputs(record)),
    )
    assert place.log.state().stable == "g4.6"
    assert "recall_v4" in place.index.names()
    assert {4, 5, 6} <= place.stored()


class Killed(BaseException):
    """As by SIGKILL."""


@pytest.mark.parametrize("step", range(5))
def test_killed_at_a_step_and_run_again(place: Place, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    def dying(call: Callable[..., object], after: int) -> Callable[..., object]:
        left = iter(range(after))

        def once(*args: object, **kwargs: object) -> object:
            if next(left, None) is None:
                raise Killed
            return call(*args, **kwargs)

        return once

    targets = [(place.log._store, "put", 4), (place.index, "drop", 0), (place.index, "drop", 1)]
    targets += [(place.registry, "delete_artifacts", 2), (place.log, "append", 0)]
    owner, name, after = targets[step]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, name, dying(getattr(owner, name), after))
        place.clean()
    place.clean()
    assert place.index.names() == ["recall_v10", "recall_v7", "somebody_elses"]
    assert place.stored() == {7, 8, 9, 10, 11, 12}
    assert {record.version for record in place.registry.list() if record.pruned} == {1, 2, 3, 4, 5, 6}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(seed=st.integers(0, 1 << 30), full_versions=st.integers(2, 4), hours=st.integers(0, 200))
def test_whatever_happened_the_plan_spares_what_is_needed(
    place: Place, seed: int, full_versions: int, hours: int
) -> None:
    chance = random.Random(seed)
    log = ReleaseLog(str(place.folder / "log"), clock=place.clock)
    state = log.state()
    for _ in range(chance.randrange(4)):
        arms = chance.sample(sorted(state.generations), 2)
        body = {"arms": {"stable": arms[0], "canary": chance.choice([None, arms[1]])}}
        state = state.apply(
            [log.records()[-1].model_copy(update={"number": state.head + 1, "kind": "released", "body": body})]
        )
    now = place.clock.now.replace(hour=hours % 24)
    planned = plan_retention(state, now, RetentionPolicy(full_versions=full_versions), place.index.names())
    spared = {*state.arms.serving, *live(state, now), *filter(None, [state.previous])}
    assert spared.isdisjoint(planned.generations)
    for id_ in spared:
        manifest = state.generations[id_]
        parts = {manifest.full_version, *(segment.version for segment in manifest.segments)}
        assert parts.isdisjoint(planned.versions)
        assert manifest.collection not in planned.collections
    assert "somebody_elses" not in planned.collections
