"""`/metrics` of a process that has no server of its own."""

from __future__ import annotations

import socket

from prometheus_client import start_http_server

from pagoda.errors import UnavailableError


def serve_metrics(port: int) -> None:
    """Answer Prometheus on `port` of every address, from a thread of its own; 0: not at all.

    Raises:
        UnavailableError: The port is taken.
    """
    if not port:
        return
    try:
        start_http_server(port, "::" if socket.has_dualstack_ipv6() else "0.0.0.0")  # noqa: S104
    except OSError as error:
        raise UnavailableError(f"metrics: port {port} cannot be opened ({error.strerror})") from error
