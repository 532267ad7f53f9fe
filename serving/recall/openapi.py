"""The OpenAPI page of the recall service: bodies are parsed by hand for speed, and described as if they were not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from pagoda.registry.arms import ARMS
from pagoda.rollout.arms import ARM_HEADER
from serving.events.body import Event, EventsBody
from serving.recall.api import RecallBody, RecallInstance, Refusal
from serving.recall.deadlines import DEADLINE_HEADER, LONGEST_MS
from serving.wire import V2Body

_REF = "#/components/schemas/{model}"
_BODIES: tuple[type[BaseModel], ...] = (RecallBody, RecallInstance, V2Body, EventsBody, Event)
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "A field is wrong; the error names it."},
    401: {"model": Refusal, "description": "No token, or an unknown one."},
    403: {"model": Refusal, "description": "The token is of another role, or another site has sent the request."},
    413: {"model": Refusal, "description": "The body is too large."},
    415: {"model": Refusal, "description": "The body is not said to be JSON."},
    503: {"model": Refusal, "description": "Not ready, or a server that is needed does not answer. Try again."},
}

HEADERS: dict[str, Any] = {
    "parameters": [
        {
            "name": ARM_HEADER,
            "in": "header",
            "description": "For testers: the arm that answers. Such requests do not count in a rollout.",
            "schema": {"type": "string", "enum": list(ARMS)},
        },
        {
            "name": DEADLINE_HEADER,
            "in": "header",
            "description": "Milliseconds that the caller waits. What cannot be had by then is stood in for.",
            "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_MS},
        },
    ]
}
"""`openapi_extra` of a route that heeds these headers."""


def takes(body: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of a route that reads `body` itself."""
    schema = {"$ref": _REF.format(model=body.__name__)}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def describe_bodies(app: FastAPI, bodies: Sequence[type[BaseModel]] = _BODIES) -> None:
    """Put the bodies' schemas on the page of `app`, which must have all its routes."""
    _, definitions = models_json_schema([(body, "validation") for body in bodies], ref_template=_REF)
    app.openapi()["components"]["schemas"].update(definitions["$defs"])
