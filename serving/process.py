"""A command as the process of a container or of the embedded platform."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable

import typer

from pagoda.errors import PagodaError

_BACKLOG = 4096
"""Connections that wait to be taken; as many as the kernel allows by default (`net.core.somaxconn`)."""


def run(command: Callable[..., None]) -> None:
    """Run a command until it ends; an error made for people is one line, and the exit status 1."""
    try:
        typer.run(command)
    except PagodaError as error:
        sys.exit(f"{type(error).__name__}: {error}")


def end_as_by_ctrl_c() -> None:
    """Let a `kill` or a terminal that closes end this process as tidily as Ctrl-C, which is heard also where a shell
    has it ignored, as it does for its background jobs."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for connections. `::` is every address of both families, as a dual-stack service needs it."""
    if ":" not in host:
        return socket.create_server((host, port), backlog=_BACKLOG)
    return socket.create_server((host, port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=host == "::")
