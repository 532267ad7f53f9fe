"""A log to write to, and what versions and generations look like in tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pagoda.generations.release_log import ReleaseLog
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.registry.mlflow_registry import MlflowRegistry

from .server import mlflow_server
from .worlds import World


class Clock:
    """Time that moves only when a test says so."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> ReleaseLog:
    return ReleaseLog(str(tmp_path / "log"), clock=clock)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "made")


@pytest.fixture
def registry(tmp_path: Path, log: ReleaseLog) -> FolderRegistry:
    return FolderRegistry(tmp_path / "versions", log)


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server.uri


@pytest.fixture
def on_mlflow(mlflow_uri: str, log: ReleaseLog) -> MlflowRegistry:
    """A registry of its own on the shared server."""
    return MlflowRegistry(mlflow_uri, f"recall-{uuid.uuid4().hex[:8]}", log)
