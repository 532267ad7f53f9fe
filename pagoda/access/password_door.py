"""A door for a server that knows no tokens: a password, as browsers and clients of other makers show one."""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any

from pagoda.access.cross_site import headers_of, why_foreign

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
LOGIN = "/login"
"""Where a link with the password leads to. The page after it has an address without, from which its scripts can ask."""
logger = logging.getLogger(__name__)


class PasswordDoor:
    """Lets into an ASGI application who shows the password, under whatever name, and sends it by themselves."""

    def __init__(self, app: App, password: str, *, open_paths: Collection[str], hosts: Collection[str]) -> None:
        """Stand before `app`.

        Args:
            app: What is behind the door.
            password: The one that opens it.
            open_paths: Need none: health.
            hosts: Names that the server is called by.
        """
        self._app, self._password, self._open = app, password.encode(), frozenset(open_paths)
        self._hosts = frozenset(host.encode() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the server."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope["headers"])
        if header := why_foreign(headers, self._hosts):
            await _refuse(scope, send, 403, f"{header}: a request from another site is not answered")
        elif scope["path"] not in self._open and not self._shown(headers):
            text = "a password is needed; `pagoda url` prints an address that has it"
            await _refuse(scope, send, 401, text, {"www-authenticate": 'Basic realm="pagoda"'})
        elif scope["path"] == LOGIN:
            # In full: a relative one would keep the password.
            await _answer(send, 303, b"", {"location": f"{scope['scheme']}://{headers[b'host'].decode()}/"})
        else:
            await self._app(scope, receive, send)

    def _shown(self, headers: Mapping[bytes, bytes]) -> bool:
        scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"basic":
            return False
        try:
            _, _, password = base64.b64decode(value, validate=True).partition(b":")
        except binascii.Error:
            return False
        return hmac.compare_digest(password, self._password)


async def _refuse(scope: Scope, send: Send, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
    client = (scope.get("client") or ("an unknown address",))[0]
    logger.warning("%s %.120r from %s: %s %s", scope.get("method", scope["type"]), scope["path"], client, status, text)
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await _answer(send, status, text.encode(), headers or {})


async def _answer(send: Send, status: int, content: bytes, headers: Mapping[str, str]) -> None:
    given = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(content)), **headers}
    encoded = [(name.encode(), value.encode()) for name, value in given.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": content})
