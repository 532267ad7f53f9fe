"""The curves of a rollout's gates, from the samples of its driver and from the records that decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pagoda.append_log.records import Record
from pagoda.errors import RequestError
from pagoda.generations.release_log import ReleaseLog
from pagoda.rollout.curves.samples import GateFigures, GateSample, GateSamples, stage_name
from pagoda.rollout.gate_results import Verdict
from pagoda.rollout.state.events import PREFIX
from pagoda.rollout.state.held_gates import KIND, held_of
from pagoda.rollout.state.history import PastRollout, fold
from pagoda.rollout.state.log_reading import course_of, rollout_of
from pagoda.rollout.state.machine import Phase

_STARTED = f"{PREFIX}started"
FIGURES = ("value", "low", "high", "limit")
"""Of a gate, each a line of its curve."""


@dataclass(frozen=True)
class RolloutStage:
    """A phase of a rollout, or one step of its canary: gates are measured anew in each."""

    name: str
    """`registered`, `verified`, `shadow`, `step-1` …"""
    since: datetime
    percent: int
    """Share of the users in the canary arm, or copied to it in shadow."""


@dataclass(frozen=True)
class GateCurve:
    """What one gate measured, oldest first; n moments."""

    gate: str
    at: NDArray[np.datetime64]
    """datetime64[us] [n]: UTC."""
    stage: tuple[str, ...]
    """[n]: names of stages."""
    verdict: tuple[Verdict, ...]
    """[n]"""
    value: NDArray[np.float64]
    """float64 [n], as are the others; NaN where the gate had none."""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    limit: NDArray[np.float64]


@dataclass(frozen=True)
class RolloutCurves:
    """One rollout and all that its gates measured."""

    rollout: PastRollout
    stages: tuple[RolloutStage, ...]
    gates: tuple[GateCurve, ...]
    """In the order in which they were first measured."""


def gate_curves(log: ReleaseLog, samples: GateSamples, rollout: str = "") -> RolloutCurves:
    """What the gates of a rollout measured over its life, while it runs and after it ended.

    A driver adds a sample every ten seconds, less often the longer a stage lasts; the records of the log, which hold
    what decided, add theirs. So of a rollout whose samples retention has let go there are those of the records.

    Args:
        log: The release log.
        samples: Beside it.
        rollout: `r12`; empty: the latest.

    Raises:
        RequestError: There is no such rollout, or none at all.
        IntegrityError: A record or a file of samples is damaged.
        UnavailableError: Their store does not answer.
    """
    records = _records(log, rollout)
    (past,) = fold(records)
    stages, moments = _course(records)
    for stage in stages:
        moments += ((stage.name, sample) for sample in samples.read(past.id, stage.name).samples)
    moments.sort(key=lambda moment: moment[1].at)
    return RolloutCurves(past, tuple(stages), tuple(_curves(moments)))


def _records(log: ReleaseLog, rollout: str) -> list[Record]:
    """Those of the log from the beginning of a rollout to that of the next."""
    if not rollout:
        if (latest := rollout_of(log.state())) is None:
            raise RequestError("there was no rollout yet; `pagoda rollout start` makes one")
        rollout = latest.id
    digits = rollout.removeprefix("r")
    records = log.records(int(digits) - 1) if digits.isdecimal() and digits != "0" else []
    if not records or records[0].kind != _STARTED or rollout != f"r{records[0].number}":
        raise RequestError(f"rollout {rollout!r} is unknown; `pagoda rollout history` lists them")
    return [records[0], *takewhile(lambda record: record.kind != _STARTED, records[1:])]


def _course(records: Sequence[Record]) -> tuple[list[RolloutStage], list[tuple[str, GateSample]]]:
    """The stages, and what records say that gates measured, each with the stage that it ends or holds."""
    stages: list[RolloutStage] = []
    offline = stage_name(Phase.REGISTERED, -1)
    found = [(offline, GateSample.of(one.at, held_of(one).held)) for one in records if one.kind == KIND]
    for record, event, rollout in course_of(one for one in records if one.kind.startswith(PREFIX)):
        if gates := getattr(event, "gates", ()):
            found.append((stages[-1].name, GateSample.of(record.at, gates)))
        name = stage_name(rollout.phase, rollout.step)
        if not stages or stages[-1].name != name:
            stages.append(RolloutStage(name, rollout.since, rollout.percent))
    return stages, found


def _curves(moments: Sequence[tuple[str, GateSample]]) -> Iterator[GateCurve]:
    by_gate: dict[str, list[tuple[str, datetime, GateFigures]]] = {}
    for stage, sample in moments:
        for figures in sample.gates:
            by_gate.setdefault(figures.gate, []).append((stage, sample.at, figures))
    for gate, points in by_gate.items():
        numbers = {name: np.array([getattr(figures, name) for _, _, figures in points], np.float64) for name in FIGURES}
        yield GateCurve(
            gate=gate,
            at=numpy_moments(at for _, at, _ in points),
            stage=tuple(stage for stage, _, _ in points),
            verdict=tuple(figures.verdict for _, _, figures in points),
            **numbers,
        )


def numpy_moments(times: Iterable[datetime]) -> NDArray[np.datetime64]:
    """Moments with a zone as datetime64[us] [n] of UTC, since numpy knows no zones."""
    return np.array([at.astimezone(UTC).replace(tzinfo=None) for at in times], "datetime64[us]")


def curves_as_json(curves: RolloutCurves) -> dict[str, Any]:
    """All samples as plain values."""
    past = curves.rollout
    return {
        "rollout": past.id,
        "candidate": past.candidate,
        "previous": past.previous,
        "outcome": past.outcome,
        "reason": past.reason,
        "stages": [asdict(stage) | {"since": stage.since.isoformat()} for stage in curves.stages],
        "gates": [{"gate": curve.gate, "samples": _samples(curve)} for curve in curves.gates],
    }


def _samples(curve: GateCurve) -> list[dict[str, Any]]:
    return [
        {
            "at": f"{curve.at[row]}+00:00",
            "stage": curve.stage[row],
            "verdict": curve.verdict[row].value,
            **{name: known(getattr(curve, name)[row]) for name in FIGURES},
        }
        for row in range(len(curve.at))
    ]


def known(value: float) -> float | None:
    """None for NaN, which no JSON has."""
    return None if np.isnan(value) else float(value)
