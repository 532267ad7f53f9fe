"""Requests to the user tower and answers to them, in three forms: plain, KServe v1 and KServe v2.

plain  {"user_id": 5, "generation": "g3", …}                           -> {"vector": …, "generation": …, "known": …}
v1     {"instances": [{"user_id": 5, …}, …], "generation": "g3"}        -> {"predictions": [{"vector": …}, …], …}
v2     {"inputs": [{"name": "user_id", …}, …], "parameters": {"generation": "g3"}}  -> {"outputs": […], …}

A tower of several interests answers with `vectors`, a list of them, where others have `vector`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pagoda.errors import NotHeldError, PagodaError, RequestError
from serving.http.fields import Id, Moment, PastItems, V2Body, cut, load_json, refuse, rows_of

MAX_INSTANCES = 1000
_STRUCTURED = ("profile", "context", "history")
_Value = TypeVar("_Value")
_ONE_EACH = 2
"""Dimensions of the vectors of users with one each."""
_CONFLICT, _BAD_REQUEST, _SERVER_ERROR = 409, 400, 500


class Instance(BaseModel):
    """One user at one moment, in raw values: the tower encodes them with its generation's feature spec."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_id: Id
    timestamp: Moment | None = None
    """Absent: now."""
    profile: dict[str, Any] = {}
    context: dict[str, Any] = {}
    history: PastItems = PastItems()
    """The newest last."""


_Generation = Annotated[str, Field(strict=True, min_length=1, max_length=100)]
_INSTANCES: TypeAdapter[list[Instance]] = TypeAdapter(
    Annotated[list[Instance], Field(min_length=1, max_length=MAX_INSTANCES)]
)
_INSTANCE: TypeAdapter[Instance] = TypeAdapter(Instance)
_GENERATION: TypeAdapter[str | None] = TypeAdapter(_Generation | None)


@dataclass(frozen=True, slots=True)
class TowerRequest:
    """Users to compute vectors for, all of one generation."""

    instances: Sequence[Instance]
    generation: str | None = None
    """`None` means the current one."""


@dataclass(frozen=True, slots=True)
class TowerAnswer:
    """What one generation says of n users."""

    vectors: NDArray[np.float32]
    """[n, dim]; of several interests [n, interests, dim]. Of unit length, where cosines are compared."""
    known: NDArray[np.bool_]
    """Which of them have an ID row of their own."""
    generation: str

    @property
    def interests(self) -> int:
        """How many vectors each user has."""
        return 1 if self.vectors.ndim == _ONE_EACH else self.vectors.shape[1]

    @property
    def name(self) -> str:
        """What they are called in an answer."""
        return "vector" if self.vectors.ndim == _ONE_EACH else "vectors"


@dataclass(frozen=True, slots=True)
class Body:
    """A parsed body: what is asked, and what the answer has to look like."""

    request: TowerRequest
    form: Literal["plain", "v1", "v2"]
    id: str | None = None


def parse(raw: bytes | bytearray) -> Body:
    """Parse a body of any form.

    Raises:
        RequestError: The body is malformed; the message names the field, the value and what was expected.
    """
    content = load_json(raw)
    if "inputs" in content:
        return _parse_v2(content)
    generation = _generation(content.pop("generation", None), "generation")
    if "instances" not in content:
        return Body(TowerRequest((_check(_INSTANCE, content, ()),), generation), "plain")
    instances = _check(_INSTANCES, content.pop("instances"), ("instances",))
    if content:
        raise RequestError(f"{next(iter(content))}: unknown field")
    return Body(TowerRequest(instances, generation), "v1")


def read_instances(instances: Sequence[dict[str, Any]]) -> list[Instance]:
    """Users as a body would have them.

    Raises:
        RequestError: One is malformed; the message names the field.
    """
    return _check(_INSTANCES, instances, ("instances",))


def _parse_v2(content: dict[str, Any]) -> Body:
    try:
        body = V2Body.model_validate(content)
    except ValidationError as error:
        raise refuse(error) from None
    instances = _check(_INSTANCES, rows_of(body, _STRUCTURED), ("inputs",))
    generation = _generation(body.parameters.get("generation"), "parameters.generation")
    return Body(TowerRequest(instances, generation), "v2", body.id)


def _generation(value: Any, place: str) -> str | None:
    return _check(_GENERATION, value, (place,))


def _check(adapter: TypeAdapter[_Value], value: Any, above: Sequence[str]) -> _Value:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise refuse(error, above) from None


def render(body: Body, answer: TowerAnswer, version: str) -> bytes:
    """The answer in the form of its request.

    Args:
        body: The request.
        answer: What the tower computed.
        version: The model version that computed it, for v2.
    """
    content = _render_v2(body, answer, version) if body.form == "v2" else _render_rows(body, answer)
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _render_rows(body: Body, answer: TowerAnswer) -> dict[str, Any]:
    rows = [
        {answer.name: vector, "generation": answer.generation, "known": known}
        for vector, known in zip(answer.vectors, answer.known.tolist(), strict=True)
    ]
    return rows[0] if body.form == "plain" else {"generation": answer.generation, "predictions": rows}


def _render_v2(body: Body, answer: TowerAnswer, version: str) -> dict[str, Any]:
    vectors, count = answer.vectors, len(answer.vectors)
    outputs = [
        {"name": answer.name, "datatype": "FP32", "shape": list(vectors.shape), "data": vectors.reshape(-1)},
        {"name": "known", "datatype": "BOOL", "shape": [count], "data": answer.known},
        {"name": "generation", "datatype": "BYTES", "shape": [count], "data": [answer.generation] * count},
    ]
    parameters = {"generation": answer.generation}
    return {
        "model_name": "pagoda",
        "model_version": version,
        "id": body.id or "",
        "parameters": parameters,
        "outputs": outputs,
    }


def render_error(error: PagodaError) -> tuple[int, bytes]:
    """HTTP status and body of a request that was refused: 409 for a generation that is not held, 400 for bad input."""
    status = _SERVER_ERROR
    if isinstance(error, NotHeldError):
        status = _CONFLICT
    elif isinstance(error, RequestError):
        status = _BAD_REQUEST
    return status, orjson.dumps({"error": cut(str(error))})
