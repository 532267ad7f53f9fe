"""Where the platform's processes take connections, as the system says and not as they were told."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import psutil

from pagoda.standalone.supervision.processes import SERVICE_MARK, processes_of

_EVERY = ("0.0.0.0", "::")  # noqa: S104 - what is looked for


@dataclass(frozen=True, order=True)
class Listener:
    """A port that a service listens on."""

    service: str
    port: int
    everywhere: bool
    """On every address of the machine, not on loopback alone."""


def listeners(home: Path) -> set[Listener]:
    """The TCP ports of the platform in `home`."""
    services = {process.pid: process.environ()[SERVICE_MARK] for process in processes_of(home)}
    return {
        Listener(services[one.pid], one.laddr.port, one.laddr.ip in _EVERY)
        for one in psutil.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.laddr and one.pid in services
    }


def reachable(home: Path) -> list[str]:
    """For each service that others than this machine reach, a line that says so."""
    ports = defaultdict(list)
    for one in sorted(listeners(home)):
        if one.everywhere:
            ports[one.service].append(str(one.port))
    addresses = ", ".join(_addresses()) or "none but loopback now"
    return [
        f"{service} listens on every address of this machine ({addresses}), ports {', '.join(numbers)}; what that "
        "means, and how to close it, is in docs/security.md"
        for service, numbers in ports.items()
    ]


def _addresses() -> list[str]:
    found = [one.address for many in psutil.net_if_addrs().values() for one in many if one.family.name == "AF_INET"]
    return sorted(address for address in found if not address.startswith("127."))
