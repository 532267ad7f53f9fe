"""What callers send and get who ask for items like others."""

from __future__ import annotations

from typing import Annotated, Literal

import orjson
from pydantic import AfterValidator, Field, ValidationError
from typing_extensions import TypedDict

from serving.http.fields import Id, Sent, described, load_json, refuse
from serving.recall.api import MAX_FIELDS, MAX_INSTANCES, MAX_K, RecalledItem, distinct
from serving.recall.filter_form import RequestFilter

MAX_ITEMS = 100
"""That an answer's are to be like."""


class SimilarInstance(Sent):
    """One or several items, of which others like them are wanted."""

    item_ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=MAX_ITEMS), AfterValidator(distinct)]
    """What the answer's items are to be like; none of them is in it."""
    by: Literal["vector", "behaviour"] = "vector"
    """`vector`: whose vectors are nearest to the mean of theirs. `behaviour`: which the same users chose, where the
    generation has the channel `item_to_item`."""
    k: Annotated[int, Field(strict=True, ge=1, le=MAX_K)] = 100
    """How many items at most."""
    filter: RequestFilter = Field(default_factory=dict)
    """What the items must satisfy, by filterable item feature: a value, a list of values, or a mapping of operators."""
    fields: Annotated[tuple[str, ...], Field(max_length=MAX_FIELDS), AfterValidator(distinct)] = ()
    """What the answer says of each item beside its ID: its title, or item features, by their names."""
    user_id: Id | None = None
    """Who is shown them: the arm of this user answers. Absent: the stable one does."""


class SimilarBody(Sent):
    """A request, in the form of KServe v1."""

    instances: Annotated[list[SimilarInstance], Field(min_length=1, max_length=MAX_INSTANCES)]
    """What is asked, each by itself."""


@described
class SimilarPrediction(TypedDict):
    """Items like those of one instance."""

    items: list[RecalledItem]
    """By falling score: the cosine with the mean of the vectors, or what the dataset's rules make of it without a
    penalty; by behaviour, the sum of the channel's weights."""
    unknown: list[int | str]
    """Of the items asked about, those that the generation does not have; the others are what the answer is like."""
    generation: str
    """What answered: the collection, or the channel's table, of this one generation."""
    arm: str
    """`stable`, or while a rollout is on, `canary` where the user named is in its share."""
    degraded: list[str]
    """`fields_missing`, or empty."""


@described
class SimilarAnswer(TypedDict):
    """The answer to one request."""

    predictions: list[SimilarPrediction]
    """One for each instance, in their order."""


def parse_similar(raw: bytes) -> list[SimilarInstance]:
    """Parse a body.

    Raises:
        RequestError: It is malformed; the message names the field, the value and what was expected.
    """
    try:
        return SimilarBody.model_validate(load_json(raw)).instances
    except ValidationError as error:
        raise refuse(error) from None


def render_similar(predictions: list[SimilarPrediction]) -> bytes:
    """The answer's body."""
    return orjson.dumps(SimilarAnswer(predictions=predictions))
