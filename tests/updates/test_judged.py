"""Every full version is registered with what it is worth and whose figure that is, and a bad one is warned of."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.data.dataset import Dataset
from pagoda.evaluation.report import Estimate
from pagoda.settings import EvaluationSettings, Settings
from pagoda.training.full import judgement
from pagoda.training.full.judgement import judge_held_back
from pagoda.updates import full_evaluation, full_steps
from pagoda.updates.full import FullUpdate
from tests.training.worlds import config, make

from .installations import Installation

CONFIG = config(bootstrap_epochs=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("world") / "data", clicks_an_hour=8)


def first(dataset: Dataset, home: Path, **evaluation: bool) -> FullUpdate:
    settings = Settings(home=home, evaluation=EvaluationSettings(**evaluation))
    return FullUpdate.resolve(settings, str(dataset.path), "")


def test_a_first_version_is_judged_by_nine_tenths_once(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = first(dataset, tmp_path)
    full_steps.train(update, CONFIG.to_yaml())
    monkeypatch.setattr(judgement, "judge_held_back", None)
    full_steps.train(update, CONFIG.to_yaml())
    judged, record = full_evaluation.judge(update), full_steps.register(update)
    assert judged.of == "held_back" and judged.report is not None
    assert record.metrics == judged.figures and "lift_over_popularity_high" in record.metrics
    assert "all but the last tenth of the window" in record.tags["judgement"]


def test_a_later_version_without_later_positives_has_its_parents_figures(dataset: Dataset, tmp_path: Path) -> None:
    made = Installation(tmp_path, dataset, CONFIG)
    made.full(dataset.span().model_copy(update={"end": Dataset.open(dataset.path).span().start.replace(hour=22)}))
    update = FullUpdate.resolve(made.settings, str(dataset.path), "")
    assert update.parent == 1
    full_steps.train(update, CONFIG.to_yaml())
    judged, record = full_evaluation.judge(update), full_steps.register(update)
    assert judged.of == "parent" and judged.report is not None and judged.report.window == update.window
    assert "its parent, on the window that this version then learned" in record.tags["judgement"]


def test_judging_can_be_switched_off(dataset: Dataset, tmp_path: Path) -> None:
    update = first(dataset, tmp_path, first_version=False)
    full_steps.train(update, CONFIG.to_yaml())
    record = full_steps.register(update)
    assert record.metrics == {} and record.tags["judgement"].startswith("Not judged")


def test_a_version_that_loses_is_warned_of_wherever_it_is_seen(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = judge_held_back(dataset, dataset.span(), CONFIG)
    assert judged.report is not None
    bad = Estimate(value=0.8, low=0.7, high=0.9)
    lift = dict.fromkeys(judged.report.lift, bad)
    losing = judged.model_copy(update={"report": judged.report.model_copy(update={"lift": lift})})
    monkeypatch.setattr(judgement, "judge_held_back", lambda *_, **__: losing)
    update = first(dataset, tmp_path)
    full_steps.train(update, CONFIG.to_yaml())
    assert "Worse than popularity: Recall@10 is 0.80" in full_steps.register(update).tags["warning"]
    shown = CliRunner().invoke(app, ["versions", "--home", str(tmp_path)], env={"COLUMNS": "80"})
    assert "Version 1: Worse than popularity: Recall@10 is 0.80" in shown.output
