"""The OpenAPI page of the recall service: bodies are parsed by hand for speed, and described as if they were not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from pagoda.generations.arms import ARMS
from pagoda.rollout.state.split import ARM_HEADER
from serving.events.bodies import Event, EventsBody
from serving.http.deadlines import DEADLINE_HEADER, LONGEST_MS
from serving.http.fields import V2Body
from serving.http.openapi import _REF
from serving.recall.api import RecallBody, RecallInstance

_BODIES: tuple[type[BaseModel], ...] = (RecallBody, RecallInstance, V2Body, EventsBody, Event)

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


def describe_bodies(app: FastAPI, bodies: Sequence[type[BaseModel]] = _BODIES) -> None:
    """Put the bodies' schemas on the page of `app`, which must have all its routes."""
    _, definitions = models_json_schema([(body, "validation") for body in bodies], ref_template=_REF)
    app.openapi()["components"]["schemas"].update(definitions["$defs"])
