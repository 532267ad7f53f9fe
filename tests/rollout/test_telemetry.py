"""What the driver tells Prometheus."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import REGISTRY

from pagoda.rollout import commands
from pagoda.rollout.state.machine import Phase
from pagoda.rollout.telemetry import silent_unless, tell

from .worlds import Stage, quick


def _value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_a_rollout_can_be_followed_from_outside() -> None:
    stage = Stage()
    commands.start(stage.log, "g2", policy=quick(), by="test")
    seen = []
    for _ in range(200):
        look = stage.driver.reconcile()
        tell(look)
        phases = {phase for phase in Phase if _value("pagoda_rollout_phase", phase=phase.value)}
        assert phases == {look.rollout.phase}
        if look.rollout.phase is Phase.CANARY:
            seen.append(_value("pagoda_rollout_canary_percent"))
        stage.clock.forward(1.0)
        if look.rollout.phase is Phase.FINISHED:
            break
    assert seen and max(seen) > 0
    assert _value("pagoda_rollout_canary_percent") == 0
    assert _value("pagoda_rollout_records_total", kind="promoted")
    tell(replace(look, trouble=("KServe does not answer",)))
    assert _value("pagoda_rollout_looks_total", outcome="trouble") == 1


def _phases() -> set[Phase]:
    return {phase for phase in Phase if _value("pagoda_rollout_phase", phase=phase.value)}


def test_a_rollback_by_a_person_is_counted_once_from_nought() -> None:
    before = _value("pagoda_rollout_rolled_back_total")
    assert before is not None, "what begins at 1 has no increase"
    stage = Stage()
    commands.start(stage.log, "g2", policy=quick(), by="test")
    tell(stage.driver.reconcile())
    commands.abort(stage.log, by="somebody")
    for _ in range(3):
        tell(stage.driver.reconcile())
    assert _value("pagoda_rollout_rolled_back_total") == before + 1


def test_a_driver_that_lost_the_lead_says_no_more_of_a_rollout() -> None:
    stage = Stage()
    commands.start(stage.log, "g2", policy=quick(), by="test")
    tell(stage.driver.reconcile())
    assert silent_unless(lambda: True)
    assert _phases()
    assert not silent_unless(lambda: False)
    assert not _phases()
    assert _value("pagoda_rollout_phase_since_timestamp_seconds") == 0
