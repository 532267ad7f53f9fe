"""The console as an application: which page shows what, and what its forms do."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, Form, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from pagoda.errors import PagodaError
from pagoda.generations.release_log import ReleaseLog
from pagoda.index.listing import collection_as_json, list_collections
from pagoda.settings import Settings
from serving.console import data, events, items, rollouts, users, versions
from serving.console.door import PERSON, STATIC, ConsoleDoor
from serving.console.overview import RecallPulse, overview
from serving.console.pages import Pages, Shown, needs, path_of, person_of, require, status_of
from serving.console.people import BrowserVisits, Invitations
from serving.console.similar import By
from serving.console.trying import Trial, trial

_STATIC = Path(__file__).parent / "static"


def build_console(settings: Settings, log: ReleaseLog, invitations: Invitations, hosts: Collection[str]) -> ASGIApp:
    """The console of an installation, behind its door.

    Args:
        settings: Of the installation.
        log: Its release log.
        invitations: By which people come in.
        hosts: The names that it is called by.
    """
    app, pages = FastAPI(openapi_url=None), Pages()
    _show(pages, settings, log)
    _act(pages, settings, log)
    app.include_router(pages.router)
    app.mount(STATIC.rstrip("/"), StaticFiles(directory=_STATIC))
    _say_what_is_wrong(app, pages)
    return ConsoleDoor(app, invitations, BrowserVisits(), hosts)


def _show(pages: Pages, settings: Settings, log: ReleaseLog) -> None:
    pages.add_live("/", "overview.html", partial(overview, settings, log, RecallPulse(settings)))
    pages.add("/rollouts", "rollouts.html", lambda: rollouts.past(log))

    def rollout(name: str) -> Shown:
        return rollouts.one(settings, log, name)

    pages.add_live("/rollouts/{name}", "rollout.html", rollout)

    def item_page(item: str = "", by: By = "vector") -> Shown:
        return items.item(settings, log, item, by)

    pages.add("/items", "items.html", item_page, "ask")  # It asks recall what is like an item.

    def user_page(user: str = "") -> Shown:
        return users.user_page(settings, log, user)

    pages.add("/users", "users.html", user_page, "users")

    pages.add_live("/events", "events.html", lambda: events.waiting(settings), "users")
    pages.add("/data", "data.html", lambda: data.standing(settings, log))
    pages.add("/index", "index.html", lambda: {"collections": _collections(settings)})

    def lineage(before: Annotated[int, Query(ge=0)] = 0) -> Shown:
        return versions.lineage(log, before)

    pages.add("/versions", "versions.html", lineage)

    def difference(one: int, other: int) -> Shown:
        return versions.difference(log, one, other)

    pages.add("/versions/{one}..{other}", "difference.html", difference)

    def version(number: int) -> Shown:
        return versions.version(log, number)

    pages.add("/versions/{number}", "version.html", version)


def _collections(settings: Settings) -> list[dict[str, Any]]:
    return [collection_as_json(one) for one in list_collections(settings)]


def _act(pages: Pages, settings: Settings, log: ReleaseLog) -> None:
    def act(
        request: Request,
        name: str,
        what: str,
        reason: Annotated[str, Form(max_length=500)] = "",
        typed: Annotated[str, Form(max_length=100)] = "",
    ) -> Response:
        rollouts.act(log, name, what, by=person_of(request).name, reason=reason, typed=typed)
        # A page that can be loaded again without sending it again.
        return RedirectResponse(f"{request.scope['root_path']}/rollouts/{name}", 303)

    pages.router.add_api_route("/rollouts/{name}/{what}", act, methods=["POST"], dependencies=[needs("operate")])

    def change(
        request: Request,
        what: str,
        item: Annotated[str, Form(max_length=1_000)],
        said: Annotated[str, Form(max_length=100_000)] = "{}",
        record: Annotated[int, Form()] = 0,
    ) -> Response:
        items.change(settings, log, what, item, said=said, record=record, by=person_of(request).name)
        return RedirectResponse(f"{request.scope['root_path']}/items?item={quote(item, safe='')}", 303)

    pages.router.add_api_route("/items/{what}", change, methods=["POST"], dependencies=[needs("items")])

    def tried(request: Request, asked: Annotated[Trial, Query()]) -> Response:
        if asked.explain:
            require(request, "operate")
        # A click is no question: it comes as a form alone.
        return pages.show(request, "try.html", trial(settings, asked.model_copy(update={"click": 0})))

    def clicked(request: Request, asked: Annotated[Trial, Form()]) -> Response:
        if asked.explain:
            require(request, "operate")
        return pages.show(request, "try.html", trial(settings, asked))

    seen = [needs("ask"), needs("users")]  # Profile and history are on the page, whatever was asked.
    pages.router.add_api_route("/try", tried, methods=["GET"], dependencies=seen)
    pages.router.add_api_route("/try", clicked, methods=["POST"], dependencies=[*seen, needs("events")])


def _say_what_is_wrong(app: FastAPI, pages: Pages) -> None:
    def say(request: Request, status: int, message: str) -> Response:
        if PERSON not in request.scope or path_of(request).startswith("/api"):  # Files are for everybody.
            return JSONResponse({"error": message}, status)
        return pages.show(request, "error.html", {"error": message, "status": status}, status)

    @app.exception_handler(PagodaError)
    def ours(request: Request, error: PagodaError) -> Response:
        return say(request, status_of(error), str(error))

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        return say(request, error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return say(request, 422, f"{first['loc'][-1]}: {first['msg']} (got {first['input']!r})")
