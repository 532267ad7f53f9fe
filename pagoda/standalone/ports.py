"""Ports on loopback: choosing free ones, and saying who holds a taken one."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from pagoda.errors import UnavailableError

LOOPBACK = "127.0.0.1"
_LOWEST = 15_000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL_START = 32_768


def choose_ports(names: Collection[str], taken: Collection[int]) -> dict[str, int]:
    """A free port for each name; see `ports_chosen`."""
    with ports_chosen(names, taken) as ports:
        return ports


@contextmanager
def ports_chosen(
    names: Collection[str], taken: Collection[int], preferred: Mapping[str, int] | None = None
) -> Iterator[dict[str, int]]:
    """Choose a free port for each name. Until the block ends, by when servers should listen, nobody else chooses them.

    Below the range that the system gives to outgoing connections: a port from within it may be one's own client's
    at the next start.

    Args:
        names: What the ports are for.
        taken: Ports that are not chosen, free or not.
        preferred: By name the port to choose if it is free.

    Raises:
        UnavailableError: There are too few free ports.
    """
    chosen: dict[str, int] = {}
    with ExitStack() as marks:
        for name in names:
            avoided = {*taken, *chosen.values()}
            wanted = (preferred or {}).get(name, 0)
            mine = wanted and wanted not in avoided and _take(wanted, marks)
            chosen[name] = wanted if mine else _free_port(avoided, marks)
        yield chosen


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


def _free_port(avoided: Collection[int], marks: ExitStack) -> int:
    highest = _EPHEMERAL_START
    if _EPHEMERAL.exists():
        highest = int(_EPHEMERAL.read_text().split()[0])
    candidates = [port for port in range(_LOWEST, max(highest, _LOWEST + 1000)) if port not in avoided]
    for port in random.sample(candidates, len(candidates)):
        if _take(port, marks):
            return port
    raise UnavailableError(f"no free port between {_LOWEST} and {highest}")


def _take(port: int, marks: ExitStack) -> bool:
    """Whether a port is free, and nobody else has chosen it for a server that does not listen yet.

    The mark is a socket in Linux's abstract namespace, unix(7): one for all users who share the ports, no file that
    stays, and gone with the process whatever ends it. It comes first: of two who look at one port, one stops here.
    """
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        mark.bind(f"\0pagoda/port/{port}")
    except OSError:
        mark.close()
        return False
    if not is_free(port):
        mark.close()
        return False
    marks.enter_context(mark)
    return True


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
