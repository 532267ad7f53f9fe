"""A rollout's gates over its life: while it runs, after it ended, and on the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event as Signal
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.cli.releases.rollout.curves import sparkline
from pagoda.errors import RequestError
from pagoda.generations.release_log import ReleaseLog
from pagoda.rollout import commands
from pagoda.rollout.curves.reading import RolloutCurves, gate_curves
from pagoda.rollout.curves.recorder import GateRecorder
from pagoda.rollout.curves.retention import old_samples
from pagoda.rollout.curves.samples import GateSamples
from pagoda.rollout.loop import drive
from pagoda.rollout.state.machine import Phase
from pagoda.settings import Settings
from tests.rollout.test_screens import SaidOfChannels
from tests.rollout.worlds import Clock, Stage, add_full, evidence, quick


class RecordedStage(Stage):
    """One whose log is a folder, beside which its driver keeps what gates measure."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__()
        self.samples = GateSamples(str(folder / "log"))
        self.restart()

    def open(self) -> ReleaseLog:
        return ReleaseLog(str(self.folder / "log"), clock=self.clock)

    def restart(self) -> None:
        """A driver as after a crash."""
        self.driver, self.recorder = self.drive(), GateRecorder(self.samples, self.clock)

    def turn(self, times: int = 1, seconds: float = 1.0) -> None:
        for _ in range(times):
            self.recorder.take(look := self.driver.reconcile())
            if look.decision.acts:
                continue
            self.clock.forward(seconds)

    def curves(self, rollout: str = "") -> RolloutCurves:
        return gate_curves(self.log, self.samples, rollout)

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(
            app, ["rollout", "gates", *words, "--home", str(self.folder)], env={"COLUMNS": "80", "PAGODA_HOME": None}
        )


@pytest.fixture
def stage(tmp_path: Path) -> RecordedStage:
    return RecordedStage(tmp_path)


def promote(stage: RecordedStage, candidate: str = "g2") -> str:
    started = commands.start(stage.log, candidate, policy=quick(steps=long_steps()), by="test")
    for _ in range(20):
        stage.turn(10)
        stage.restart()
    return started.id


def long_steps() -> tuple[Any, ...]:
    return tuple(step.model_copy(update={"minimum_seconds": 60}) for step in quick().steps)


def test_a_rollouts_gates_are_told_from_its_beginning_to_its_end(stage: RecordedStage) -> None:
    id_ = promote(stage)
    found = stage.curves()
    assert found.rollout.id == id_ and found.rollout.outcome == "promoted"
    names = [one.name for one in found.stages]
    assert names == ["registered", "verified", "step-1", "step-2", "promoted", "finished"]
    assert [one.percent for one in found.stages] == [0, 0, 10, 50, 0, 0]
    (clicks,) = (curve for curve in found.gates if curve.gate == "clicks")
    assert (np.diff(clicks.at) >= np.timedelta64(0)).all()
    # Of each step of a minute a sample every ten seconds, and what decided.
    assert all(6 <= clicks.stage.count(step) <= 8 for step in ("step-1", "step-2"))
    assert ((clicks.low <= clicks.value) & (clicks.value <= clicks.high)).all()
    assert {curve.gate: set(curve.stage) for curve in found.gates}["recall"] == {"registered"}


