"""What the platform's services are doing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import psutil

from pagoda.standalone.servers.service import Service
from pagoda.standalone.supervision.supervisor import ProcessState


class Health(StrEnum):
    """One word for a service."""

    STOPPED = "stopped"
    STARTING = "starting"
    HEALTHY = "healthy"
    NOT_READY = "not ready"
    """Its process works, but it cannot answer requests yet: there is no generation, for example."""
    UNHEALTHY = "unhealthy"
    RESTARTING = "restarting"
    FAILED = "failed"
    """It died again and again and was given up."""


@dataclass(frozen=True)
class ServiceStatus:
    """One service now."""

    name: str
    health: Health
    pid: int | None
    url: str
    uptime_seconds: float
    rss_bytes: int
    """Of its process and all their children."""
    problem: str
    """Why it is not healthy; empty when it is."""
    further: Mapping[str, str] = field(default_factory=dict)
    """Its other addresses, by what they take."""


_DOWN = {
    "STOPPED": Health.STOPPED,
    "STOPPING": Health.STOPPED,
    "BACKOFF": Health.RESTARTING,
    # It has a keeper, and no process at this moment.
    "STARTING": Health.RESTARTING,
    "RUNNING": Health.RESTARTING,
}


def status_of(service: Service, state: ProcessState | None) -> ServiceStatus:
    """Ask one service how it is. Takes up to a few seconds when it hangs."""
    if state is None or not state.pid:
        health = Health.STOPPED if state is None else _DOWN.get(state.state, Health.FAILED)
        return ServiceStatus(
            service.name, health, None, service.url, 0.0, 0, state.problem if state else "", service.further
        )
    health, problem = _asked(service, state)
    uptime = max(0.0, time.time() - state.started)
    return ServiceStatus(
        service.name, health, state.pid, service.url, uptime, _rss(state.pid), problem, service.further
    )


def statuses(services: Sequence[Service], states: dict[str, ProcessState]) -> list[ServiceStatus]:
    """All services, in their order."""
    return [status_of(service, states.get(service.name)) for service in services]


def _asked(service: Service, state: ProcessState) -> tuple[Health, str]:
    if state.state == "STOPPING":
        return Health.STOPPED, "stopping"
    if (problem := service.healthy()) is not None:
        young = state.state == "STARTING" or time.time() - state.started < service.start_seconds
        return (Health.STARTING if young else Health.UNHEALTHY), problem
    if (problem := service.ready()) is not None:
        return Health.NOT_READY, problem
    return Health.HEALTHY, ""


def _rss(pid: int) -> int:
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    return sum(_own_rss(member) for member in family)


def _own_rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
