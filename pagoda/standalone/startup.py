"""Bringing services up together: each as soon as those it needs are healthy, until all are."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from pagoda.errors import UnavailableError
from pagoda.standalone.layout import Layout
from pagoda.standalone.logs import last_lines
from pagoda.standalone.servers.service import Service
from pagoda.standalone.status import Health, ServiceStatus, status_of
from pagoda.standalone.supervision.supervisor import Supervisor

Report = Callable[[list[ServiceStatus]], None]
_POLL_SECONDS = 0.2
_DEATHS = 4
_UP = (Health.HEALTHY, Health.NOT_READY)


def bring_up(supervisor: Supervisor, layout: Layout, services: Sequence[Service], report: Report) -> None:
    """Start the services and wait until all are healthy at once.

    Raises:
        UnavailableError: One dies or stays unhealthy; the message ends with its log's last lines.
    """
    names = {service.name for service in services}
    begun: dict[str, float] = {}
    keepers: dict[str, set[int]] = defaultdict(set)
    up: set[str] = set()
    settled: set[str] = set()
    while True:
        for service in services:
            if service.name not in begun and (set(service.after) & names) <= up:
                supervisor.start_service(service.name)
                begun[service.name] = time.monotonic()
        states = supervisor.states()
        current = [status_of(service, states.get(service.name)) for service in services]
        report(current)
        for service, status in zip(services, current, strict=True):
            if keeper := states[service.name].keeper:
                keepers[service.name].add(keeper)
            if service.name in begun:
                _require_hope(layout, service, status, begun[service.name], len(keepers[service.name]))
        now_up = {status.name for status in current if status.health in _UP}
        for service in services:
            if service.name in now_up - settled:
                service.settle()
                settled.add(service.name)
        up = now_up
        if up == names:
            return
        time.sleep(_POLL_SECONDS)


def gave_up(layout: Layout, status: ServiceStatus) -> UnavailableError:
    """The error for a service that the supervisor does not try again."""
    return _error(layout, status.name, f"died and does not come back ({status.problem or 'no reason known'})")


def _require_hope(layout: Layout, service: Service, status: ServiceStatus, begun: float, lives: int) -> None:
    if status.health == Health.FAILED:
        raise gave_up(layout, status)
    if status.health in _UP:
        return
    if lives > _DEATHS:
        raise _error(layout, service.name, f"died {lives - 1} times before it was healthy")
    if time.monotonic() - begun > service.start_seconds:
        raise _error(layout, service.name, f"is not healthy after {service.start_seconds:.0f} s ({status.problem})")


def _error(layout: Layout, name: str, what: str) -> UnavailableError:
    path = layout.log(name)
    return UnavailableError(f"{name} {what}. The last lines of {path}:\n{last_lines(path)}")
