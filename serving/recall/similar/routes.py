"""The endpoint for items like others, as a part of the recall service's application."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from pagoda.rollout.state.split import ARM_HEADER
from serving.http.body_reading import read_body
from serving.http.deadlines import DEADLINE_HEADER, deadline
from serving.http.openapi import REFUSALS, gives, needs, takes
from serving.recall.api import MODEL
from serving.recall.metrics import requests_of
from serving.recall.openapi import HEADERS
from serving.recall.similar.bodies import SimilarAnswer, SimilarBody, parse_similar, render_similar
from serving.recall.similar.service import SimilarService

PATH = f"/v1/models/{MODEL}:similar"
_REQUEST = {"instances": [{"item_ids": [50], "k": 2}]}
_ANSWER = {
    "predictions": [
        {
            "items": [{"item_id": 181, "score": 0.9312}, {"item_id": 172, "score": 0.9127}],
            "unknown": [],
            "generation": "g3",
            "arm": "stable",
            "degraded": [],
        }
    ]
}


def similar_router(service: SimilarService) -> APIRouter:
    """`POST /v1/models/recall:similar`."""
    router = APIRouter(tags=["recall"])

    async def similar(request: Request) -> Response:
        """Items like an item or several."""
        asked = parse_similar(await read_body(request))
        with deadline(request.headers.get(DEADLINE_HEADER)):
            predictions = await service.answer(asked, request.headers.get(ARM_HEADER))
        requests_of("similar", "ok").inc()
        return Response(render_similar(predictions), media_type="application/json")

    router.add_api_route(
        PATH,
        similar,
        methods=["POST"],
        response_class=Response,
        responses={**gives(SimilarAnswer, "Items by falling score.", _ANSWER), **REFUSALS},
        openapi_extra={**takes(SimilarBody, _REQUEST), **HEADERS, **needs("ask")},
    )
    return router
