"""Ports on loopback: choosing free ones, and saying who holds a taken one."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection, Mapping
from pathlib import Path

import psutil

from pagoda.errors import UnavailableError

LOOPBACK = "127.0.0.1"
_LOWEST = 15_000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL_START = 32_768


def choose_ports(names: Collection[str], taken: Collection[int]) -> dict[str, int]:
    """A free port for each name.

    Below the range that the system gives to outgoing connections: a port from within it may be one's own client's
    at the next start.
    """
    chosen: dict[str, int] = {}
    avoided = set(taken)
    for name in names:
        port = _free_port(avoided)
        avoided.add(port)
        chosen[name] = port
    return chosen


def require_free(ports: Mapping[str, int]) -> None:
    """Raise UnavailableError, naming the port and its holder, if one cannot be listened on."""
    complaints = [_complaint(name, port) for name, port in ports.items() if not is_free(port)]
    if complaints:
        advice = "stop what holds it, or set another one in pagoda.yaml (standalone: ports:)"
        raise UnavailableError("; ".join([*complaints, advice]))


def is_free(port: int) -> bool:
    """Whether a server could listen on `port`, on every address (Milvus does) and so on loopback."""
    for family, address in ((socket.AF_INET, ""), (socket.AF_INET6, "")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # As servers do; without it, connections that just ended would count.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((address, port))
                probe.listen()
        except OSError:
            if family == socket.AF_INET6 and not socket.has_dualstack_ipv6():
                continue
            return False
    return True


def _free_port(avoided: Collection[int]) -> int:
    highest = _EPHEMERAL_START
    if _EPHEMERAL.exists():
        highest = int(_EPHEMERAL.read_text().split()[0])
    candidates = [port for port in range(_LOWEST, max(highest, _LOWEST + 1000)) if port not in avoided]
    # At random: two platforms that start together should not try the same ones.
    for port in random.sample(candidates, len(candidates)):
        if is_free(port):
            return port
    raise UnavailableError(f"no free port between {_LOWEST} and {highest}")


def _complaint(name: str, port: int) -> str:
    holder = _holder(port)
    return f"port {port} of {name} is taken" + (f" by {holder}" if holder else "")


def _holder(port: int) -> str | None:
    """The process that listens on `port`, as far as this user may see."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        return None
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:2] == (port,) and connection.pid:
            try:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (pid {process.pid}: {' '.join(process.cmdline())[:100]})"
            except psutil.Error:
                return f"pid {connection.pid}"
    return None
