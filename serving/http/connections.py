"""What one connection, and one client's connections, may take of a process.

uvicorn has a limit of requests at once and a time for idle connections. It has none for what comes before a request is
complete (`h11_max_incomplete_event_size` is the other parser's), none for clients that do not read, and no connection
counts by whom it is: those are here, over its protocol for httptools (uvicorn 0.54,
`protocols/http/httptools_impl.py`).
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.background import every
from serving.http.callers import HANGUP, Hangup, network_of
from serving.http.client_complaints import Complaints
from serving.http.client_shares import Allowance

MOST_HEADER_BYTES = 64 << 10
MOST_HEADERS = 100
REQUEST_SECONDS = 20.0
"""For all of a request to come in. A megabyte in that time is a slow telephone; less is nobody who wants an answer."""
ANSWER_SECONDS = 20.0
"""For an answer to be read, and for the other end to close a connection that is over."""
_DISCARDED_BYTES = 1 << 20
"""Taken and thrown away of who was refused, so that they can read why; a closed socket with unread bytes resets."""
SWEEP_SECONDS = 1.0
CONNECTIONS_A_SECOND = 256.0
"""New ones of one client while others ask. To take one is a tenth of an answer, though nothing is asked by it."""
_FILES_OF_OTHERS = 256
"""Of the process: logs, tables, connections to its servers."""
_TOO_LONG = "headers: longer than 64 KiB, or more than 100"
_log = logging.getLogger(__name__)
_errors = logging.getLogger(f"{__name__}.errors")
_errors.setLevel(logging.ERROR)  # Of what clients send, uvicorn would warn with every request.


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections there may be."""

    connections: int
    """In all."""
    of_client: int
    """Of one client, which is an address here: no token is known before a request is."""


def raise_file_limit(wanted: int) -> int:
    """Let the process open files for so many connections, as far as its hard limit goes; how many it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _FILES_OF_OTHERS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    most = wanted if soft == resource.RLIM_INFINITY else min(wanted, max(1, soft - _FILES_OF_OTHERS))
    if most < wanted:
        _log.warning("%d connections at most, not %d: the hard limit of open files is %d", most, wanted, hard)
    return most


class Connections:
    """The connections of a process, by client."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_client: defaultdict[str, dict[BoundedProtocol, None]] = defaultdict(dict)
        self._count = 0
        self._pace = Allowance(CONNECTIONS_A_SECOND)
        self.complaints = Complaints(_log)

    def enter(self, connection: BoundedProtocol) -> bool:
        """Count a new connection in, at the cost of another one that waits where there are too many; False: it is one
        too many, and all others are being answered."""
        if not self._pace.take(connection.peer, 1):
            self.complaints.say(connection.peer, "too many new connections")
            return False
        own = self._by_client[connection.peer]
        if len(own) >= self._limits.of_client:
            full: dict[BoundedProtocol, None] | None = own
        elif self._count >= self._limits.connections:
            full = max(self._by_client.values(), key=len)
        else:
            full = None
        if full is not None:
            # The one that has waited longest for a request. Who is being answered is cut off only where their client
            # has so many that there is no room for one of another's.
            oldest = next((one for one in full if not one.busy), None)
            self.complaints.say(next(iter(full)).peer, "too many connections")
            if oldest is None and len(full) <= len(own) + 1:
                return False
            (oldest or next(iter(full))).drop()
        self._by_client[connection.peer][connection] = None
        self._count += 1
        return True

    def leave(self, connection: BoundedProtocol) -> None:
        """Count a connection out."""
        own = self._by_client[connection.peer]
        if connection in own:
            del own[connection]
            self._count -= 1
        if not own:
            del self._by_client[connection.peer]

    def touch(self, connection: BoundedProtocol) -> None:
        """It has just been answered, so that others go before it."""
        self._pace.ask(connection.peer)
        own = self._by_client[connection.peer]
        if own.pop(connection, connection) is None:
            own[connection] = None

    async def follow(self) -> None:
        """Close what takes too long, until cancelled."""
        await every(SWEEP_SECONDS, self._sweep)

    async def _sweep(self) -> None:
        now = time.monotonic()
        for own in list(self._by_client.values()):
            for connection in list(own):
                connection.look(now)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with an end to everything that a client can draw out."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._connections, self.logger = connections, _errors
        self.peer = ""
        self._head = self._unread = 0
        self._began: float | None = None
        """When the request began to come in; None between requests, and while one is answered."""
        self._stuck: float | None = None
        """Since when the client has not read, or its end has not come."""
        self._hangup = Hangup()
        self._too_long = False
        self._over = False
        """Whether it was refused, and only its end is waited for."""

    @property
    def busy(self) -> bool:
        """Whether a whole request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = network_of(self.client[0]) if self.client else ""
        self._began = time.monotonic()
        if not self._connections.enter(self):
            self._refuse(503, "too many connections; try again", b"retry-after: 1\r\n")
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._hangup.note()
        self._connections.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._over:
            self._unread += len(data)
            if self._unread > _DISCARDED_BYTES:
                self.drop()
            return
        if self._began is None and not self.busy:
            self._began = time.monotonic()
        self._unread += len(data)
        super().data_received(data)
        if self._unread > MOST_HEADER_BYTES and not self._over:
            # A header whose end does not come: the parser keeps what it has of it, and copies it with every piece.
            self._too_long = True
            self.send_400_response(_TOO_LONG)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0
        self.scope[HANGUP] = self._hangup  # type: ignore[literal-required]

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value)
        if self._head + len(self.url) > MOST_HEADER_BYTES or len(self.headers) >= MOST_HEADERS:
            self._too_long = True
            raise ValueError(_TOO_LONG)  # The parser stops, and uvicorn refuses.
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread = 0
        self._began = None
        self._connections.touch(self)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if self._over:
            return
        self._connections.complaints.say(self.peer, _TOO_LONG if self._too_long else "no HTTP")
        if self._too_long:
            self._refuse(431, _TOO_LONG)
        else:
            self._refuse(400, msg)

    def look(self, now: float) -> None:
        """Close it, if it has taken too long."""
        if self._over or self.flow.write_paused or self.transport.is_closing():
            self._stuck = now if self._stuck is None else self._stuck
            if now - self._stuck > ANSWER_SECONDS:
                self._connections.complaints.say(self.peer, "answers that are not read")
                self.drop()
            return
        self._stuck = None
        if self._began is not None and now - self._began > REQUEST_SECONDS:
            self._connections.complaints.say(self.peer, f"requests that take over {REQUEST_SECONDS:.0f} s to come in")
            self._refuse(408, f"the request took over {REQUEST_SECONDS:.0f} s to come in")

    def drop(self) -> None:
        """Close it at once."""
        self._connections.leave(self)
        self.transport.abort()

    def _refuse(self, status: int, message: str, further: bytes = b"") -> None:
        """Say why, unless an answer has begun, and wait for the other end to close."""
        self._over, self._unread = True, 0
        if self.cycle is not None and not self.cycle.response_complete:
            answered = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        else:
            answered = self.cycle is not None and self.cycle.more_body  # Its body was to follow.
        if not answered:
            content = f'{{"error":"{message}"}}'.encode()
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n" % len(content)
            self.transport.write(STATUS_LINE[status] + head + further + b"\r\n" + content)
        try:
            self.transport.write_eof()
        except (OSError, NotImplementedError):  # It is gone; or it is TLS, which has no half of a connection.
            self.transport.close()
