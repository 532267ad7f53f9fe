"""The console's door: who comes in, what a browser may do with its pages, and from where."""

from __future__ import annotations

from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pagoda.access.cross_site import headers_of, why_foreign
from serving.console.people import BrowserVisits, Invitations, Person

COOKIE, PERSON = "pagoda_console", "person"
"""The cookie's name, and where a scope has its `Person`."""
LOGIN, LOGOUT, STATIC = "/login", "/logout", "/static/"
_READING = ("GET", "HEAD")
_HEADERS = {
    # No script, style or picture but the console's own files, and no other place for its forms.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_UNINVITED = "Nobody is known by this browser. `pagoda ui` prints an address that opens the console once.\n"


class ConsoleDoor:
    """Stands before the pages."""

    def __init__(self, app: ASGIApp, invitations: Invitations, visits: BrowserVisits, hosts: Collection[str]) -> None:
        """`hosts` are the names that the console is called by."""
        self._app, self._invitations, self._visits = app, invitations, visits
        self._hosts = frozenset(host.lower().encode() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if not scope["path"].startswith(STATIC):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await (self._answer(scope) or self._app)(scope, receive, guarded)

    def _answer(self, scope: Scope) -> Response | None:
        """What the door itself says; None where the pages do."""
        headers = headers_of(scope["headers"])
        if header := why_foreign(headers, self._hosts) or self._unsaid(scope["method"], headers):
            return PlainTextResponse(f"{header}: a request from another site is not answered\n", 403)
        path: str = scope["path"]
        if path.startswith(STATIC):
            return None
        if path == LOGIN:
            return self._come_in(scope)
        name = path.lstrip("/").partition("/")[0]
        person = self._visits.person(name, _cookie(headers.get(b"cookie", b"")))
        if person is None:
            return PlainTextResponse(_UNINVITED, 401)
        if scope["method"] == "POST" and path == f"/{name}{LOGOUT}":
            self._visits.end(name)
            return PlainTextResponse("You are out. `pagoda ui` prints an address that opens the console again.\n")
        scope[PERSON], scope["root_path"] = person, f"/{name}"
        return None

    @staticmethod
    def _unsaid(method: str, headers: dict[bytes, bytes]) -> str:
        """Every browser says where a form is from; what does not is none, and has no cookie of ours either."""
        return "" if method in _READING or b"origin" in headers else "Origin"

    def _come_in(self, scope: Scope) -> Response:
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        person: Person | None = self._invitations.accept(token)
        if person is None:
            return PlainTextResponse(
                "This address is good once, for five minutes; `pagoda ui` prints another one.\n", 401
            )
        name, cookie = self._visits.begin(person)
        answer = RedirectResponse(f"/{name}/", 303)
        answer.set_cookie(
            COOKIE, cookie, path=f"/{name}/", httponly=True, samesite="strict", secure=scope["scheme"] == "https"
        )
        return answer


def _cookie(header: bytes) -> str:
    try:
        found = SimpleCookie(header.decode("latin-1")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