class TenLooks(Signal):
    """Ends a loop after so many looks, a second apart."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock, self._looks = clock, 0

    def wait(self, timeout: float | None = None) -> bool:
        self._looks += 1
        self._clock.forward(timeout or 0)
        if self._looks == 10:
            self.set()
        return self.is_set()


def test_the_loop_of_a_driver_keeps_them(stage: RecordedStage) -> None:
    id_ = commands.start(stage.log, "g2", policy=quick(steps=long_steps()), by="test").id
    drive(stage.drive(), Settings(home=stage.folder), "local", 1.0, TenLooks(stage.clock))
    assert stage.samples.rollouts() == [id_] and len(stage.samples.read(id_, "step-1").samples) == 1


def test_what_decided_is_the_last_of_its_stage(stage: RecordedStage) -> None:
    commands.start(stage.log, "g2", policy=quick(), by="test")
    while stage.curves().stages[-1].name != "step-1":
        stage.turn()
    stage.turn(3)
    stage.metrics.error_rate = 0.5
    stage.turn(2)
    found = stage.curves()
    (errors,) = (curve for curve in found.gates if curve.gate == "errors")
    assert found.rollout.outcome == "rolled back" and errors.verdict[-1].value == "fail"
    assert errors.value[-1] > errors.limit[-1] > errors.value[0] and errors.stage[-1] == "step-1"


def test_of_a_rollout_without_samples_there_is_what_records_say(stage: RecordedStage) -> None:
    stage.evidence = evidence(candidate_recall=0.1)
    id_ = commands.start(stage.log, "g2", policy=quick(), by="test").id
    for _ in range(3):
        stage.driver.reconcile()
    found = stage.curves(id_)
    assert stage.samples.rollouts() == []
    assert {curve.gate: curve.verdict[-1].value for curve in found.gates}["recall"] == "fail"


def test_each_rollout_has_its_own(stage: RecordedStage) -> None:
    first = promote(stage)
    add_full(stage.log, 3)
    second = promote(stage, "g3")
    one, other = stage.curves(first), stage.curves(second)
    assert (one.rollout.candidate, other.rollout.candidate) == ("g2", "g3")
    assert one.gates[0].at[-1] < other.gates[0].at[0] and stage.curves().rollout.id == second


@pytest.mark.parametrize("unknown", ["r1", "r999", "g2", "r", "r0", "r-1"])
def test_an_unknown_rollout_is_refused_by_name(stage: RecordedStage, unknown: str) -> None:
    with pytest.raises(RequestError, match="no rollout yet"):
        stage.curves()
    promote(stage)
    with pytest.raises(RequestError, match=f"'{unknown}' is unknown"):
        stage.curves(unknown)


def test_samples_stay_as_long_as_the_files_of_their_version(stage: RecordedStage) -> None:
    id_ = promote(stage)
    assert stage.samples.rollouts() == [id_] and old_samples(stage.log, stage.samples) == []
    assert old_samples(stage.log, stage.samples, going=[1]) == []
    assert old_samples(stage.log, stage.samples, going=[2]) == [id_]
    stage.log.append("pruned", {"versions": [2]})
    assert old_samples(stage.log, stage.samples) == [id_]


def test_people_see_each_gate_on_eighty_columns(stage: RecordedStage, tmp_path: Path) -> None:
    assert isinstance(stage.run().exception, RequestError)
    promote(stage)
    shown = stage.run("--plot", str(tmp_path / "pictures" / "gates.png"))
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in shown.output
    assert lines[0].startswith("Rollout") and "promoted after 2 min" in lines[0]
    (clicks,) = (line for line in lines if line.startswith("clicks"))
    assert "pass" in clicks and any(block in clicks for block in "▁▂▃▄▅▆▇█")
    assert (tmp_path / "pictures" / "gates.png").read_bytes().startswith(b"\x89PNG")


def test_names_of_channels_gates_fit_beside_their_curves(stage: RecordedStage) -> None:
    stage.metrics = SaidOfChannels(requests=20_000, users=1_000, click_rate=0.11)
    stage.restart()
    commands.start(stage.log, "g2", policy=quick(), by="test")
    stage.turn(5)
    lines = stage.run().output.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("fallbacks.item_to_item ") and "hold" in line for line in lines)


def test_scripts_get_all_samples(stage: RecordedStage) -> None:
    id_ = promote(stage)
    told = json.loads(stage.run(id_, "--output", "json").stdout)
    assert (told["rollout"], told["candidate"], told["outcome"]) == (id_, "g2", "promoted")
    clicks = next(one for one in told["gates"] if one["gate"] == "clicks")["samples"]
    assert clicks == sorted(clicks, key=lambda sample: sample["at"])
    assert {"at", "stage", "verdict", "value", "low", "high", "limit"} == set(clicks[0])
    requests = next(one for one in told["gates"] if one["gate"] == "requests")["samples"]
    assert requests[0]["low"] is None
    assert stage.log.state().others and Phase.PROMOTED.value in {one["name"] for one in told["stages"]}


def test_a_sparkline_shows_where_values_are_and_how_high() -> None:
    at = np.array(["2026-11-22T00:00", "2026-11-22T01:00", "2026-11-22T02:00"], "datetime64[us]")
    line = sparkline(at, np.array([0.0, np.nan, 5.0]), at[0], at[-1])
    assert line[0] == "▁" and line[-1] == "█" and set(line[1:-1]) == {" "}
    assert sparkline(at, np.full(3, np.nan), at[0], at[-1]) == ""
    assert set(sparkline(at, np.full(3, 2.0), at[0], at[-1])) == {"▁", " "}
