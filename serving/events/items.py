"""The endpoint that takes item changes."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from pagoda.data.spec import FeatureSpec
from pagoda.errors import RequestError
from pagoda.index.items import removed, upserted
from pagoda.registry.items import MAX_CHANGES, ItemChange, ItemLog
from serving.events.intake import SpecSource
from serving.http.openapi import needs
from serving.recall.openapi import REFUSALS, takes
from serving.recall.reading import read_body
from serving.wire import Id, load_json, refuse

PATH = "/v1/items"
_EXAMPLE = {"upsert": [{"item_id": 17, "year": 1994, "genres": ["Drama"]}], "remove": [3]}


class ItemsBody(BaseModel):
    """Items to add or change, and items to remove; all are taken or none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    upsert: Annotated[list[dict[str, Any]], Field(max_length=MAX_CHANGES)] = []
    """Each with `item_id` and all of its features; a feature that is absent is missing from now on."""
    remove: Annotated[list[Id], Field(max_length=MAX_CHANGES)] = []


class ItemsReceipt(TypedDict):
    """Given when the changes are in the item log; collections have them within seconds."""

    record: int
    changes: int


def parse_items(raw: bytes) -> ItemsBody:
    """Parse a body.

    Raises:
        RequestError: It is malformed, or changes nothing.
    """
    try:
        body = ItemsBody.model_validate(load_json(raw))
    except ValidationError as error:
        raise refuse(error) from None
    if not body.upsert and not body.remove:
        raise RequestError("body: name at least one item in `upsert` or `remove`")
    return body


def changes_of(body: ItemsBody, spec: FeatureSpec) -> list[ItemChange]:
    """The changes that a body asks for, checked.

    Raises:
        RequestError: An ID or a value is wrong; the message names the field.
    """
    changed = [upserted(spec, item, f"upsert.{place}") for place, item in enumerate(body.upsert)]
    return changed + [removed(spec, item, f"remove.{place}") for place, item in enumerate(body.remove)]


def items_router(log: ItemLog, specs: SpecSource) -> APIRouter:
    """`POST /v1/items`."""
    router = APIRouter(tags=["items"])

    async def items(request: Request) -> Response:
        """Change items in every live collection, and for all later updates."""
        body = parse_items(await read_body(request))
        changes = changes_of(body, await specs.spec())
        record = await asyncio.to_thread(log.append, changes)
        receipt: ItemsReceipt = {"record": record.number, "changes": len(changes)}
        return Response(orjson.dumps(receipt), media_type="application/json")

    router.add_api_route(
        PATH,
        items,
        methods=["POST"],
        response_class=Response,
        responses={200: {"model": ItemsReceipt, "description": "All are in the item log."}, **REFUSALS},
        openapi_extra={**takes(ItemsBody, _EXAMPLE), **needs("items")},
    )
    return router
