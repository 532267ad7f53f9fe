"""Applications by the listener that a request came in at.

Which one that is says the system, not the caller: no header and no path leads from one listener to another.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send


class ByListener:
    """One application for all listeners of a server."""

    def __init__(self, first: ASGIApp, others: Mapping[int, ASGIApp]) -> None:
        """Make it.

        Args:
            first: Of every listener that `others` does not name.
            others: By port.
        """
        self._first, self._others = first, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, port = scope.get("server") or ("", 0)
        await self._others.get(port or 0, self._first)(scope, receive, send)


def port_of(listener: socket.socket) -> int:
    """Where a listener listens."""
    return int(listener.getsockname()[1])
