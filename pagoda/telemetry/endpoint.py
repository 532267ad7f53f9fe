"""`/metrics` of a process that has no server of its own, and the few other pages that it has."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from http.server import ThreadingHTTPServer
from threading import Thread

from prometheus_client import MetricsHandler

from pagoda.errors import UnavailableError

Page = Callable[[], bytes]
"""JSON."""


def serve_metrics(port: int, pages: Mapping[str, Page] | None = None) -> None:
    """Answer Prometheus on `port` of every address, from a thread of its own; 0: not at all.

    Args:
        port: Where.
        pages: What else is answered there, by path.

    Raises:
        UnavailableError: The port is taken.
    """
    if not port:
        return
    found = pages or {}

    class Handler(MetricsHandler):
        def do_GET(self) -> None:  # noqa: N802 - its name in http.server
            if (page := found.get(self.path)) is None:
                super().do_GET()
                return
            content = page()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    try:
        server = _Server(("", port), Handler)
    except OSError as error:
        raise UnavailableError(f"metrics: port {port} cannot be opened ({error.strerror})") from error
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()


class _Server(ThreadingHTTPServer):
    """Of every address, IPv4 and where there is IPv6 both."""

    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()
