"""The door of a service: who comes in, and by which role. Before anything else, so that it costs others nothing."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from prometheus_client import Counter
from starlette.routing import Mount, Route, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from pagoda.access.cross_site import headers_of, why_foreign
from pagoda.access.roles import Role
from pagoda.access.tokens import Tokens
from pagoda.errors import RequestError
from serving.http.callers import HOLDER, ROLES
from serving.http.openapi import roles_of

TURNED_AWAY = Counter("pagoda_recall_turned_away", "Requests that did not get past the door.", ("reason",))
_READING = ("GET", "HEAD", "OPTIONS")
_JSON = b"application/json"
_TELL_SECONDS = 1.0
_REMEMBERED = 1000
_SHOWN = 120
_CHALLENGE = {"WWW-Authenticate": "Bearer"}
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Denial:
    """Why somebody does not come in."""

    status: HTTPStatus
    reason: str
    """For metrics: host, origin, path, token, role, content-type, content-encoding."""
    text: str


class ForbiddenError(RequestError):
    """Who may come in asks for what another role may."""


def require_role(scope: Scope, role: Role, what: str) -> None:
    """Refuse what only some of those may whom the door let in.

    Args:
        scope: Of the request, past the door.
        role: That may.
        what: Is asked, for the message: the field.

    Raises:
        ForbiddenError: The caller's token is not of that role.
    """
    if role not in scope.get(ROLES, ()):
        raise ForbiddenError(f"{what}: needs a token of the role `{role}`, which this one is not; ask without it")


class Needs:
    """The roles of which each path of an application needs one, as its OpenAPI page says; that itself needs none."""

    def __init__(self, app: FastAPI) -> None:
        """Read the page of an application that is complete.

        Raises:
            ValueError: A route does not say what it needs.
        """
        roles = roles_of(app)
        page = {route.path: () for route in app.routes if isinstance(route, Route) and not route.include_in_schema}
        files = [route.path for route in app.routes if isinstance(route, Mount)]
        self._exact: dict[str, tuple[Role, ...]] = {**page, **{path: roles[path] for path in roles if "{" not in path}}
        self._patterns: list[tuple[re.Pattern[str], tuple[Role, ...]]] = [
            *((compile_path(path)[0], some) for path, some in roles.items() if "{" in path),
            *((re.compile(re.escape(path) + "/"), ()) for path in files),
        ]

    def of(self, path: str) -> tuple[bool, tuple[Role, ...]]:
        """Whether there is such a path, and the roles of which it needs one; none: everybody may come."""
        if path in self._exact:
            return True, self._exact[path]
        for pattern, roles in self._patterns:
            if pattern.match(path):
                return True, roles
        return False, ()


class Door:
    """Lets in who may come in."""

    def __init__(self, app: ASGIApp, needs: Needs, tokens: Tokens, hosts: Collection[str] = ()) -> None:
        """Stand before `app`; `hosts`, where not empty, are the names that the service is called by."""
        self._app, self._needs, self._tokens = app, needs, tokens
        self._hosts = frozenset(host.lower().encode() for host in hosts)
        self._log = _OnceInAWhile()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the server."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            try:
                await self._app(scope, receive, send)
            except ForbiddenError as error:
                refusal = Denial(HTTPStatus.FORBIDDEN, "role", str(error))
            else:
                return
        TURNED_AWAY.labels(refusal.reason).inc()
        self._log.tell(scope, refusal)
        challenge = _CHALLENGE if refusal.status == HTTPStatus.UNAUTHORIZED else None
        await JSONResponse({"error": refusal.text}, refusal.status, challenge)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Denial | None:
        headers = headers_of(scope["headers"])
        if header := why_foreign(headers, self._hosts):
            reason = "host" if header == "Host" else "origin"
            return Denial(HTTPStatus.FORBIDDEN, reason, f"{header}: a request from another site is not answered")
        there, roles = self._needs.of(scope["path"])
        if not there:
            return Denial(HTTPStatus.NOT_FOUND, "path", "there is nothing of this name; see /docs")
        return self._stranger(scope, headers, roles) or self._not_plain_json(scope["method"], headers)

    def _stranger(self, scope: Scope, headers: Mapping[bytes, bytes], roles: tuple[Role, ...]) -> Denial | None:
        if not roles:
            return None
        holder = self._tokens.holder(headers.get(b"authorization", b""))
        if not holder.roles.isdisjoint(roles):
            scope[HOLDER], scope[ROLES] = holder.name, holder.roles
            return None
        named = " or ".join(f"`{role}`" for role in roles)
        if holder.roles:
            text = f"Authorization: this token is not of the role {named}"
            return Denial(HTTPStatus.FORBIDDEN, "role", text)
        text = f"Authorization: must be `Bearer TOKEN`, with a token of the role {named}"
        return Denial(HTTPStatus.UNAUTHORIZED, "token", text)

    def _not_plain_json(self, method: str, headers: Mapping[bytes, bytes]) -> Denial | None:
        if method in _READING:
            return None
        # A few kilobytes of gzip can be a gigabyte, and a body's length is what callers share fairly by.
        encoding = headers.get(b"content-encoding", b"").strip().lower()
        if encoding not in (b"", b"identity"):
            text = f"Content-Encoding: must be absent, bodies are read as they are (got {_cut(encoding)!r})"
            return Denial(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content-encoding", text)
        given = headers.get(b"content-type", b"")
        if given.partition(b";")[0].strip().lower() == _JSON:
            return None
        text = f"Content-Type: must be application/json (got {_cut(given)!r})"
        return Denial(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content-type", text)


def _cut(header: bytes) -> str:
    return header[:_SHOWN].decode("latin-1")


class _OnceInAWhile:
    """One line a second for refusals of a kind from one address, with how many there were: a flood fills no disk."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def tell(self, scope: Scope, refusal: Denial) -> None:
        address = (scope.get("client") or ("an unknown address",))[0]
        now, kind = time.monotonic(), (address, refusal.reason)
        last, others = self._told.get(kind, (now - _TELL_SECONDS, 0))
        if now - last < _TELL_SECONDS:
            self._told[kind] = last, others + 1
            return
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told[kind] = now, 0
        more = f" (and {others} before it)" if others else ""
        place = f"{scope['method']} {scope['path'][:_SHOWN]!r}"
        logger.warning("%s from %s: %s %s%s", place, address, int(refusal.status), refusal.text, more)
