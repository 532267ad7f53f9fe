"""However long a stage lasts and whoever records it, a bounded number of samples spans all of it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.rollout.curves.recorder import GateRecorder
from pagoda.rollout.curves.samples import FIRST_SECONDS, MOST, GateSample, GateSamples, StageSamples
from pagoda.rollout.decide import Decision
from pagoda.rollout.driver import Look
from pagoda.rollout.gate_results import GateResult, Verdict
from pagoda.rollout.policy import RolloutPolicy
from pagoda.rollout.state.machine import Phase, Rollout
from tests.rollout.worlds import START, Clock

STAGE = ("r5", "step-1")
ROLLOUT = Rollout(
    id="r5",
    candidate="g2",
    previous="g1",
    policy=RolloutPolicy(),
    by="test",
    phase=Phase.CANARY,
    step=0,
    since=START,
    waiting_since=START,
)


def look(value: float) -> Look:
    result = GateResult(gate="clicks", verdict=Verdict.HELD, detail="…", value=value, low=value - 1, high=value + 1)
    return Look(ROLLOUT, Decision(gates=(result,)))


def seconds_between(samples: StageSamples) -> list[float]:
    at = [sample.at for sample in samples.samples]
    return [(later - earlier).total_seconds() for earlier, later in pairwise(at)]


@settings(max_examples=30)
@given(st.lists(st.floats(1, 100), min_size=1, max_size=MOST * 5))
def test_samples_are_bounded_and_span_the_stage(waits: list[float]) -> None:
    kept, now, taken = StageSamples(), START, []
    for number, wait in enumerate(waits):
        now += timedelta(seconds=wait)
        if kept.due is None or kept.due <= now:
            taken.append(now)
            kept = kept.and_then(GateSample.of(now, look(number).decision.gates))
        assert len(kept.samples) <= MOST
        assert (kept.samples[0].at, kept.samples[-1].at) == (taken[0], taken[-1])
    assert all(gap >= kept.seconds for gap in seconds_between(kept))
    assert len(kept.samples) == len(taken) or len(kept.samples) >= MOST / 2


def in_memory() -> GateSamples:
    """Where no disk is waited for."""
    return GateSamples(f"memory://{uuid.uuid4().hex}")


def test_a_day_is_told_evenly() -> None:
    samples, clock = in_memory(), Clock()
    recorder = GateRecorder(samples, clock)
    while clock.now < START + timedelta(days=1):
        recorder.take(look((clock.now - START).total_seconds()))
        clock.forward(120)
    kept = samples.read(*STAGE)
    assert max(seconds_between(kept)) <= 86_400 / MOST * 2
    assert all(one.gates[0].value == (one.at - START).total_seconds() for one in kept.samples)
    assert len(kept.model_dump_json()) < 200 * MOST


@settings(max_examples=20)
@given(kills=st.lists(st.booleans(), min_size=60, max_size=60))
def test_a_killed_driver_changes_nothing_of_what_is_kept(kills: list[bool]) -> None:
    samples, clock = in_memory(), Clock()
    recorder = GateRecorder(samples, clock)
    for number, killed in enumerate(kills):
        if killed:
            recorder = GateRecorder(samples, clock)
        recorder.take(look(number))
        clock.forward(2)
    # One every ten seconds, or five looks: no kill made them fewer or more.
    assert [one.gates[0].value for one in samples.read(*STAGE).samples] == list(range(0, 60, 5))


def test_two_drivers_keep_one_curve(tmp_path: Path) -> None:
    samples, clock = GateSamples(str(tmp_path)), Clock()
    recorders = [GateRecorder(samples, clock) for _ in range(2)]
    for number in range(100):
        recorders[number % 2].take(look(number))
        clock.forward(1)
    gaps = seconds_between(samples.read(*STAGE))
    assert min(gaps) >= FIRST_SECONDS and max(gaps) <= FIRST_SECONDS + 1


def test_a_store_that_does_not_answer_costs_samples_and_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    samples, clock = GateSamples(str(tmp_path)), Clock()
    recorder = GateRecorder(samples, clock)

    def refuse(*_: object) -> None:
        raise UnavailableError("no bucket")

    with monkeypatch.context() as patched:
        patched.setattr(samples, "write", refuse)
        for number in range(30):
            recorder.take(look(number))
            clock.forward(2)
    assert [record.message for record in caplog.records].count(
        "what the gates measure is not kept for now: no bucket"
    ) == 1
    for number in range(30, 40):
        recorder.take(look(number))
        clock.forward(2)
    assert samples.read(*STAGE).samples[0].gates[0].value == 30


def test_a_damaged_file_is_named_to_readers_and_begun_anew_by_the_driver(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples, clock = GateSamples(str(tmp_path)), Clock()
    GateRecorder(samples, clock).take(look(1))
    (file,) = tmp_path.rglob("*.json")
    file.write_text('{"seconds": 10.0, "samp')
    with pytest.raises(IntegrityError, match=r"gates/r5/step-1\.json"):
        samples.read(*STAGE)
    GateRecorder(samples, clock).take(look(2))
    assert [one.gates[0].value for one in samples.read(*STAGE).samples] == [2] and "begun anew" in caplog.text


def test_what_led_to_a_record_or_was_lost_is_no_sample(tmp_path: Path) -> None:
    from pagoda.rollout.state import events as ev

    samples = GateSamples(str(tmp_path))
    recorder, seen = GateRecorder(samples, Clock()), look(1)
    recorder.take(replace(seen, lost=True))
    recorder.take(replace(seen, decision=replace(seen.decision, event=ev.Stepped(step=0))))
    recorder.take(replace(seen, decision=Decision()))
    assert samples.rollouts() == []


def test_samples_lie_in_a_bucket_likewise(bucket: str) -> None:
    samples, clock = GateSamples(f"{bucket}/log/"), Clock()
    recorder = GateRecorder(samples, clock)
    for number in range(3):
        recorder.take(look(number))
        clock.forward(FIRST_SECONDS)
    assert [one.gates[0].value for one in samples.read(*STAGE).samples] == [0, 1, 2]
    assert samples.rollouts() == ["r5"]
    samples.forget("r5")
    assert samples.rollouts() == [] and samples.read(*STAGE).samples == ()
