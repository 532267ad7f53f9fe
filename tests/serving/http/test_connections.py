"""Whatever a client does with its connections, others are answered as before, and the process keeps nothing of it."""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from serving.background import cancel
from serving.http import connections as module
from serving.http.callers import HANGUP, HOLDER, client_of, network_of
from serving.http.connections import BoundedProtocol, Connections, Limits, raise_file_limit
from serving.process import listen

GET = b"GET / HTTP/1.1\r\nhost: x\r\n"
LIMITS = Limits(connections=20, of_client=10)


class Server:
    """A server whose answers are `ok`, or a megabyte at `/large`; `/slow` waits for `gate`."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.hangups: list[float] = []
        self.port = 0

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await Request(scope, receive).body()
        except ClientDisconnect:
            return
        if scope["path"] == "/slow":
            await self.gate.wait()
            self.hangups.append(scope[HANGUP].at)
        await PlainTextResponse("x" * (8 << 20) if scope["path"] == "/large" else "ok")(scope, receive, send)

    async def open(self, host: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(host, 0))

    async def ask(self, host: str = "127.0.0.1") -> bytes:
        """A whole request from that address; what comes back."""
        reader, writer = await self.open(host)
        writer.write(GET + b"connection: close\r\n\r\n")
        async with asyncio.timeout(5):
            found = await reader.read()
        writer.close()
        return found


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    """On a free port, until the block ends."""
    made, connections = Server(), Connections(LIMITS)
    http = partial(BoundedProtocol, connections)
    config = uvicorn.Config(
        made.app, interface="asgi3", loop="none", http=http, lifespan="off", log_config=None, proxy_headers=False
    )
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listener:
        made.port = listener.getsockname()[1]
        running, sweeping = asyncio.create_task(server._serve([listener])), asyncio.create_task(connections.follow())
        while not server.started:
            await asyncio.sleep(0.01)
        yield made
        made.gate.set()
        server.should_exit = server.force_exit = True
        await running
        await cancel(sweeping)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that a test can wait for."""
    for name, seconds in (("REQUEST_SECONDS", 0.3), ("ANSWER_SECONDS", 0.3), ("SWEEP_SECONDS", 0.05)):
        monkeypatch.setattr(module, name, seconds)


async def flood(server: Server, start: bytes, piece: bytes, most: int = 4 << 20) -> tuple[bytes, int]:
    """Send pieces without end; what comes back, and how many bytes were taken until then."""
    reader, writer = await server.open("127.0.0.2")
    writer.write(start)
    answer, sent = asyncio.create_task(reader.read()), 0
    try:
        while not answer.done() and sent < most:
            writer.write(piece)
            sent += len(piece)
            await writer.drain()
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    writer.close()
    try:
        return await answer, sent
    except ConnectionError:
        return b"", sent


ENDLESS = {
    "header": (GET + b"x: ", b"y" * 4096),
    "headers": (GET, b"x: y\r\n" * 500),
    "URL": (b"GET /", b"y" * 4096),
    "trailer": (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: ", b"y" * 4096),
    "chunk extension": (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1;", b"y" * 4096),
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_what_has_no_end_is_refused_after_64_kilobytes(what: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server:
        began = time.monotonic()
        found, sent = await flood(server, *ENDLESS[what])
        assert time.monotonic() - began < 2
        assert sent < 4 << 20
        assert b" 431 " in found or b" 200 " in found or not found  # a trailer comes after the answer
        assert await server.ask() != b""
        await flood(server, *ENDLESS[what])
        said = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(said) == 1 and "127.0.0.2" in said[0].getMessage()


async def test_a_header_of_legal_size_is_taken_and_one_more_byte_is_not() -> None:
    async with serving() as server:
        for size, status in ((60 << 10, b" 200 "), (66 << 10, b" 431 ")):
            reader, writer = await server.open()
            writer.write(GET + b"connection: close\r\nx: " + b"y" * size + b"\r\n\r\n")
            assert status in await reader.read()
            writer.close()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("start", [b"", b"GET /", GET, GET + b"content-length: 500\r\n\r\nab"])
async def test_slow_connections_are_closed_and_told_why(start: bytes) -> None:
    async with serving() as server:
        reader, writer = await server.open()
        writer.write(start)

        async def drip() -> None:
            while True:
                await asyncio.sleep(0.05)
                writer.write(b"a" if start else b"")

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(5):
            assert b" 408 " in await reader.read()
        await cancel(dripping)
        writer.close()


@pytest.mark.usefixtures("quick")
async def test_a_client_that_does_not_read_its_answers_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as server:
        _, writer = await server.open()
        writer.transport.pause_reading()
        writer.write(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.sleep(1)
        with pytest.raises(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)


async def test_slow_connections_take_nobodys_place_and_who_is_answered_is_not_cut_off() -> None:
    async with serving() as server:
        reader, writer = await server.open()
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        await asyncio.sleep(0.05)
        slow = [await server.open(host) for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3") for _ in range(15)]
        for _, one in slow:
            one.write(GET)
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.4"):
            assert b" 200 " in await server.ask(host)
        server.gate.set()
        assert b" 200 " in await reader.read()
        for _, one in (*slow, (reader, writer)):
            one.close()


async def test_of_one_client_no_more_are_answered_at_once_than_it_may_have() -> None:
    async with serving() as server:
        asking = [await server.open() for _ in range(LIMITS.of_client)]
        for _, one in asking:
            one.write(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        await asyncio.sleep(0.1)
        refused = await server.ask()
        assert b" 503 " in refused and b"retry-after: 1" in refused
        assert b" 200 " in await server.ask("127.0.0.2")
        server.gate.set()
        for reader, one in asking:
            assert b" 200 " in await reader.read()
            one.close()


async def test_the_application_is_told_who_hung_up_and_when() -> None:
    async with serving() as server:
        _, writer = await server.open()
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.close()
        await asyncio.sleep(0.05)
        server.gate.set()
        await asyncio.sleep(0.05)
        assert time.monotonic() - 5 < server.hangups[0] < time.monotonic()


def test_clients_are_addresses_and_of_ipv6_networks() -> None:
    assert network_of("10.0.0.7") == network_of("::ffff:10.0.0.7") == "10.0.0.7"
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert client_of({"client": ("fe80::1%eth0", 5)}) == "fe80::/64"


def test_one_token_at_two_addresses_and_two_tokens_at_one_are_two_clients() -> None:
    clients = {client_of({"client": (host, 5), HOLDER: name}) for host in ("10.0.0.7", "10.0.0.8") for name in "ab"}
    assert len(clients) == 4
    assert client_of({"client": ("10.0.0.7", 5), HOLDER: ""}) == client_of({"client": ("10.0.0.7", 6)})


def test_the_file_limit_is_raised_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = [(512, 2048)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limit[0])
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: limit.__setitem__(0, wanted))
    assert raise_file_limit(1000) == 1000
    assert limit[0] == (1256, 2048)
    assert raise_file_limit(5000) == 2048 - 256
    assert limit[0] == (2048, 2048)
