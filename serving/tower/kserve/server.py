"""The process: KServe's model server around the versions of a store, at a socket or a port."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import stat
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from kserve import ModelServer

from pagoda.errors import ConfigError, UnavailableError
from pagoda.settings import socket_path
from serving.background import Loop, background, every
from serving.http.certificate import Certificate
from serving.http.draining import DrainingServer
from serving.process import listen
from serving.tower.kserve.app import TowerApp, TowerModel, TowerPlane
from serving.tower.kserve.batches import Batches
from serving.tower.kserve.versions import LoadedVersions

_LOOK_SECONDS = 0.2
_DRAIN_SECONDS = 1.0
_FINISH_SECONDS = 10
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OWN_MASK = 0o177
_BACKLOG = 1024
_UNCOLLECTED = 50_000
"""Objects made before the collector looks for cycles; see the recall service."""


class KServeTowerServer(ModelServer):  # type: ignore[misc]
    """KServe's model server with its registry and endpoints, started our own way, as the recall service is.

    `ModelServer.start` (kserve 0.21, `model_server.py`) listens on every address, gives up where no model is ready yet,
    writes two log lines a request, and has endpoints that load and unload models.
    """

    def __init__(self, versions: LoadedVersions) -> None:
        super().__init__(enable_grpc=False, enable_latency_logging=False)
        self.dataplane = TowerPlane(self.registered_models)
        self.dataplane.versions = versions
        self.model = TowerModel(versions)
        self.register_model(self.model)


async def serve(
    versions: LoadedVersions, listener: socket.socket, batch_size: int, certificate: Certificate | None = None
) -> None:
    """Answer by `versions`, which follow their store meanwhile, until SIGTERM or SIGINT; see `DrainingServer`."""
    server = KServeTowerServer(versions)
    config = uvicorn.Config(
        TowerApp(server.dataplane, Batches(versions, batch_size)),
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=_FINISH_SECONDS,
        ssl_context_factory=(lambda *_: certificate.context) if certificate else None,
    )

    def leave() -> None:
        server.model.leaving = True

    async def look() -> None:
        # In a thread: to load a version takes seconds, in which the others answer.
        await asyncio.to_thread(versions.step)

    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn sends itself the signal again when it has finished; by then there is nothing left to do.
        signal.signal(number, lambda *_: None)
    # What was imported stays for good; a full collection over it would stop requests for 100 ms or more. A version adds
    # 3,000 objects, which are looked through as ever, so that one that has gone is freed.
    gc.freeze()
    gc.set_threshold(_UNCOLLECTED)
    loops: list[Loop] = [partial(every, _LOOK_SECONDS, look), *([certificate.follow] if certificate else [])]
    async with background(*loops):
        await DrainingServer(config, leave, _DRAIN_SECONDS).serve(sockets=[listener])


def listener_at(url: str) -> socket.socket:
    """A socket that listens at `unix:/path`, `http://host:port` or `https://host:port`.

    Raises:
        ConfigError: A folder that others may enter holds the socket.
        UnavailableError: The address is taken.
    """
    try:
        if path := socket_path(url):
            return _private_socket(Path(path))
        parts = urlsplit(url)
        return listen(parts.hostname or "", parts.port or 0)
    except OSError as error:
        raise UnavailableError(f"user tower: cannot listen at {url}: {error.strerror}") from error


def _private_socket(path: Path) -> socket.socket:
    state = path.parent.stat()
    if state.st_uid != os.getuid() or stat.S_IMODE(state.st_mode) & _OTHERS:
        raise ConfigError(f"{path.parent}: must be this user's alone (chmod 700), for who reaches the socket may ask")
    path.unlink(missing_ok=True)  # Of a process that was killed.
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(_OWN_MASK)
    try:
        found.bind(str(path))
    finally:
        os.umask(mask)
    found.listen(_BACKLOG)
    return found
