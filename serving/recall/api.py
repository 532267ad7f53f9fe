"""What callers of the recall service send and get, as KServe v1 and v2 bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired, Protocol, TypeVar

import orjson
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from pagoda.client.explanation import Explanation
from pagoda.errors import RequestError
from serving.http.fields import Id, Moment, PastItem, Sent, V2Body, described, load_json, refuse, rows_of
from serving.recall.filter_form import RequestFilter

MODEL = "recall"
MAX_K = 1000
MAX_INSTANCES = 100
MAX_HISTORY = 1000
MAX_TEXT = 1000
"""Characters."""
_LONG_BYTES, _LONG_ITEMS = 16 << 10, 5000
"""From then on, reading a body and writing an answer take milliseconds."""
MAX_FIELDS = 64
_MAX_VALUES = 20_000
"""Of items' fields in one answer."""
T = TypeVar("T")
_STRUCTURED = ("context", "profile", "history", "filter", "fields")


def distinct(names: tuple[T, ...]) -> tuple[T, ...]:
    """Refuse a repetition, with ValueError."""
    if len(set(names)) < len(names):
        raise ValueError("each one once")
    return names


class RecallInstance(Sent):
    """One user who wants items."""

    user_id: Id
    """Who wants them. Of whom nothing is known, they are answered as newcomers."""
    k: Annotated[int, Field(strict=True, ge=1, le=MAX_K)] = 100
    """How many items at most."""
    timestamp: Moment | None = None
    """The moment that the answer is for. Absent: now."""
    context: dict[str, Any] = Field(default_factory=dict)
    """Raw values of the user tower's features that come with a request (`source: context`), by name."""
    profile: dict[str, Any] = Field(default_factory=dict)
    """Raw values of the user tower's other features, by name, to use instead of the stored ones."""
    history: Annotated[tuple[PastItem, ...], Field(max_length=MAX_HISTORY)] | None = None
    """Recent behaviour, the newest last, to use instead of the stored one."""
    filter: RequestFilter = Field(default_factory=dict)
    """What the items must satisfy, by filterable item feature: a value, a list of values, or a mapping of operators."""
    exclude_seen: Annotated[bool, Field(strict=True)] = False
    """Leave out what the user has had."""
    fields: Annotated[tuple[str, ...], Field(max_length=MAX_FIELDS), AfterValidator(distinct)] = ()
    """What the answer says of each item beside its ID: its title, or item features, by their names."""
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)] | None = None
    """What is looked for in the items' titles and text features, beside what the user's vector is nearest to."""
    merge: Literal["rrf", "sum"] | None = None
    """How items found by `text` and by the vector become one list. rrf, the default: by their places in the two,
    Σ 1/(60 + place). sum: by their scores in the two, each from 0 for the last one to 1 for the first."""
    popularity_penalty: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None
    """β in the score w · cosine - β · log p, where the dataset declares that popularity counts. Absent: its default."""
    explain: Annotated[bool, Field(strict=True)] = False
    """Say how the answer came about, what is known of the user among it. That needs a token of the role `operate`, and
    such an answer does not count in a rollout."""


class RecallBody(Sent):
    """A KServe v1 request."""

    instances: Annotated[list[RecallInstance], Field(min_length=1, max_length=MAX_INSTANCES)]
    """The users."""


@described
class RecalledItem(TypedDict):
    """One item of an answer."""

    item_id: int | str
    """The item, as the dataset names it."""
    score: float
    """The cosine (the inner product, of a version that is trained so), or what the dataset's rules make of it, or, of a
    request with `text`, what `merge` does."""
    recall_score: NotRequired[float]
    """The score that it was found with. There where the generation's pre-ranker ordered the answer, whose score is the
    chance of a click."""
    channels: NotRequired[list[str]]
    """Where it comes from, all that had it among their candidates; there where the generation declares channels. The
    score is then that of the first of them (of `merging: {kind: rrf}` the sum), and the order of items is the answer's:
    scores of different channels do not compare."""
    propensity: NotRequired[float]
    """The probability with which chance chose the item for this answer, above 0; there where it did (`explore`)."""
    fields: NotRequired[dict[str, Any]]
    """What was asked of the item, by name; null where it has no value. There where the request has `fields`, unless
    `degraded` says `fields_missing`."""


