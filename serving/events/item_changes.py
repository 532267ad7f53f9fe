"""The endpoint that takes item changes."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field, ValidationError, with_config
from typing_extensions import TypedDict

from pagoda.data.spec import FeatureSpec
from pagoda.errors import RequestError
from pagoda.item_changes.changes import removed, upserted
from pagoda.item_changes.log import ItemLog
from pagoda.item_changes.records import MAX_CHANGES, ItemChange
from pagoda.item_changes.removals import TooManyRemovalsError
from serving.events.intake import SpecSource
from serving.http.body_reading import read_body
from serving.http.fields import DescribedAs, Id, Sent, described, load_json, refuse
from serving.http.openapi import REFUSALS, gives, needs, takes

PATH = "/v1/items"
logger = logging.getLogger(__name__)
_REQUEST = {"upsert": [{"item_id": 17, "year": 1994, "genres": ["Drama"]}], "remove": [3]}
_ANSWER = {"record": 4, "changes": 2}


@with_config(ConfigDict(extra="allow", use_attribute_docstrings=True))
class UpsertedItem(TypedDict):
    """An item with raw values of all of its features, by the names that the dataset declares, and its title and weight
    where it declares these. What is absent is missing from now on."""

    item_id: Id
    """The item, as the dataset names it."""


class ItemsBody(Sent):
    """Items to add or change, and items to remove, at least one; all are taken or none."""

    upsert: Annotated[
        list[Annotated[dict[str, Any], DescribedAs(UpsertedItem)]],
        Field(max_length=MAX_CHANGES),
    ] = Field(default_factory=list)
    """Each with `item_id` and all of its features; a feature that is absent is missing from now on."""
    remove: Annotated[list[Id], Field(max_length=MAX_CHANGES)] = Field(default_factory=list)
    """IDs of items to take out of every collection until they are upserted again. At most a tenth of the catalogue may
    go within 24 hours, unless the settings `items.removal_share` and `items.removal_hours` say otherwise."""


@described
class ItemsAnswer(TypedDict):
    """Given when the changes are in the item log; collections have them within seconds."""

    record: int
    """Number of the item log's record that holds them."""
    changes: int
    """How many."""


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


class ItemIntake:
    """Takes item changes. Safe to share between requests."""

    def __init__(self, log: ItemLog, specs: SpecSource) -> None:
        """Make one: changes that fit `specs` go into `log`."""
        self._log, self._specs = log, specs
        self._complained = False

    async def take(self, body: ItemsBody) -> ItemsAnswer:
        """Append changes to the item log; all of them or none.

        Raises:
            RequestError: One cannot be taken, or too much would be removed; the message names the field.
            UnavailableError: The log does not take them now.
        """
        changes = changes_of(body, await self._specs.spec())
        try:
            record = await asyncio.to_thread(self._log.append, changes)
        except TooManyRemovalsError as error:
            if not self._complained:  # Once, however often it is tried, until something is taken again.
                logger.warning("item changes are refused: %s", error)
            self._complained = True
            raise
        self._complained = False
        return {"record": record.number, "changes": len(changes)}


def items_router(intake: ItemIntake) -> APIRouter:
    """`POST /v1/items`."""
    router = APIRouter(tags=["items"])

    async def items(request: Request) -> Response:
        """Change items in every live collection, and for all later updates."""
        taken = await intake.take(parse_items(await read_body(request)))
        return Response(orjson.dumps(taken), media_type="application/json")

    router.add_api_route(
        PATH,
        items,
        methods=["POST"],
        response_class=Response,
        responses={**gives(ItemsAnswer, "All are in the item log.", _ANSWER), **REFUSALS},
        openapi_extra={**takes(ItemsBody, _REQUEST), **needs("items")},
    )
    return router
