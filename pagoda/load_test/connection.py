"""One keep-alive HTTP/1.1 connection. Bare, since what sends the load shares its machine with what is measured."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools

from pagoda.access.tokens import bearer
from pagoda.errors import ConfigError, UnavailableError


@dataclass(frozen=True, slots=True)
class Address:
    """Where requests go."""

    host: str
    port: int
    secure: bool
    path: str
    token: str = field(default="", repr=False)
    """What is shown there; empty: nothing."""

    @classmethod
    def of(cls, url: str, path: str, token: str = "") -> Address:
        """The address of `path` below a base URL, and the token to show there.

        Raises:
            ConfigError: `url` is none.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:  # Brackets that do not match, or a port that is no number.
            host = None
        if not host or parts.scheme not in ("http", "https"):
            raise ConfigError(f"recall URL {url!r}: must be http://host:port or https://host")
        secure = parts.scheme == "https"
        return cls(host, port or (443 if secure else 80), secure, parts.path.rstrip("/") + path, token)

    def request(self, body: bytes) -> bytes:
        """A POST of JSON."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        shown = "".join(f"{name.lower()}: {value}\r\n" for name, value in bearer(self.token).items())
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: {host}:{self.port}\r\n"
            f"{shown}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Connection(asyncio.Protocol):
    """Sends one request at a time; opens itself, and again after the server closed it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []

    async def post(self, body: bytes, timeout_seconds: float) -> tuple[int, bytes]:
        """Send a body; the status and the body of the answer.

        Raises:
            UnavailableError: The server cannot be reached, or closes the connection.
            TimeoutError: It takes too long.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                transport = await self._open()
                self._answer = asyncio.get_running_loop().create_future()
                transport.write(self._address.request(body))
                return await self._answer
        except TimeoutError:
            self.close()  # An answer that comes after all would be taken for the next one's.
            raise
        except OSError as error:
            self.close()
            raise UnavailableError(str(error)) from error
        finally:
            self._answer = None

    def close(self) -> None:
        """Close it."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    async def _open(self) -> asyncio.Transport:
        if self._transport is None or self._transport.is_closing():
            tls = ssl.create_default_context() if self._address.secure else None
            self._parser, self._body = httptools.HttpResponseParser(self), []
            self._transport, _ = await asyncio.get_running_loop().create_connection(
                lambda: self, self._address.host, self._address.port, ssl=tls
            )
        return self._transport

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(ConnectionError(f"the answer is no HTTP ({error})"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._transport = None
        self._end(ConnectionError(f"the connection ended ({exc or 'closed by the server'})"))

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        content, self._body = b"".join(self._body), []
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), content))
        if not self._parser.should_keep_alive():
            self.close()

    def _end(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