@described
class Prediction(TypedDict):
    """One user's answer."""

    items: list[RecalledItem]
    """By falling score; of several channels, the best of each in turn. Fewer than `k` where there are no more."""
    generation: str
    """What answered: tower, ID tables and collection of this one generation."""
    arm: str
    """`stable`, or while a rollout is on, `canary` for its share of the users."""
    known_user: bool
    """Whether the user has an ID row of their own; otherwise the out-of-vocabulary row stood in."""
    degraded: list[str]
    """What stood in for a server that did not answer; see docs/serving.md. Empty: nothing did."""
    timing_ms: dict[str, float]
    """Milliseconds that each stage took (`store`, `tower`, `index`, `prerank`, `fields`), and `total`."""
    receipt: NotRequired[str]
    """To be handed back with this user's events on these items, as it is. There where the dataset declares receipts."""
    explanation: NotRequired[Explanation]
    """How it came about. There where the request has `explain`."""


@described
class RecallAnswer(TypedDict):
    """A KServe v1 answer."""

    predictions: list[Prediction]
    """One for each instance, in their order."""


@described
class FirstItems(TypedDict):
    """What to show first to whom nothing is known of."""

    items: list[int | str]
    """In the order in which to show them; fewer than `n` where there are no more."""
    generation: str
    """Whose version says it."""


@described
class Output(TypedDict):
    """One output of a KServe v2 answer, flat."""

    name: str
    """What the values are, see the answer."""
    datatype: str
    """INT32, INT64, FP32, BOOL, or BYTES for strings."""
    shape: list[int]
    """How many values there are."""
    data: list[Any]
    """The values."""


@described
class V2Answer(TypedDict):
    """A KServe v2 answer: `item_id` and `score` hold all users' items end to end, `count` how many each user got.
    `generation`, `arm`, `known_user` and `degraded` (steps with commas between them) hold a value for each user.

    Where `fields` were asked for, `fields` holds those of each item as a JSON text; where the generation declares
    channels, `channels` holds the names of each item's, separated by commas; where one explores, `propensity` holds the
    probability of each item that chance chose, and 1 of the others; where its pre-ranker ordered them, `recall_score`
    the scores that they were found with. Where the dataset declares receipts, `receipt` holds each user's; where the
    request has `explain`, `explanation` holds each user's as a JSON text, which is `null` of those that have none.
    """

    model_name: str
    """`recall`."""
    id: str
    """The request's; empty where it had none."""
    outputs: list[Output]
    """The columns, one a field of the answer."""


_ROWS: TypeAdapter[list[RecallInstance]] = TypeAdapter(RecallBody.model_fields["instances"].rebuild_annotation())


async def read_v1(raw: bytes) -> list[RecallInstance]:
    """`parse_v1`, of a long body piece by piece, so that others are answered in between.

    Raises:
        RequestError: See there.
    """
    if len(raw) <= _LONG_BYTES:
        return parse_v1(raw)
    content = load_json(raw)
    instances = content.pop("instances", None)
    if content or not isinstance(instances, list) or not instances:
        return parse_v1(raw)  # It is refused at once.
    return await _read(instances, "instances")


async def read_v2(raw: bytes) -> tuple[list[RecallInstance], str]:
    """`parse_v2`, of a long body piece by piece.

    Raises:
        RequestError: See there.
    """
    if len(raw) <= _LONG_BYTES:
        return parse_v2(raw)
    rows, request_id = _v2_rows(raw)
    return await _read(rows, "inputs"), request_id


async def _read(instances: Sequence[Any], above: str) -> list[RecallInstance]:
    if len(instances) > MAX_INSTANCES:
        raise RequestError(f"{above}: at most {MAX_INSTANCES} users in one request (got {len(instances)})")
    found = []
    for place, one in enumerate(instances):
        try:
            found.append(RecallInstance.model_validate(one))
        except ValidationError as error:
            raise refuse(error, (above, place)) from None
        await asyncio.sleep(0)
    return found


def parse_v1(raw: bytes) -> list[RecallInstance]:
    """Parse a v1 body.

    Raises:
        RequestError: It is malformed; the message names the field, the value and what was expected.
    """
    try:
        return RecallBody.model_validate(load_json(raw)).instances
    except ValidationError as error:
        raise refuse(error) from None


