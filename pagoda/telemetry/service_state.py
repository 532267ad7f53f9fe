"""A recall service as it is now, in figures: what people see as tables and scripts as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from pagoda.telemetry.scrape import MetricChange

STAGES = ("store", "tower", "index", "total")
OUTCOMES = ("ok", "refused", "shed", "unavailable", "failed")
BREAKERS = ("closed", "half open", "open")
_ANSWERS = "pagoda_recall_answers_total"
_DEGRADED = "pagoda_recall_degraded_answers_total"


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True)


class StageFigures(_Figures):
    """How long a stage took, in milliseconds; None of a stage that nothing went through."""

    p50_ms: float | None
    p99_ms: float | None


class ArmFigures(_Figures):
    """An arm that has answered."""

    arm: str
    generation: str
    share: float
    """Of the users."""
    users_per_second: float
    unknown: float | None
    """Share of the users answered since the look before, None where there was none; so are the next three."""
    short: float | None
    degraded: float | None
    failed: float | None
    learned_until: AwareDatetime | None
    stages: dict[str, StageFigures]


class StandInFigures(_Figures):
    """Users in whose answer something stood in for a server or a channel."""

    per_second: float
    total: int
    """Since the service started."""


class ServiceState(_Figures):
    """All of it. What is per second is so between two looks."""

    url: str
    requests_per_second: dict[str, float]
    """By outcome."""
    in_flight: int
    events_per_second: float
    arms: tuple[ArmFigures, ...]
    stood_in: dict[str, StandInFigures]
    """By step, `tower_oov` say."""
    breakers: dict[str, str]
    """By server: one of `BREAKERS`."""


def state_of(change: MetricChange, url: str) -> ServiceState:
    """What two looks at the metrics of the service at `url` say of it."""
    outcomes = _values(change, "pagoda_recall_requests_total", "outcome")
    states = change.now.of("pagoda_recall_breaker_state")
    return ServiceState(
        url=url,
        requests_per_second={
            outcome: change.rate("pagoda_recall_requests_total", outcome=outcome)
            for outcome in OUTCOMES
            if outcome in outcomes
        },
        in_flight=int(change.now.total("pagoda_recall_requests_in_flight")),
        events_per_second=change.rate("pagoda_events_total"),
        arms=tuple(_arms(change)),
        stood_in={step: _stood_in(change, step) for step in sorted(_values(change, _DEGRADED, "step"))},
        breakers=dict(sorted((dict(key)["server"], BREAKERS[int(state)]) for key, state in states.items())),
    )


def _values(change: MetricChange, name: str, label: str) -> set[str]:
    return {dict(key)[label] for key in change.now.of(name)}


def _stood_in(change: MetricChange, step: str) -> StandInFigures:
    total = int(change.now.total(_DEGRADED, step=step))
    return StandInFigures(per_second=change.rate(_DEGRADED, step=step), total=total)


def _arms(change: MetricChange) -> Iterator[ArmFigures]:
    """Those that have users and have answered some, the stable one first; what warms a generation up is none."""
    for key, answers in sorted(change.now.of(_ANSWERS).items(), key=lambda one: (("arm", "stable") not in one[0], one)):
        labels = dict(key)
        shares = change.now.of("pagoda_recall_arm_share", **labels)
        if answers and shares and labels["arm"] != "warm-up":
            yield _arm(change, labels, sum(shares.values()))


def _arm(change: MetricChange, labels: Mapping[str, str], share: float) -> ArmFigures:
    arm, answered = labels["arm"], change.growth(_ANSWERS, **labels)
    end = change.now.total("pagoda_recall_generation_window_end_timestamp_seconds", arm=arm)

    def part(name: str) -> float | None:
        return change.growth(f"pagoda_recall_{name}_total", **labels) / answered if answered else None

    return ArmFigures(
        arm=arm,
        generation=labels["generation"],
        share=share,
        users_per_second=answered / change.seconds,
        unknown=part("unknown_users"),
        short=part("short_answers"),
        degraded=part("degraded_answers"),
        failed=part("arm_errors"),
        learned_until=datetime.fromtimestamp(end, UTC) if end else None,
        stages={stage: _stage(change, arm, stage) for stage in STAGES},
    )


def _stage(change: MetricChange, arm: str, stage: str) -> StageFigures:
    p50, p99 = (change.quantile(share, "pagoda_recall_stage_seconds", arm=arm, stage=stage) for share in (0.5, 0.99))
    return StageFigures(p50_ms=_ms(p50), p99_ms=_ms(p99))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3
