"""Calling supervisord over its Unix socket."""

from __future__ import annotations

import socket
import xmlrpc.client
from http.client import HTTPException
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults, SupervisorTransport, UnixStreamHTTPConnection

from pagoda.errors import UnavailableError

_ANSWER_SECONDS = 5.0


class ShuttingDownError(UnavailableError):
    """It stops all services and then itself."""


class _Connection(UnixStreamHTTPConnection):  # type: ignore[misc]
    """Waits no longer than the timeout: a suspended supervisor takes calls, and never answers."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.socketfile)


def call(path: Path, method: str, *arguments: object, seconds: float = _ANSWER_SECONDS) -> Any:
    """Call the supervisor at the socket `path`.

    Raises:
        UnavailableError: It gives no answer in time.
        ShuttingDownError: It takes no calls any more.
        xmlrpc.client.Fault: It refuses.
    """
    transport = SupervisorTransport(None, None, serverurl=f"unix://{path}")
    transport.connection = _Connection("supervisor", timeout=seconds)
    transport.connection.socketfile = str(path)
    transport.headers = {"Content-Type": "text/xml", "Accept": "text/xml"}
    server = xmlrpc.client.ServerProxy("http://supervisor", transport=transport)
    try:
        return getattr(server.supervisor, method)(*arguments)
    except (OSError, HTTPException, xmlrpc.client.ProtocolError) as error:
        raise UnavailableError(f"the supervisor at {path} does not answer ({error})") from error
    except xmlrpc.client.Fault as fault:
        if fault.faultCode == Faults.SHUTDOWN_STATE:
            raise ShuttingDownError("the supervisor is shutting down") from fault
        raise
    finally:
        transport.close()
