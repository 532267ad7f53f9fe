"""A run that somebody starts in Kubeflow's UI without filling anything in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pagoda.errors import PagodaError
from pagoda.index.milvus.collections import MilvusCollections
from pagoda.settings import load_settings
from pipelines.local import run_locally
from tests.pipelines.built import pipelines
from tests.training.worlds import CONFIG, make
from tests.updates.installations import Installation


@pytest.mark.integration
def test_each_pipeline_runs_with_its_defaults_alone(
    collections: MilvusCollections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make(tmp_path / "data", total_hours=48)
    for name, value in {
        "MILVUS__URI": collections.uri,
        "REGISTRY__MODEL": "defaults",
        "EVENTS__DATASET": str(dataset.path),
        "INDEX": '{"kind": "FLAT"}',  # An installation's setting, and built in no time.
    }.items():
        monkeypatch.setenv(f"PAGODA_{name}", value)
    settings, made = load_settings(tmp_path / "home"), {}
    with Installation(settings.home, dataset, CONFIG).followed():
        for name, pipeline in pipelines().items():
            made[name] = run_locally(pipeline, settings, {})
            happens_more(tmp_path)
    assert made == {"full-update": "g1", "incremental-update": "g1.2"}
    (page,) = (settings.home / "runs").rglob("evaluate/report")
    assert page.read_text().startswith("<!DOCTYPE html>")


def happens_more(folder: Path) -> None:
    """A third day."""
    if not (folder / "more").exists():
        make(folder / "more", total_hours=72)
        (day,) = (folder / "more" / "interactions").glob("*01-03*")
        shutil.copytree(day, folder / "data" / "interactions" / day.name)


def test_without_any_dataset_a_run_says_what_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAGODA_EVENTS__DATASET", raising=False)
    with pytest.raises(PagodaError, match=r"dataset: none is named, PAGODA_EVENTS__DATASET .* is not set"):
        run_locally(pipelines()["full-update"], load_settings(tmp_path / "home"), {})
