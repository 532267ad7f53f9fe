"""Incremental versions: rolled out by themselves, and delivered while a full one is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pagoda.config.training import parse_config
from pagoda.errors import ConflictError, GateError
from pagoda.generations.live import live
from pagoda.generations.manifest import Manifest, Mixture
from pagoda.rollout import commands
from pagoda.rollout.policy import INCREMENTAL, ShadowStep
from pagoda.rollout.state.machine import Phase
from pagoda.rollout.target import target_of

from .course import rollout, start, until
from .worlds import Stage, add_full, add_incremental, quick


def test_an_incremental_takes_the_short_way(stage: Stage) -> None:
    id_ = add_incremental(stage.log, 3, 1, "g1")
    assert commands.deliver(stage.log, id_, by="test").endswith("began")
    assert rollout(stage).policy == INCREMENTAL
    until(stage, Phase.FINISHED, turns=300)
    assert stage.log.state().stable == id_
    assert not stage.log.state().retired, "the one before is a segment less, and what `pagoda rollback` returns to"
    older = add_incremental(stage.log, 2_000, 1, "g1")
    late = stage.log.state().generation(id_)
    assert late.order < stage.log.state().generation(older).order


def test_incrementals_during_a_full_rollout_go_to_the_arm_of_their_base(stage: Stage) -> None:
    start(stage)
    stage.turn(2)
    assert "candidate" in commands.deliver(stage.log, add_incremental(stage.log, 3, 2, "g2"), by="test")
    until(stage, Phase.CANARY)
    assert stage.log.state().arms.canary == "g2.3"
    commands.deliver(stage.log, add_incremental(stage.log, 4, 1, "g1"), by="test")
    commands.deliver(stage.log, add_incremental(stage.log, 5, 2, "g2.3"), by="test")
    arms = stage.log.state().arms
    assert (arms.stable, arms.canary) == ("g1.4", "g2.5")
    assert {manifest.id for manifest in target_of(stage.log.state()).generations} == {"g1.4", "g2.5"}
    until(stage, Phase.PROMOTED)
    assert stage.log.state().stable == "g2.5" and rollout(stage).previous == "g1.4"
    commands.deliver(stage.log, add_incremental(stage.log, 6, 2, "g2.5"), by="test")
    commands.abort(stage.log, by="test")
    assert stage.log.state().arms.stable == "g1.4"


def test_a_shadow_is_refreshed_once_its_servers_hold_the_newer_one(stage: Stage) -> None:
    """Copies go to it from the record on: what its tower refuses counts as the candidate's failures."""

    def refuse(manifest: Manifest) -> None:
        raise GateError(f"{manifest.id} is not held")

    start(stage, shadow=ShadowStep(minimum_seconds=5, maximum_seconds=50, minimum_requests=10, percent=30))
    first = add_incremental(stage.log, 3, 2, "g2")
    commands.deliver(stage.log, first, by="test", checks=[refuse])  # No server of its own runs yet.
    until(stage, Phase.SHADOW)
    second = add_incremental(stage.log, 4, 2, first)
    with pytest.raises(GateError, match="not held"):
        commands.deliver(stage.log, second, by="test", checks=[refuse])
    assert rollout(stage).candidate == first
    commands.deliver(stage.log, second, by="test", checks=[lambda _: None])
    assert rollout(stage).candidate == second


def test_a_newer_incremental_waits_for_the_one_before(stage: Stage) -> None:
    commands.deliver(stage.log, add_incremental(stage.log, 3, 1, "g1"), by="test")
    with pytest.raises(ConflictError, match="must wait"):
        commands.deliver(stage.log, add_incremental(stage.log, 4, 1, "g1.3"), by="test")


def test_an_incremental_published_over_a_candidate_supersedes_it(stage: Stage) -> None:
    first = add_incremental(stage.log, 3, 1, "g1")
    second = add_incremental(stage.log, 4, 1, first)
    commands.start(stage.log, first, policy=quick(), by="test")
    until(stage, Phase.CANARY)
    stage.log.append("released", {"arms": {"stable": second, "canary": first}, "reason": "publish"})
    stage.turn()
    assert rollout(stage).phase is Phase.ROLLED_BACK and stage.log.state().stable == second


def test_retiring_a_full_version_retires_every_generation_that_a_rollback_could_return_to(stage: Stage) -> None:
    second = add_incremental(stage.log, 3, 1, "g1")
    stage.log.append("released", {"arms": {"stable": second}, "reason": "publish"})
    start(stage)
    until(stage, Phase.FINISHED, turns=200)
    assert stage.log.state().retired == {"g1", second}


def test_what_a_channel_of_the_promoted_one_asks_outlives_the_grace(stage: Stage) -> None:
    second = add_incremental(stage.log, 3, 1, "g1")
    stage.log.append("released", {"arms": {"stable": second}, "reason": "publish"})
    declared = parse_config("channels: [{kind: two_tower, share: 0.5}, {kind: second_generation, share: 0.5}]")
    mixture = Mixture(channels=declared.channels, merging=declared.merging, tables={}, second=second)
    asking = add_full(stage.log, 4, mixture=mixture)
    commands.start(stage.log, asking, policy=quick(), by="test")
    until(stage, Phase.FINISHED, turns=200)
    state = stage.log.state()
    assert (state.stable, state.retired) == (asking, {"g1"})
    assert second in live(state, stage.clock() + timedelta(days=30))


def test_a_candidate_goes_with_all_that_it_learned_on_the_way(stage: Stage) -> None:
    start(stage)
    stage.turn(2)
    commands.deliver(stage.log, add_incremental(stage.log, 3, 2, "g2"), by="test")
    until(stage, Phase.CANARY)
    commands.deliver(stage.log, add_incremental(stage.log, 4, 2, "g2.3"), by="test")
    commands.abort(stage.log, by="test")
    until(stage, Phase.FINISHED, turns=200)
    assert stage.log.state().retired == {"g2", "g2.3", "g2.4"}
