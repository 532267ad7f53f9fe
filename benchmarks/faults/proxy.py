"""A TCP proxy that can be slow."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from urllib.parse import urlsplit

from pagoda.settings import socket_path
from pagoda.standalone.ports import choose_ports


class DelayProxy:
    """Passes bytes to a server; what clients send waits `delay` seconds first. Runs in a thread of its own."""

    def __init__(self, target_url: str) -> None:
        self.port = choose_ports(["it"], [])["it"]
        self.delay = 0.0
        self._target = target_url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started = threading.Event()
        self._thread.start()
        self._started.wait()

    def stands_for(self, name: str, url: str) -> str:
        """The URL of a service with the proxy in its place; what is a socket there is a port here."""
        port = urlsplit(url).port
        scheme = "redis" if name == "redis" else "http"
        return url.replace(f":{port}", f":{self.port}") if port else f"{scheme}://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop it; connections through it end."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._pass_on, "127.0.0.1", self.port))
        self._started.set()
        self._loop.run_forever()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            there = await self._connect()
            await asyncio.gather(self._copy(reader, there[1], slow=True), self._copy(there[0], writer, slow=False))
        writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if path := socket_path(self._target):
            return await asyncio.open_unix_connection(path)
        return await asyncio.open_connection("127.0.0.1", urlsplit(self._target).port)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slow: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if slow and self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        writer.close()