def parse_v2(raw: bytes) -> tuple[list[RecallInstance], str]:
    """Parse a v2 body, and its id: an input a field; `context`, `profile`, `history`, `filter`, `fields` as JSON texts.

    Raises:
        RequestError: It is malformed; the message names the field, the value and what was expected.
    """
    rows, request_id = _v2_rows(raw)
    try:
        return _ROWS.validate_python(rows), request_id
    except ValidationError as error:
        raise refuse(error, ("inputs",)) from None


def _v2_rows(raw: bytes) -> tuple[list[dict[str, Any]], str]:
    try:
        body = V2Body.model_validate(load_json(raw))
    except ValidationError as error:
        raise refuse(error) from None
    return rows_of(body, _STRUCTURED), body.id or ""


class Telling(Protocol):
    """What of each of k items is asked."""

    @property
    def k(self) -> int:
        """Items at most."""

    @property
    def fields(self) -> tuple[str, ...]:
        """What is said of each."""


def check_values(asked: Sequence[Telling]) -> None:
    """Refuse to say more of items than an answer can hold.

    Raises:
        RequestError: k × fields, over all users, are too many.
    """
    if (values := sum(one.k * len(one.fields) for one in asked)) > _MAX_VALUES:
        raise RequestError(
            f"fields: at most {_MAX_VALUES:,} values of items in one answer, k × fields of each user (got {values:,}); "
            "ask for fewer items, fields or users"
        )


async def write_v1(predictions: Sequence[Prediction]) -> bytes:
    """`render_v1`, of a long answer piece by piece, so that others are answered in between."""
    if sum(map(_length, predictions)) <= _LONG_ITEMS:
        return render_v1(predictions)
    parts = []
    for one in predictions:
        parts.append(orjson.dumps(one))
        await asyncio.sleep(0)
    return b'{"predictions":[' + b",".join(parts) + b"]}"


def _length(one: Prediction) -> int:
    """Items and their values."""
    items = one["items"]
    return sum(1 + len(item.get("fields", ())) for item in items[:1]) * len(items)


def render_v1(predictions: Sequence[Prediction]) -> bytes:
    """A v1 answer."""
    return orjson.dumps({"predictions": predictions})


def render_v2(predictions: Sequence[Prediction], request_id: str) -> bytes:
    """A v2 answer."""
    items = [item for prediction in predictions for item in prediction["items"]]
    ids = [item["item_id"] for item in items]
    outputs = [
        _output("item_id", "BYTES" if ids and isinstance(ids[0], str) else "INT64", ids),
        _output("score", "FP32", [item["score"] for item in items]),
        _output("count", "INT32", [len(prediction["items"]) for prediction in predictions]),
        _output("generation", "BYTES", [prediction["generation"] for prediction in predictions]),
        _output("arm", "BYTES", [prediction["arm"] for prediction in predictions]),
        _output("known_user", "BOOL", [prediction["known_user"] for prediction in predictions]),
        _output("degraded", "BYTES", [",".join(prediction["degraded"]) for prediction in predictions]),
    ]
    if any("recall_score" in item for item in items):
        outputs.append(_output("recall_score", "FP32", [item.get("recall_score", item["score"]) for item in items]))
    if any("channels" in item for item in items):
        outputs.append(_output("channels", "BYTES", [",".join(item.get("channels", ())) for item in items]))
    if any("propensity" in item for item in items):
        outputs.append(_output("propensity", "FP32", [item.get("propensity", 1.0) for item in items]))
    if any("fields" in item for item in items):
        outputs.append(_output("fields", "BYTES", [orjson.dumps(item.get("fields", {})).decode() for item in items]))
    if all("receipt" in prediction for prediction in predictions):
        outputs.append(_output("receipt", "BYTES", [prediction["receipt"] for prediction in predictions]))
    if any("explanation" in prediction for prediction in predictions):
        told = [orjson.dumps(prediction.get("explanation")).decode() for prediction in predictions]
        outputs.append(_output("explanation", "BYTES", told))
    return orjson.dumps({"model_name": MODEL, "id": request_id, "outputs": outputs})


def _output(name: str, datatype: str, data: list[Any]) -> Output:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}
