"""All services together."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx
import pytest
import redis

from pagoda.index.collection import Collections
from pagoda.sockets import client_of
from pagoda.standalone.platform import Platform
from pagoda.standalone.processes import processes_of
from pagoda.standalone.status import Health, ServiceStatus

pytestmark = pytest.mark.integration
UP = (Health.HEALTHY, Health.NOT_READY)


def _wait_until_up(platform: Platform, pids: dict[str, int | None]) -> dict[str, ServiceStatus]:
    """Wait until every service is healthy in another process than `pids` says."""
    deadline = time.monotonic() + 180
    while True:
        current = {service.name: service for service in platform.status()}
        if all(service.health in UP and service.pid != pids.get(name) for name, service in current.items()):
            return current
        assert time.monotonic() < deadline, current
        time.sleep(0.5)


def test_all_services_start_come_back_when_killed_and_leave_nothing(
    tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    platform = Platform(tmp_path / "home")
    healthy_after: dict[str, float] = {}
    begin = time.monotonic()

    def note(current: list[ServiceStatus]) -> None:
        for service in current:
            if service.health in UP:
                healthy_after.setdefault(service.name, round(time.monotonic() - begin, 1))

    try:
        settings = platform.up(attached=True, report=note)
        record_property("seconds until healthy", str(healthy_after))
        by_name = {service.name: service for service in platform.status()}
        names = ("mlflow", "milvus", "redis", "torchserve", "follower", "recall", "sink", "items", "rollout")
        assert tuple(by_name) == names
        assert by_name["recall"].health == Health.NOT_READY, "there is no generation yet"
        assert "pagoda update full" in by_name["recall"].problem
        assert {service.health for name, service in by_name.items() if name != "recall"} == {Health.HEALTHY}
        record_property("RSS MiB", str({name: service.rss_bytes >> 20 for name, service in by_name.items()}))

        assert httpx.get(f"{settings.registry.uri}/version", trust_env=False).status_code == 200
        with client_of(settings.tower.url, 5) as tower:
            assert tower.get("/ping").json() == {"status": "Healthy"}
        assert httpx.get(f"{settings.recall.url}/v2/health/live", trust_env=False).json() == {"live": True}
        assert redis.Redis.from_url(settings.redis.url).ping()
        assert Collections(settings.milvus.uri).names() == []
        before = {name: service.pid for name, service in by_name.items()}
        for pid in before.values():
            os.kill(pid or 0, signal.SIGKILL)
        _wait_until_up(platform, before)
        assert Collections(settings.milvus.uri).names() == []
    finally:
        platform.down()
    assert processes_of(platform.home) == []
    assert not platform.layout.sockets.exists()
