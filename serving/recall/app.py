"""The HTTP application: KServe's endpoints for health and metadata, typed ones for recall, metrics, an OpenAPI page."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from http import HTTPStatus

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from kserve.errors import ModelNotFound, ModelNotReady, ServerNotReady
from kserve.protocol.dataplane import DataPlane
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Receive, Scope, Send

from pagoda.access.tokens import Tokens
from pagoda.data.ids import whole_number
from pagoda.distribution import release
from pagoda.errors import NotHeldError, PagodaError, RequestError, UnavailableError
from pagoda.rollout.state.split import ARM_HEADER
from serving.http import callers
from serving.http.body_reading import ALLOWANCE, BYTES_A_SECOND, TooLargeError, read_body
from serving.http.client_complaints import Complaints
from serving.http.client_shares import Allowance
from serving.http.deadlines import DEADLINE_HEADER, deadline
from serving.http.door import Door, ForbiddenError, Needs, require_role
from serving.http.fields import V2Body, cut
from serving.http.openapi import (
    REFUSALS,
    describe_bodies,
    describe_tokens,
    gives,
    needs,
    refusals,
    takes,
)
from serving.http.overload import GreedyError, ShedError
from serving.recall.api import (
    MODEL,
    FirstItems,
    RecallAnswer,
    RecallBody,
    RecallInstance,
    V2Answer,
    read_v1,
    read_v2,
    render_v2,
    write_v1,
)
from serving.recall.kserve_routes import add_kserve
from serving.recall.metrics import requests_of
from serving.recall.openapi import HEADERS, V1_ANSWER, V1_REQUEST, V2_ANSWER, V2_REQUEST
from serving.recall.request.service import Recall
from serving.tracing import span

_JSON = "application/json"
_RETRY = {"Retry-After": "1"}
_GREEDY_SECONDS = 1.0
"""How long who asks for more than their share waits to hear it."""
_FIRST, _MOST_FIRST = 20, 100
"""Items to show first: how many where a request does not say, and at most."""
_ORDER = "Items by falling score."
logger = logging.getLogger(__name__)
_complaints = Complaints(logger)


_Route = Callable[[Request], Awaitable[Response]]


class Straight:
    """Takes what is posted to its functions, past all layers of FastAPI.

    Those are a third of what recall itself does. FastAPI knows the same functions, for its OpenAPI page.
    """

    def __init__(self, app: ASGIApp, routes: Mapping[str, _Route]) -> None:
        self._app, self._routes = app, routes
        self._allowance = Allowance(BYTES_A_SECOND)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        callers.enter(scope)
        scope[ALLOWANCE] = self._allowance
        route = self._routes.get(scope["path"]) if scope.get("method") == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        with span("recall", request.headers):  # What is logged of a failure belongs to the trace, too.
            try:
                response = await route(request)
            except ForbiddenError:
                raise  # The door refuses, as whoever does not come in at all.
            except PagodaError as error:
                response = await _refuse(request, error)
            except Exception as error:
                response = await _fail(request, error)
        await response(scope, receive, send)


def build_app(
    recall: Recall,
    dataplane: DataPlane,
    tokens: Tokens,
    further: Sequence[APIRouter] = (),
    hosts: Collection[str] = (),
) -> Door:
    """The application that answers by `recall`, behind its door; `dataplane` says whether its model is ready."""
    app = FastAPIOffline(
        title="Pagoda recall",
        version=release(),
        description="A user's items: profile and recent behaviour → user tower → item vectors.",
        redoc_url=None,
    )
    straight = _add_recall(app, recall)
    _add_onboarding(app, recall)
    add_kserve(app, dataplane)
    _add_metrics(app)
    for router in further:
        app.include_router(router)
        posted = (one for one in router.routes if isinstance(one, APIRoute) and "POST" in (one.methods or ()))
        straight.update({route.path: route.endpoint for route in posted})
    _add_errors(app)
    describe_bodies(app, further)
    describe_tokens(app)
    return Door(Straight(app, straight), Needs(app), tokens, hosts)


def build_items_app(further: Sequence[APIRouter], tokens: Tokens, hosts: Collection[str] = ()) -> Door:
    """The application of the items' own listener: who may ask for recall need not reach it."""
    app = FastAPIOffline(
        title="Pagoda items",
        version=release(),
        description="Changes of items, in every live collection within seconds, and for all later updates.",
        redoc_url=None,
    )
    for router in further:
        app.include_router(router)
    _add_errors(app)
    describe_bodies(app, further)
    describe_tokens(app)
    return Door(Straight(app, {}), Needs(app), tokens, hosts)


