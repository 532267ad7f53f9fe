"""Which window a full update learns, and from which version it starts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.errors import DataError, GateError
from pagoda.registry.publish import carry_out, plan_rollback
from pagoda.settings import EvaluationSettings, Settings, TrainingSettings
from pagoda.updates import full_evaluation, full_steps
from pagoda.updates.full import FullUpdate
from tests.training.worlds import SPEC, config, hours, make

from .installations import Installation

CONFIG = config(bootstrap_epochs=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 hours of clicks."""
    return make(tmp_path_factory.mktemp("world") / "data", clicks_an_hour=5)


@pytest.fixture
def home(dataset: Dataset, tmp_path: Path) -> Installation:
    """An installation that serves version 2, which learned up to hour 40; version 1 learned up to hour 30."""
    made = Installation(tmp_path / "home", dataset, CONFIG)
    made.full(hours(0, 30))
    made.full(hours(30, 40))
    return made


def resolve(home: Installation, until: int) -> FullUpdate:
    end = hours(0, until).end.isoformat()
    return FullUpdate.resolve(home.settings, str(home.dataset.path), end)


def test_goes_on_where_the_champion_ended(home: Installation) -> None:
    update = resolve(home, 50)
    assert (update.window, update.parent) == (hours(40, 50), 2)


def test_after_a_rolled_back_day_the_window_reaches_further_back(home: Installation) -> None:
    carry_out(home.log, plan_rollback(home.state()))
    update = resolve(home, 50)
    assert (update.window, update.parent) == (hours(30, 50), 1)


def test_the_champions_own_window_is_its_own_update(home: Installation) -> None:
    again = resolve(home, 40)
    assert home.state().versions[2].key == again.key
    assert again.version().version == 2


def test_the_window_of_a_version_that_was_let_go_is_refused_before_any_step(home: Installation) -> None:
    carry_out(home.log, plan_rollback(home.state()))
    assert resolve(home, 40).version().version == 2, "it is still there to be published"
    home.log.append("retired", {"generation": "g2"})
    with pytest.raises(GateError, match="version 2 has learned this window, was rolled back and is retired"):
        resolve(home, 40)
    assert resolve(home, 50).window == hours(30, 50)


def test_nothing_after_the_champion_is_said(home: Installation) -> None:
    with pytest.raises(DataError, match=r"nothing to learn: version 2 has learned up to .* would end at"):
        resolve(home, 35)
    span = home.dataset.span()
    assert FullUpdate.resolve(home.settings, str(home.dataset.path), "").window == Window(
        start=hours(30, 40).end, end=span.end
    )


def test_what_nobody_liked_since_measures_nothing_and_stops_nothing(tmp_path: Path) -> None:
    """At midnight there are always rows after the window, and often no positive among them."""
    spec = SPEC.model_copy(update={"positives": ("like",)})
    dataset = make(tmp_path / "data", spec)
    likes = pa.concat_arrays([batch.column("timestamp") for batch in dataset.batches(events=["like"])])
    end = pc.max(likes).as_py() + timedelta(microseconds=1)
    assert end < dataset.span().end
    settings = Settings(home=tmp_path / "home", evaluation=EvaluationSettings())
    update = FullUpdate.resolve(settings, str(dataset.path), end.isoformat())
    full_steps.train(update, CONFIG.to_yaml())
    assert full_evaluation.evaluate(update) is None
    judged = full_evaluation.judge(update)
    assert judged.of == "held_back" and judged.report is not None
    assert full_steps.register(update).metrics == judged.figures


def test_steps_share_their_work_by_the_processes_that_train_unless_those_are_a_jobs(tmp_path: Path) -> None:
    by_four = config(distributed={"processes": 4})

    def shared_by(**training: str) -> int:
        settings = Settings(home=tmp_path, training=TrainingSettings(**training))
        return FullUpdate(settings, "data", hours(0, 40), None).processes_here(by_four)

    assert shared_by() == 4
    assert shared_by(jobs="TrainJob") == 1
