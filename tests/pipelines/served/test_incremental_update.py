"""Incremental updates on real servers: what users just did answers within seconds."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import mlflow
import pytest

from pagoda.client import Client
from pipelines.local import run_locally
from tests.pipelines.built import pipelines
from tests.waiting import wait_for

from .full_updates import CONFIG
from .homes import Home

pytestmark = pytest.mark.integration


def test_the_pipeline_serves_what_happened(served: Home) -> None:
    served.now += timedelta(days=1)
    arguments = {"dataset": str(served.dataset.path), "now": served.now.isoformat(), "release": "now"}
    generation = run_locally(pipelines()["incremental-update"], served.settings, arguments)
    assert generation == served.state().stable
    record = served.state().versions[served.state().generation(generation).incremental_version or 0]
    registered = mlflow.MlflowClient(served.settings.registry.uri).get_model_version("recall", str(record.version))
    assert registered.tags["update"] == "incremental" and registered.tags["base"] == str(served.state().champion)
    assert not run_locally(pipelines()["incremental-update"], served.settings, arguments)


def test_an_update_answers(served: Home) -> None:
    done = served.learn()
    with Client(home=served.settings.home) as client:
        wait_for(lambda: client.recommend(1, k=10).generation == done.manifest.id)
    assert done.served


def test_a_full_version_catches_up_before_it_is_offered(served: Home) -> None:
    before, window_end = served.state(), served.now - timedelta(hours=12)
    arguments = {"dataset": str(served.dataset.path), "window_end": window_end.isoformat(), "config": CONFIG}
    arguments |= {"catch_up": served.now.isoformat(), "release": "now"}
    generation = run_locally(pipelines()["full-update"], served.settings, arguments)
    manifest, state = served.state().generation(generation), served.state()
    assert manifest.incremental_version is not None and state.stable == generation != before.stable
    assert state.versions[manifest.full_version].parent == before.champion
    assert [one.arms.stable for one in state.releases][-2:] == [before.stable, generation]
    assert Path(state.versions[manifest.full_version].uri).exists()
    assert run_locally(pipelines()["full-update"], served.settings, arguments) == generation
    assert served.state().head == state.head  # Run again, it changes nothing.
