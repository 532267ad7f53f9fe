"""The console's process."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from pagoda.generations.release_log import open_log
from pagoda.settings import Settings
from serving.console.app import build_console
from serving.console.people import Invitations

_FINISH_SECONDS = 1
"""Pages that are followed end with the process."""
_CONNECTIONS = 200


def invitations_of(settings: Settings) -> Invitations:
    """The invitations of an installation's console."""
    return Invitations(settings.home / "run" / "console")


def serve(settings: Settings, listener: socket.socket, started: Callable[[], None]) -> None:
    """Serve the console at a loopback socket until SIGTERM or SIGINT; `started` is called once it answers."""
    app = build_console(settings, open_log(settings), invitations_of(settings), ("127.0.0.1", "localhost"))
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_FINISH_SECONDS,
    )
    _Announced(config, started).run(sockets=[listener])


class _Announced(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()
