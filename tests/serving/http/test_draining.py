"""A server that is told to stop answers what has just come in."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator

import pytest
import uvicorn
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from serving.http.draining import DrainingServer


async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 204, "headers": [], "trailers": False})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.fixture
def survivor() -> Iterator[None]:
    """uvicorn sends itself the signal once more when it has ended."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("survivor")
async def test_a_connection_that_was_just_accepted_is_answered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, loop="none", lifespan="off", log_config=None, http="httptools")
        server = DrainingServer(config, lambda: None, drain_seconds=0)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        while not server.server_state.connections:
            await asyncio.sleep(0.001)
        server.handle_exit(signal.SIGTERM, None)
        while server.servers[0].is_serving():
            await asyncio.sleep(0.001)
        writer.write(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 204")
        writer.close()
        await serving
