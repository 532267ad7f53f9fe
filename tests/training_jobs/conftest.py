"""A stage for each kind of job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pagoda.cluster import Cluster
from tests.rollout.kserve.fakes.apiserver import served
from tests.training_jobs.fakes.namespace import STEP, FakeNamespace
from tests.training_jobs.steps import Stage, draft_in


@pytest.fixture(params=["trainjobs", "pytorchjobs"])
def plural(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stage(plural: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("KFP_POD_NAME", STEP)
    return Stage(FakeNamespace(plural), draft_in(tmp_path, queue="team"), plural)


@pytest.fixture
def over_http(stage: Stage) -> Iterator[Stage]:
    """With the client that a cluster is asked by."""
    with served(stage.namespace) as api:
        stage.cluster = Cluster("recall", api, attempts=1)
        yield stage
