"""Where the training step trains, and what its own pod then needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.place_training import place_training
from pagoda.cluster import Cluster
from pagoda.errors import ConfigError
from pagoda.settings import HOME_VARIABLE, Settings, TrainingSettings
from pagoda.training_jobs import step
from pagoda.training_jobs.job import PodNeeds
from pagoda.training_jobs.pod import PodTask
from pagoda.updates import full_steps
from tests.rollout.kserve.fakes.apiserver import served
from tests.training_jobs.fakes.namespace import STEP, FakeNamespace
from tests.training_jobs.steps import FOUR, update_in

GIVEN = ("8", "64Gi", 4, {"gpu": "a100"})
NEEDS = PodNeeds("4", "16Gi")


def task_in(home: Path, config: str) -> PodTask:
    return PodTask(update=update_in(home).describe(), config=config)


@pytest.mark.parametrize(
    ("jobs", "config", "is_small"),
    [("TrainJob", FOUR, True), ("detected", FOUR, True), ("", FOUR, False), ("TrainJob", "", False)],
)
def test_a_step_that_follows_a_job_needs_little(
    jobs: str, config: str, is_small: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    monkeypatch.setenv("PAGODA_TRAINING__JOBS", jobs)
    placed = place_training.python_func(config, *GIVEN)
    assert tuple(placed) == (("500m", "2Gi", 0, {}) if is_small else GIVEN)


def test_a_wrong_training_file_is_refused_before_a_large_pod_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    with pytest.raises(ConfigError, match="processes"):
        place_training.python_func("distributed: {processes: 0}", *GIVEN)


@pytest.mark.parametrize(("jobs", "config"), [("", FOUR), ("TrainJob", "distributed: {processes: 1}")])
def test_without_a_job_the_step_trains(jobs: Any, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "made"
    monkeypatch.setattr(full_steps, "train", lambda _, *given: folder if given[0] == config else None)
    settings = Settings(home=tmp_path, training=TrainingSettings(jobs=jobs))
    assert step.train(task_in(tmp_path, config), settings, 1, NEEDS, print) == folder.as_uri()


def test_a_job_is_only_for_a_step_on_a_cluster(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, training=TrainingSettings(jobs="TrainJob"))
    with pytest.raises(ConfigError, match="this is no pod of a cluster: leave it empty on one machine"):
        step.train(task_in(tmp_path, FOUR), settings, 1, NEEDS, print)


def test_a_step_finds_what_an_earlier_one_left_and_its_own_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    namespace, update = FakeNamespace("pytorchjobs"), update_in(tmp_path)
    update.step("model", lambda folder: (folder / "version").mkdir())
    monkeypatch.setenv("KFP_POD_NAME", STEP)
    monkeypatch.setattr(step, "own_namespace", lambda: "recall")
    with served(namespace) as api:
        monkeypatch.setattr(step, "Cluster", lambda name: Cluster(name, api, attempts=1))
        uri = step.train(task_in(tmp_path, FOUR), update.settings, 1, NEEDS, print)
    assert uri == update.outputs.uri("model", "version")
    assert namespace.made == []