def _add_recall(app: FastAPI, recall: Recall) -> dict[str, _Route]:
    """Add the recall endpoints; their functions by path."""

    async def predict(request: Request) -> Response:
        """Items for users, in the form of KServe v1."""
        asked = await read_v1(await read_body(request))
        _check_explaining(request, asked)
        with deadline(request.headers.get(DEADLINE_HEADER)):
            predictions = await recall.answer(asked, request.headers.get(ARM_HEADER))
        requests_of("v1", "ok").inc()
        return Response(await write_v1(predictions), media_type=_JSON)

    async def infer(request: Request) -> Response:
        """Items for users, in the form of KServe v2: an input for each field of a v1 instance that is given.

        `user_id` is INT64, BYTES where the dataset's IDs are strings; `k` INT32, `timestamp` INT64, `exclude_seen`
        and `explain` BOOL, `popularity_penalty` FP32; `text` and `merge` are BYTES, and so are `context`, `profile`,
        `history`, `filter` and `fields`, one JSON text a user.
        """
        asked, request_id = await read_v2(await read_body(request))
        _check_explaining(request, asked)
        with deadline(request.headers.get(DEADLINE_HEADER)):
            predictions = await recall.answer(asked, request.headers.get(ARM_HEADER))
        requests_of("v2", "ok").inc()
        return Response(render_v2(predictions, request_id), media_type=_JSON)

    straight: dict[str, _Route] = {}
    for path, route, body, example, answer in (
        (f"/v1/models/{MODEL}:predict", predict, RecallBody, V1_REQUEST, gives(RecallAnswer, _ORDER, V1_ANSWER)),
        (f"/v2/models/{MODEL}/infer", infer, V2Body, V2_REQUEST, gives(V2Answer, _ORDER, V2_ANSWER)),
    ):
        app.add_api_route(
            path,
            route,
            methods=["POST"],
            tags=["recall"],
            response_class=Response,
            responses={**answer, **REFUSALS},
            openapi_extra={**takes(body, example), **HEADERS, **needs("ask", "operate")},
        )
        straight[path] = route
    return straight


def _check_explaining(request: Request, asked: Sequence[RecallInstance]) -> None:
    """An explanation says what is known of a user, which who only asks is not told."""
    for one in asked:
        if one.explain:
            require_role(request.scope, "operate", "explain")


def _add_onboarding(app: FastAPI, recall: Recall) -> None:
    async def onboarding(request: Request) -> Response:
        """What to show first to whom nothing is known of: popular items of all kinds, on which opinions differ."""
        if unknown := request.query_params.keys() - {"n"}:
            raise RequestError(f"{min(unknown)}: unknown parameter; onboarding takes n")
        given = request.query_params.get("n", str(_FIRST))
        if (count := whole_number(given)) is None or not 1 <= count <= _MOST_FIRST:
            raise RequestError(f"n: must be a whole number from 1 to {_MOST_FIRST} (got {cut(repr(given), 50)})")
        return JSONResponse(recall.onboarding(count))

    count = {
        "name": "n",
        "in": "query",
        "description": "How many items at most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": _MOST_FIRST, "default": _FIRST},
    }
    answer = gives(FirstItems, "In the order in which to show them.", {"items": [17, 3, 250], "generation": "g3"})
    app.add_api_route(
        "/v1/onboarding",
        onboarding,
        methods=["GET"],
        tags=["recall"],
        response_class=Response,
        responses={**answer, **refusals(400, 401, 403, 500, 503)},
        openapi_extra={"parameters": [count], **needs("ask")},
    )


def _add_metrics(app: FastAPI) -> None:
    async def metrics() -> Response:
        """Prometheus' metrics of the process."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    app.add_api_route(
        "/metrics",
        metrics,
        methods=["GET"],
        tags=["metrics"],
        response_class=PlainTextResponse,
        responses={200: {"description": "In Prometheus' text format."}, **refusals(401, 403, 500)},
        openapi_extra=needs("watch"),
    )


def _add_errors(app: FastAPI) -> None:
    for kind in (PagodaError, ModelNotFound, ModelNotReady, ServerNotReady):
        app.add_exception_handler(kind, _refuse)
    app.add_exception_handler(Exception, _fail)


async def _refuse(request: Request, error: Exception) -> Response:
    if isinstance(error, GreedyError) and not callers.current().gone:
        await asyncio.sleep(
            _GREEDY_SECONDS
        )  # Or asking again would be all that they do, and cost as much as an answer.
    status, outcome = _status(error)
    later = status == HTTPStatus.SERVICE_UNAVAILABLE
    if request.method == "POST":
        requests_of(_protocol(request.url.path), outcome).inc()
    if later:
        _complaints.say(callers.client_of(request.scope), str(error))
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s", error)
    return JSONResponse({"error": _told(error, status)}, status, _RETRY if later else None)


async def _fail(request: Request, error: Exception) -> Response:
    requests_of(_protocol(request.url.path), "failed").inc()
    logger.error("%s %s", request.method, request.url.path, exc_info=error)
    return JSONResponse({"error": "internal error; see the service's log"}, 500)


def _told(error: Exception, status: int) -> str:
    """What a caller is told: all of what they did wrong; of our own failures the part, and not where or how it is."""
    if status < HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(error, ShedError):
        return cut(str(error))
    part = getattr(error, "part", "") or "recall"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return f"{part}: not available now; try again later"
    return f"{part}: failed; see the service's log"


def _protocol(path: str) -> str:
    """What a request counts as: `v1`, `v2`, or what else is asked, the end of its path."""
    return path[1:3] if path.endswith((":predict", "/infer")) else re.split("[/:]", path)[-1]


def _status(error: Exception) -> tuple[int, str]:
    """HTTP status of an error, and what the request counts as."""
    match error:
        case TooLargeError():
            return 413, "refused"
        case RequestError():
            return 400, "refused"
        case ModelNotFound():
            return 404, "refused"
        case ShedError():
            return 503, "shed"
        case UnavailableError() | NotHeldError() | ModelNotReady() | ServerNotReady():
            return 503, "unavailable"
    return 500, "failed"
