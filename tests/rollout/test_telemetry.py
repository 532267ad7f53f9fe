"""What the driver tells Prometheus."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import REGISTRY

from pagoda.rollout import commands
from pagoda.rollout.machine import Phase
from pagoda.rollout.telemetry import tell

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
