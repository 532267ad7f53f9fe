"""The calls that a service takes, without any network: what is sent, what comes back, what may be sent again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

from pagoda.access.roles import Role
from pagoda.client.answers import EventsTaken, InterestsSaid, ItemsChanged, Recommendation, SimilarItems
from pagoda.client.events import MAX_EVENTS, Event
from pagoda.errors import RequestError

PREDICT, SIMILAR, EVENTS, ITEMS = "/v1/models/recall:predict", "/v1/models/recall:similar", "/v1/events", "/v1/items"
INTERESTS = "/v1/users/{user}/interests"
READY = "/v2/health/ready"
MAX_USERS, MAX_VALUES, DEFAULT_K = 100, 20_000, 100
"""Users of one request, values of items' fields in its answer, and items a user; see `docs/serving.md`."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request."""

    role: Role
    path: str
    body: bytes
    read: Callable[[Any], T]
    """From the answer's JSON; ValueError, KeyError or TypeError where it is none of the service's."""
    repeatable: bool
    """Whether it may be sent again when nobody knows if it was taken."""
    headers: Mapping[str, str] = field(default_factory=dict)
    method: Literal["POST", "PUT"] = "POST"


class Options(TypedDict, total=False):
    """What a request for recommendations may name beside its user; see `docs/serving.md`."""

    k: int
    """Items at most; 100 where it is absent."""
    filter: Mapping[str, Any]
    """By filterable item feature: a value, a list of values, or a mapping of operators."""
    exclude_seen: bool
    """Leave out what the user has had."""
    fields: Sequence[str]
    """What is said of each item beside its ID: its title, or item features, by their names."""
    context: Mapping[str, Any]
    """Raw values of the features that come with a request."""
    profile: Mapping[str, Any]
    """Raw values in place of the stored ones."""
    history: Sequence[Mapping[str, Any]]
    """`item_id`, `timestamp` and, where the dataset reads them, `event` and `text` of recent behaviour, in place of the
    stored one."""
    timestamp: datetime | int
    """The moment that the answer is for; now where it is absent."""
    text: str
    """What is looked for in the items' titles and text features, beside what fits the user."""
    merge: Literal["rrf", "sum"]
    """How both become one list: by places, or by scores."""
    popularity_penalty: float
    explain: bool
    """Say how each answer came about; that needs the role `operate`."""
    arm: str
    """For testers: `stable` or `canary`."""
    deadline: float
    """Seconds; what the service cannot have by then is stood in for."""


class SimilarOptions(TypedDict, total=False):
    """What a request for items like others may name beside them; see `docs/serving.md`."""

    by: Literal["vector", "behaviour"]
    """The nearest vectors, which is the default, or what the same users chose."""
    k: int
    """Items at most; 100 where it is absent."""
    filter: Mapping[str, Any]
    """As of `Options`; so are the others."""
    fields: Sequence[str]
    user_id: int | str
    """Who is shown them, whose arm answers; the stable one where it is absent."""
    arm: str
    deadline: float


def recommend(users: Iterable[int | str], options: Options) -> Iterator[Call[list[Recommendation]]]:
    """Requests for users, as many at a time as the service takes."""
    fields: dict[str, Any] = {name: value for name, value in options.items() if name not in ("arm", "deadline")}
    headers, role = _headers(options), _role(options)
    values = options.get("k", DEFAULT_K) * len(options.get("fields", ()))
    for some in _parts(users, max(1, min(MAX_USERS, MAX_VALUES // max(1, values)))):
        body = _json({"instances": [{"user_id": user, **fields} for user in some]})
        yield Call(role, PREDICT, body, partial(_read_predictions, some), repeatable=True, headers=headers)


def similar(items: Iterable[int | str], options: SimilarOptions) -> Call[SimilarItems]:
    """A request for items like some."""
    fields: dict[str, Any] = {name: value for name, value in options.items() if name not in ("arm", "deadline")}
    body = _json({"instances": [{"item_ids": list(items), **fields}]})
    return Call("ask", SIMILAR, body, _read_similar, repeatable=True, headers=_headers(options))


def _role(options: Options) -> Role:
    return "operate" if options.get("explain") else "ask"


def _read_similar(answer: Any) -> SimilarItems:
    (one,) = answer["predictions"]
    return SimilarItems.model_validate(one)


def _headers(options: Options | SimilarOptions) -> dict[str, str]:
    headers = {"x-pagoda-arm": options["arm"]} if "arm" in options else {}
    if "deadline" in options:
        headers["x-pagoda-deadline-ms"] = f"{options['deadline'] * 1e3:g}"
    return headers


def _read_predictions(users: Sequence[int | str], answer: Any) -> list[Recommendation]:
    named = zip(users, answer["predictions"], strict=True)
    return [Recommendation.model_validate({**one, "user_id": _plain(user)}) for user, one in named]


def send_events(events: Iterable[Event]) -> Iterator[Call[EventsTaken]]:
    """Requests with events, as many at a time as the service takes. By their IDs they may be sent again."""
    for some in _parts(events, MAX_EVENTS):
        body = _json({"events": [one.body() for one in some]})
        yield Call("events", EVENTS, body, EventsTaken.model_validate, repeatable=True)


def together(parts: Sequence[EventsTaken]) -> EventsTaken:
    """What several requests took, as one answer."""
    return EventsTaken(
        event_ids=tuple(one for part in parts for one in part.event_ids),
        taken=sum(part.taken for part in parts),
        duplicates=sum(part.duplicates for part in parts),
    )


def change_items(upsert: Sequence[Mapping[str, Any]], remove: Sequence[int | str]) -> Call[ItemsChanged]:
    """A request that changes items: all or none. Sent twice, it could undo what another caller changed in between."""
    body = _json({"upsert": [dict(one) for one in upsert], "remove": list(remove)})
    return Call("items", ITEMS, body, ItemsChanged.model_validate, repeatable=False)


def say_interests(user: int | str, interests: Sequence[str]) -> Call[InterestsSaid]:
    """A request that says what a user likes, in place of what they said before."""
    path, body = INTERESTS.format(user=quote(str(_plain(user)), safe="")), _json({"interests": list(interests)})
    return Call("users", path, body, InterestsSaid.model_validate, repeatable=True, method="PUT")


def _parts(things: Iterable[T], most: int) -> Iterator[list[T]]:
    rest = iter(things)
    while some := list(islice(rest, most)):
        yield some


def _json(content: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(content, allow_nan=False, default=_plain).encode()
    except ValueError as error:
        raise RequestError(f"a value cannot be sent as JSON: {error}") from None


def _plain(value: Any) -> Any:
    """A moment as text; a number or an array of numpy, of which a client needs to know no more, as Python's own."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise RequestError(f"timestamp: must have a zone, such as datetime.now(UTC) (got {value.isoformat()})")
        return value.isoformat()
    if callable(own := getattr(value, "tolist", None)):
        return own()
    if isinstance(value, int | str):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    raise RequestError(f"a {type(value).__name__} cannot be sent as JSON; give numbers, texts, lists or mappings")
