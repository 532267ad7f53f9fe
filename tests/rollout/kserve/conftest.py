"""A fake cluster, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kubernetes import client

from tests.rollout.kserve.fakes.apiserver import FakeCluster, served


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def api(cluster: FakeCluster) -> Iterator[client.ApiClient]:
    with served(cluster) as found:
        yield found
