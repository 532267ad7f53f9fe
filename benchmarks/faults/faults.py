"""The faults: how each is caused, how it is ended, and how it is told that the part is well again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psutil
import redis
from pymilvus import MilvusClient, MilvusException
from pymilvus.client.types import LoadState

from benchmarks.faults.proxy import DelayProxy
from benchmarks.online.installation import Installation
from pagoda.settings import tower_address
from pagoda.sockets import client_of

DELAY_SECONDS = 2.0
_HELD_SECONDS = 6.0
_SPARE_BYTES = 1 << 16


def _nothing() -> None:
    """Nothing ends it: it ends by itself."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong under load."""

    name: str
    cause: Callable[[], None]
    healthy: Callable[[], bool]
    """Whether the part itself is well, asked directly."""
    end: Callable[[], None] = _nothing
    held_seconds: float = 0.0
    """From cause to end."""
    patience_seconds: float = 120.0
    """Longest wait for the part to be well again."""


def faults_of(installation: Installation, proxies: dict[str, DelayProxy], small_disk: Path | None) -> list[Fault]:
    """All faults of an installation, whose recall service reaches its parts through `proxies`."""
    health = {
        "redis": lambda: _redis(installation.settings.redis.url),
        "torchserve": lambda: _torchserve(installation),
        "milvus": lambda: _milvus(installation),
        "mlflow": lambda: _answers(f"{installation.settings.registry.uri}/health"),
    }
    found = [
        Fault(f"kill {name}", partial(_kill_service, installation, name), health[name])
        for name in ("redis", "torchserve", "milvus", "mlflow")
    ]
    found.insert(1, Fault("kill torchserve worker", lambda: _kill_worker(installation), health["torchserve"]))
    if small_disk is not None:
        ballast = small_disk / "ballast"
        found.append(Fault("disk full", lambda: _fill(ballast), health["redis"], ballast.unlink, _HELD_SECONDS))
    for name, proxy in proxies.items():
        found.append(
            Fault(
                f"delay {name} by {DELAY_SECONDS:g} s",
                partial(_delay, proxy, DELAY_SECONDS),
                health[name],
                partial(_delay, proxy, 0.0),
                _HELD_SECONDS,
            )
        )
    return found


def _kill_service(installation: Installation, name: str) -> None:
    _kill(installation.pid(name))


def _delay(proxy: DelayProxy, seconds: float) -> None:
    proxy.delay = seconds


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    # Well again is told of its successor, not of a corpse that has not been noticed yet.
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)


def _kill_worker(installation: Installation) -> None:
    workers = psutil.Process(installation.pid("torchserve")).children(recursive=True)
    _kill(next(worker.pid for worker in workers if "model_service_worker" in " ".join(worker.cmdline())))


def _fill(ballast: Path) -> None:
    """Leave no room on the disk."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * _SPARE_BYTES)


def _redis(url: str) -> bool:
    try:
        client = redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
        return bool(client.ping()) and client.info("persistence")["aof_last_write_status"] == "ok"
    except redis.RedisError:
        return False


def _torchserve(installation: Installation) -> bool:
    url = installation.settings.tower.url
    try:
        with client_of(url, timeout_seconds=1) as client:
            return client.post(tower_address(url, installation.manifest.full_version), json={"user_id": 1}).is_success
    except httpx.TransportError:
        return False


def _milvus(installation: Installation) -> bool:
    """Whether the collection is loaded and a search is answered."""
    try:
        client = MilvusClient(installation.settings.milvus.uri, timeout=1)
        try:
            name = installation.manifest.collection
            if client.get_load_state(name, timeout=1)["state"] != LoadState.Loaded:
                return False
            vector = [0.0] * installation.manifest.dim
            client.search(name, [vector], limit=1, timeout=1, consistency_level="Eventually")
        finally:
            client.close()
    except MilvusException:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).is_success
    except httpx.TransportError:
        return False


def mount(folder: Path, megabytes: int) -> bool:
    """Make `folder` a disk of its own of that size; False where this is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def unmount(folder: Path) -> None:
    """Undo `mount`."""
    subprocess.run(["umount", str(folder)], check=False, capture_output=True)
