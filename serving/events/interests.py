"""The endpoint by which users say what they like: their next answer knows it, and no event is made of it."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import Field, ValidationError
from typing_extensions import TypedDict

from pagoda.data.layout import INTERESTS, features_of, says_interests
from pagoda.data.spec import FeatureSpec, MultiValued
from pagoda.errors import RequestError
from serving.events.intake import SpecSource
from serving.http.body_reading import read_body
from serving.http.fields import Sent, described, load_json, refuse
from serving.http.openapi import REFUSALS, gives, in_path, needs, takes
from serving.users.forgetting import parse_user
from serving.users.interests import InterestStore

PATH = "/v1/users/{user_id}/interests"
_REQUEST = {"interests": ["Drama", "Comedy"]}
_ANSWER = {**_REQUEST, "stored": True}


class InterestsBody(Sent):
    """The categories that a user likes, in place of what they said before."""

    interests: list[Annotated[str, Field(strict=True, min_length=1, max_length=200)]]
    """The dearest first, at most `max_values` of the feature `interests`; empty: none."""


@described
class InterestsReceipt(TypedDict):
    """Given when the online store has them."""

    interests: list[str]
    """What was said, each once."""
    stored: bool
    """False where the user is being forgotten: then nothing is."""


class InterestIntake:
    """Takes what users say they like. Safe to share between requests."""

    def __init__(self, store: InterestStore, specs: SpecSource) -> None:
        """Make one: what fits `specs` goes into `store`."""
        self._store, self._specs = store, specs

    async def take(self, user: str, body: InterestsBody) -> InterestsReceipt:
        """Store what a user likes; doing it again does no harm.

        Raises:
            RequestError: The ID is none of this dataset's, users cannot say interests here, or there are too many.
            UnavailableError: The store does not take them now.
        """
        spec = await self._specs.spec()
        said = _checked(spec, body.interests)
        stored = await self._store.say(parse_user(spec, user), said)
        return {"interests": said, "stored": stored}


def _checked(spec: FeatureSpec, given: list[str]) -> list[str]:
    """What was said, each once."""
    feature = next((one for one in features_of(spec, "users") if one.name == INTERESTS), None)
    if not says_interests(spec) or not isinstance(feature, MultiValued):
        raise RequestError(
            f"interests: the dataset declares no feature of this name; add {{kind: multi, name: {INTERESTS}, tower: "
            "user} to features.yaml, and train"
        )
    said = list(dict.fromkeys(given))
    if len(said) > feature.max_values:
        raise RequestError(f"interests: at most {feature.max_values} count (got {len(said)})")
    return said


def interests_router(intake: InterestIntake) -> APIRouter:
    """`PUT /v1/users/{user_id}/interests`."""
    router = APIRouter(tags=["users"])

    async def interests(request: Request) -> Response:
        """Say what a user likes: their next answer knows it."""
        try:
            body = InterestsBody.model_validate(load_json(await read_body(request)))
        except ValidationError as error:
            raise refuse(error) from None
        taken = await intake.take(request.path_params["user_id"], body)
        return Response(orjson.dumps(taken), media_type="application/json")

    router.add_api_route(
        PATH,
        interests,
        methods=["PUT"],
        response_class=Response,
        responses={**gives(InterestsReceipt, "The online store has them.", _ANSWER), **REFUSALS},
        openapi_extra={
            **in_path("user_id", "Who says it, by the dataset's ID; one with a slash cannot be named here."),
            **takes(InterestsBody, _REQUEST),
            **needs("users"),
        },
    )
    return router
