"""`pagoda status` on a terminal of 80 columns: no name and no word of health is cut."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from pagoda.cli.platform.platform import status_table
from pagoda.standalone.status import Health, ServiceStatus

SOCKET = "unix:///tmp/pagoda-1000-420a221a94c1/redis.sock?db=0"


@pytest.mark.parametrize("width", [80, 100])
def test_each_service_stands_whole(width: int) -> None:
    names = ("mlflow", "milvus", "redis", "torchserve", "follower", "recall", "rollout")
    shown = [ServiceStatus(name, Health.NOT_READY, 123456, SOCKET, 360_000.0, 1 << 31, "") for name in names]
    further = {"items": "http://127.0.0.1:26879"}
    shown.append(ServiceStatus("workers", Health.UNHEALTHY, 9, "http://127.0.0.1:8080", 1.0, 1, "", further))
    out = StringIO()
    Console(file=out, width=width).print(status_table(shown))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width and "…" not in out.getvalue()
    for name in names:
        assert any(line.split()[:3] == [name, "not", "ready"] for line in lines)
    assert "(items)" in out.getvalue() and "100:00:00" in out.getvalue()
