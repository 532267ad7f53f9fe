"""All services together."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import redis

from pagoda.access.permissions import close
from pagoda.index.milvus.collections import MilvusCollections
from pagoda.sockets import client_of
from pagoda.standalone.endpoints import ports_of
from pagoda.standalone.platform import Platform
from pagoda.standalone.servers.services import PORT_NAMES
from pagoda.standalone.status import Health, ServiceStatus
from pagoda.standalone.supervision.processes import SERVICE_MARK, processes_of

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


def _assert_documented(platform: Platform) -> None:
    """What `ss` says of the platform's processes is what the table in docs/security.md says."""
    page = (Path(__file__).parents[2] / "docs/security.md").read_text()
    table = re.findall(r"^\| (\w+) \| `([\w, ]+|any)` \| (loopback|every address) \|", page, re.M)
    said = {(service, port, place) for service, ports, place in table for port in ports.split(", ")}
    names = {port: name for name, port in ports_of(platform.home, PORT_NAMES).items()}
    services = {process.pid: process.environ()[SERVICE_MARK] for process in processes_of(platform.home)}
    shown = subprocess.run(["ss", "-Hltnp"], check=True, capture_output=True, text=True).stdout
    found = set()
    for line in shown.splitlines():
        address, _, port = line.split()[3].rpartition(":")
        place = "loopback" if address.strip("[]") in ("127.0.0.1", "::1", "::ffff:127.0.0.1") else "every address"
        for pid in re.findall(r"pid=(\d+)", line):
            if service := services.get(int(pid)):
                found.add((service, names.get(int(port), "any"), place))
    assert found == said


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
        others = {service.health for name, service in by_name.items() if name not in ("recall", "sink")}
        assert others == {Health.HEALTHY}
        assert by_name["sink"].health in UP, "as soon as it has looked: there is no dataset"
        record_property("RSS MiB", str({name: service.rss_bytes >> 20 for name, service in by_name.items()}))

        assert httpx.get(f"{settings.registry.uri}/version", trust_env=False).status_code == 200
        with client_of(settings.tower.url, 5) as tower:
            assert tower.get("/ping").json() == {"status": "Healthy"}
        assert httpx.get(f"{settings.recall.url}/v2/health/live", trust_env=False).json() == {"live": True}
        assert redis.Redis.from_url(settings.redis.url).ping()
        assert MilvusCollections(settings.milvus.uri).names() == []
        _assert_documented(platform)
        assert not close(platform.home), "others can read some of it"

        before = {name: service.pid for name, service in by_name.items()}
        for pid in before.values():
            os.kill(pid or 0, signal.SIGKILL)
        _wait_until_up(platform, before)
        assert MilvusCollections(settings.milvus.uri).names() == []
    finally:
        platform.down()
    assert processes_of(platform.home) == []
    assert not platform.layout.sockets.exists()
