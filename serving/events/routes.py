"""The endpoint that takes events, as a part of the recall service's application."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request, Response

from serving.events.bodies import EventsAnswer, OneOrSeveralEvents, parse_events
from serving.events.intake import EventIntake
from serving.http.body_reading import read_body
from serving.http.openapi import REFUSALS, gives, needs, takes

PATH = "/v1/events"
_WEIGHT = 16.0
"""Of their bytes: each event is checked by itself, and Redis answers nobody while it takes it. So of one client beside
others about a thousand a second, or the script alone would be half of what Redis does."""
_REQUEST = {"events": [{"event_id": "6f1c", "user_id": 5, "item_id": 17, "event": "click"}]}
_ANSWER = {"event_ids": ["6f1c"], "taken": 1, "duplicates": 0}


def events_router(intake: EventIntake) -> APIRouter:
    """`POST /v1/events`."""
    router = APIRouter(tags=["events"])

    async def events(request: Request) -> Response:
        """Take what users did: into the stream for the updates, and into the next answer of these users."""
        taken = await intake.take(parse_events(await read_body(request, _WEIGHT)))
        return Response(orjson.dumps(taken), media_type="application/json")

    router.add_api_route(
        PATH,
        events,
        methods=["POST"],
        response_class=Response,
        responses={**gives(EventsAnswer, "All are in the stream.", _ANSWER), **REFUSALS},
        openapi_extra={**takes(OneOrSeveralEvents, _REQUEST), **needs("events")},
    )
    return router
