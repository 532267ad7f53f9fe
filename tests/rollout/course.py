"""What tests ask of a rollout's course, over a `Stage`."""

from __future__ import annotations

from pagoda.rollout import commands
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.rollout.state.machine import Phase, Rollout

from .worlds import Stage, quick


def rollout(stage: Stage) -> Rollout:
    found = rollout_of(stage.log.state())
    assert found is not None
    return found


def start(stage: Stage, **changes: object) -> Rollout:
    return commands.start(stage.log, "g2", policy=quick(**changes), by="test")


def kinds(stage: Stage) -> list[str]:
    return [record.kind for record in stage.log.state().others]


def until(stage: Stage, phase: Phase, turns: int = 100) -> None:
    for _ in range(turns):
        if rollout(stage).phase is phase:
            return
        stage.turn()
    raise AssertionError(f"never {phase}: {stage.driver.reconcile()}")
