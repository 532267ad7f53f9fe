"""A server that lets its callers go elsewhere before it stops."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_CLOSE = (b"connection", b"close")
_ARRIVAL_SECONDS = 1.0
"""For the first request of a connection that was accepted just before the end."""
_LOOK_SECONDS = 0.02


class DrainingServer(uvicorn.Server):
    """Goes on for a while after it was told to stop, closing each connection with its answer; told again, it stops at
    once."""

    def __init__(self, config: uvicorn.Config, leave: Callable[[], None], drain_seconds: float) -> None:
        """Make it inside the running event loop; `leave` is called first, so that it is not ready any more."""
        super().__init__(config)
        self._leave, self._seconds, self._leaving = leave, drain_seconds, False
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called with the signal."""
        if self._leaving:
            super().handle_exit(sig, frame)
            return
        self._leaving = True
        self._leave()
        self._loop.call_soon_threadsafe(self._drain, sig)

    def _drain(self, sig: int) -> None:
        # Both: uvicorn makes the one anew from the other every second.
        self.config.encoded_headers.append(_CLOSE)
        self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]
        self._loop.call_later(self._seconds, super().handle_exit, sig, None)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called when the time is over; uvicorn's own (0.54, `server.py`) closes, unread, what has just come in."""
        for server in self.servers:
            server.close()
        end = self._loop.time() + _ARRIVAL_SECONDS
        # Asleep once in any case: uvloop runs timers before it reads what lies in the sockets.
        await asyncio.sleep(_LOOK_SECONDS)
        while self._expects_first() and self._loop.time() < end:
            await asyncio.sleep(_LOOK_SECONDS)
        await super().shutdown(sockets)

    def _expects_first(self) -> bool:
        """Whether there is a connection that has not brought a request yet."""
        return any(isinstance(one, HttpToolsProtocol) and one.cycle is None for one in self.server_state.connections)
