"""A fake cluster, a client of it, and stages on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kubernetes import client

from pagoda.rollout.backends.kserve.replicas import Bounds
from tests.rollout.kserve.fakes.apiserver import FakeCluster, served

from .stage import OnFake, chart


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def api(cluster: FakeCluster) -> Iterator[client.ApiClient]:
    with served(cluster) as found:
        yield found


@pytest.fixture
def stage(cluster: FakeCluster, api: client.ApiClient) -> OnFake:
    return OnFake(cluster, api)


@pytest.fixture
def scaled(cluster: FakeCluster, api: client.ApiClient) -> OnFake:
    """With an autoscaler, whose metric asks for seven pods."""
    stage = OnFake(cluster, api, chart("Standard", scaled=True, scaleTarget=70), Bounds(2, 10))
    cluster.workloads.load = 7
    cluster.tick()
    cluster.tick()
    return stage
