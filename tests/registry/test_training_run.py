"""What MLflow shows of a training while it goes on, on a real server."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pagoda.registry.mlflow_registry import MlflowRegistry
from pagoda.registry.training_run import TrainingRun
from pagoda.settings import RegistrySettings

from .worlds import World, day

pytestmark = pytest.mark.integration


class Seconds:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def learn(run: TrainingRun, clock: Seconds, batches: int, seconds: float) -> None:
    """Batches of a hundred positives, whose losses fall by one each."""
    for batch in range(batches):
        clock.now += seconds
        run.advance(100, 10.0 - batch)


def test_a_training_has_a_curve_in_the_run_that_its_version_is_registered_by(
    on_mlflow: MlflowRegistry, world: World
) -> None:
    clock, draft = Seconds(), world.full()
    client: Any = on_mlflow._server.client
    about = RegistrySettings(uri=on_mlflow._uri, model=on_mlflow._model)
    for done in (0, 300):  # The second one goes on where the first was killed.
        run = TrainingRun(about, draft.window, draft.parent, clock=clock)
        run.begin(600, 2, done)
        learn(run, clock, 3, seconds=6.0)
    run.validated(1, 0.25, best=True)
    record = on_mlflow.register(draft)
    losses = client.get_metric_history(record.run, "train/loss")
    assert [(point.step, point.value) for point in losses] == [(200, 9.5), (500, 9.5)]
    assert [point.value for point in client.get_metric_history(record.run, "train/samples_per_second")] == [
        200 / 12
    ] * 2
    assert client.get_metric_history(record.run, "train/epoch")[-1].value == 1.0
    assert client.get_metric_history(record.run, "train/validation")[0].value == 0.25
    assert client.get_run(record.run).data.tags["window"] == draft.window.key


def test_a_server_that_is_away_stops_no_training(caplog: pytest.LogCaptureFixture) -> None:
    clock = Seconds()
    run = TrainingRun(RegistrySettings(uri="http://127.0.0.1:9"), day(0), None, clock=clock)
    run.begin(10_000, 1)
    with caplog.at_level(logging.WARNING):
        learn(run, clock, 20, seconds=11.0)
    assert len([one for one in caplog.messages if "is not shown for five minutes" in one]) == 1


def test_without_a_server_nothing_is_asked() -> None:
    clock = Seconds()
    run = TrainingRun(RegistrySettings(), day(0), None, clock=clock)
    run.begin(100, 1)
    learn(run, clock, 3, seconds=100.0)
