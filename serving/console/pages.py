"""How a page is made: one function reads, and a template or JSON shows the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from cachetools import TTLCache
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pagoda.access.roles import Role
from pagoda.errors import PagodaError, UnavailableError
from serving.console.asking import value_of
from serving.console.door import PERSON
from serving.console.people import Person

Shown = Mapping[str, Any]
"""What a page shows: plain values, the same that `--output json` prints."""
_FOLDER = Path(__file__).parent / "templates"
_EVERY_SECONDS = 2.0
_MOST_STREAMS = 50
_SECONDS_UNTIL, _MINUTES_UNTIL, _HOURS_UNTIL = 90, 90 * 60, 36 * 3600


def person_of(request: Request) -> Person:
    """Who asks."""
    person: Person = request.scope[PERSON]
    return person


def path_of(request: Request) -> str:
    """The path of a page within the console."""
    return request.url.path.removeprefix(request.scope["root_path"])


def require(request: Request, role: Role) -> None:
    """Let only who has a role get further.

    Raises:
        HTTPException: They have not.
    """
    if role not in (person := person_of(request)).roles:
        raise HTTPException(403, f"{person.name} has not the role `{role}`; `pagoda ui` invites with roles")


def needs(role: Role) -> Any:
    """Of a route: what `require` does."""

    def check(request: Request) -> None:
        require(request, role)

    return Depends(check)


class Pages:
    """Routes that show things, each as a page and below `/api` as JSON."""

    def __init__(self) -> None:
        self.router = APIRouter()
        self._streams = 0
        self._latest: TTLCache[Hashable, Shown] = TTLCache(_MOST_STREAMS, _EVERY_SECONDS / 2)
        self._reading: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        self._templates = Environment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"ago": ago, "moment": moment, "share": share, "told": value_of}

    def add(self, path: str, template: str, read: Callable[..., Shown], role: Role = "watch") -> None:
        """Show what `read` returns; its parameters are the path's and the query's."""

        given = Depends(read)

        def page(request: Request, shown: Shown = given) -> Response:
            return self.show(request, template, shown)

        self.router.add_api_route(path, page, methods=["GET"], dependencies=[needs(role)])
        self.router.add_api_route(f"/api{path}".rstrip("/"), read, methods=["GET"], dependencies=[needs(role)])

    def add_live(self, path: str, template: str, read: Callable[..., Shown], role: Role = "watch") -> None:
        """As `add`, and below `/live` what the page's template `live-…` makes of it, again and again."""
        self.add(path, template, read, role)

        async def live(request: Request) -> Response:
            if self._streams >= _MOST_STREAMS:
                raise HTTPException(503, f"{_MOST_STREAMS} pages are followed already; close some")
            parts = self._follow(request, f"live-{template}", partial(read, **request.path_params))
            return StreamingResponse(parts, media_type="text/event-stream")

        self.router.add_api_route(f"/live{path}", live, methods=["GET"], dependencies=[needs(role)])

    def show(self, request: Request, template: str, shown: Shown, status: int = 200) -> Response:
        """A page."""
        return HTMLResponse(self._render(request, template, shown), status)

    def _render(self, request: Request, template: str, shown: Shown) -> str:
        return self._templates.get_template(template).render(
            shown=shown, person=person_of(request), root=request.scope["root_path"], path=path_of(request)
        )

    async def _follow(self, request: Request, template: str, read: partial[Shown]) -> AsyncIterator[str]:
        self._streams += 1
        try:
            while True:
                try:
                    text = self._render(request, template, await self._read(template, read))
                except PagodaError as error:
                    text = self._render(request, "trouble.html", {"error": str(error)})
                yield "".join(f"data: {line}\n" for line in text.splitlines()) + "\n"
                await asyncio.sleep(_EVERY_SECONDS)
        finally:
            self._streams -= 1

    async def _read(self, template: str, read: partial[Shown]) -> Shown:
        """What a page shows now: read once for all who follow it, since it may be a log in a bucket."""
        key = template, *sorted(read.keywords.items())
        # In a variable, for it lives as long as somebody waits.
        lock = self._reading.setdefault(key, asyncio.Lock())
        async with lock:
            if (shown := self._latest.get(key)) is None:
                shown = self._latest[key] = await asyncio.to_thread(read)
        return shown


def status_of(error: PagodaError) -> int:
    """The HTTP status of what went wrong."""
    return 503 if isinstance(error, UnavailableError) else 409


def ago(when: str | datetime | None) -> str:
    """How long ago a moment was, in the unit that suits it, or its day where that is longer; empty for none."""
    if when is None:
        return ""
    seconds = (datetime.now(UTC) - _read(when)).total_seconds()
    if seconds < _SECONDS_UNTIL:
        return f"{seconds:.0f} s ago"
    if seconds < _MINUTES_UNTIL:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / 3600:.0f} h ago" if seconds < _HOURS_UNTIL else f"{_read(when):%Y-%m-%d}"


def moment(when: str | datetime | None) -> str:
    """A moment in UTC, to the second; empty for none."""
    return "" if when is None else f"{_read(when):%Y-%m-%d %H:%M:%S}"


def share(part: float | None) -> str:
    """A part in percent; a dash for none."""
    return "–" if part is None else f"{part:.1%}"


def _read(when: str | datetime) -> datetime:
    return (datetime.fromisoformat(when) if isinstance(when, str) else when).astimezone(UTC)
