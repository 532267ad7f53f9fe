"""What the bodies of tower and recall service have in common: IDs, moments, past items, v2 tensors, errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import is_not, itemgetter
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    with_config,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import custom_error_schema, no_info_wrap_validator_function
from typing_extensions import TypedDict

from pagoda.data.window import to_us
from pagoda.errors import RequestError

_INT64 = 1 << 63
_LAST_US = 253_402_300_799_999_999
"""The last microsecond of the year 9999, beyond which no calendar goes."""
_LONGEST_ID = 1024
_SHOWN_CHARACTERS = 120
_SHOWN_PROBLEMS = 5
_REQUIRED = 2
"""Fields that each past item has."""
_is_said = partial(is_not, None)
_item_id, _timestamp = itemgetter("item_id"), itemgetter("timestamp")


@dataclass(frozen=True)
class _Expected:
    """What a value may be, and one sentence that says so where it is not.

    A union's own errors are one a member, and a validator in Python costs more than all else of a history.
    """

    allowed: Any
    """The type."""
    what: str

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return custom_error_schema(
            handler.generate_schema(self.allowed), "unexpected", custom_error_message=f"must be {self.what}"
        )


@dataclass(frozen=True)
class DescribedAs:
    """What the OpenAPI page says a value is, where a generation's declaration decides what it may be."""

    form: Any
    """A type whose schema that is."""

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(TypeAdapter(self.form).core_schema)


class Sent(BaseModel):
    """What callers send: the fields that are declared and no others. Their docstrings describe them on the page."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


described = with_config(ConfigDict(use_attribute_docstrings=True))
"""The fields of an answer are described on the page by their docstrings, too."""


def _moment(value: str) -> int:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("it names no zone")
    return to_us(moment)


Id = Annotated[
    int | str,
    _Expected(
        Annotated[int, Field(strict=True, ge=-_INT64, lt=_INT64)]
        | Annotated[str, Field(strict=True, min_length=1, max_length=_LONGEST_ID)],
        f"an integer of 64 bits or a string of 1 to {_LONGEST_ID} characters",
    ),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "format": "int64", "description": "Where the dataset's IDs are numbers."},
                {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": _LONGEST_ID,
                    "description": "Where the dataset's IDs are strings.",
                },
            ]
        }
    ),
]
"""An ID as the caller knows it."""
Moment = Annotated[
    int,
    _Expected(
        Annotated[int, Field(strict=True, ge=0, le=_LAST_US)]
        | Annotated[str, Field(strict=True), AfterValidator(_moment), Field(ge=0, le=_LAST_US)],
        "ISO 8601 with a zone, such as 2026-11-22T08:30:00Z, or microseconds since 1970, up to the year 9999",
    ),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "maximum": _LAST_US,
                    "description": "Microseconds since 1970, UTC.",
                },
                {"type": "string", "format": "date-time", "description": "ISO 8601 with a zone."},
            ]
        }
    ),
]
"""A moment, in microseconds since the epoch inside, ISO 8601 with a zone or microseconds outside."""


@with_config(ConfigDict(extra="forbid", use_attribute_docstrings=True))
class PastItem(TypedDict):
    """One item that a user interacted with."""

    item_id: Id
    """The item, as the dataset names it."""
    timestamp: Moment
    """When that was."""
    event: NotRequired[Annotated[str, Field(strict=True)]]
    """What was done with it, where the generation's histories say that."""
    text: NotRequired[Annotated[str, Field(strict=True)]]
    """What was said with it, a search, say, where the generation has a feature of past texts."""


class PastItems(NamedTuple):
    """Past items as columns, which is how they are stored and how a tower reads them; a model's field takes both."""

    ids: tuple[int | str, ...] = ()
    timestamps: tuple[int, ...] = ()
    """µs."""
    events: tuple[str | None, ...] = ()
    """What was done with each, None where that is not known; empty: nobody says."""
    texts: tuple[str | None, ...] = ()
    """What was said with each, None where nothing was; empty: nothing was with any."""

    @classmethod
    def of(cls, rows: Sequence[PastItem]) -> PastItems:
        """The columns of rows."""
        ids, timestamps = tuple(map(_item_id, rows)), tuple(map(_timestamp, rows))
        if max(map(len, rows), default=0) <= _REQUIRED:
            return cls(ids, timestamps)
        events, texts = (tuple(row.get("event") for row in rows), tuple(row.get("text") for row in rows))
        return cls(ids, timestamps, *(column if any(map(_is_said, column)) else () for column in (events, texts)))

    def rows(self) -> list[PastItem]:
        """The same, row by row."""
        rows: list[PastItem] = [
            {"item_id": id_, "timestamp": at} for id_, at in zip(self.ids, self.timestamps, strict=True)
        ]
        for row, event in zip(rows, self.events, strict=False):
            if event is not None:
                row["event"] = event
        for row, text in zip(rows, self.texts, strict=False):
            if text is not None:
                row["text"] = text
        return rows

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: Any, check: Callable[[Any], tuple[PastItem, ...]]) -> PastItems:
            return value if isinstance(value, cls) else cls.of(check(value))

        return no_info_wrap_validator_function(read, handler.generate_schema(tuple[PastItem, ...]))


class Tensor(Sent):
    """One input of a KServe v2 body; `data` is flat and has one entry an instance."""

    name: str
    """The field of an instance that the values are of, each input once: `user_id`, for example."""
    datatype: Literal["BOOL", "INT32", "INT64", "FP32", "FP64", "BYTES"]
    """The type of the values, as the protocol has it. Strings are BYTES, and so is what is structured (`history`, say):
    one JSON text an instance."""
    shape: list[Annotated[int, Field(strict=True, ge=0)]]
    """The number of instances; further sides may follow and are 1."""
    parameters: dict[str, Any] = {}
    """Accepted, as the protocol has it, and not read."""
    data: list[Any]
    """The values, one an instance, in the same order in all inputs."""


class V2Body(Sent):
    """A KServe v2 body: a column of values an input, all of them equally long."""

    id: str | None = None
    """Comes back with the answer."""
    parameters: dict[str, Any] = {}
    """Accepted, as the protocol has it; recall reads none."""
    inputs: list[Tensor] = Field(min_length=1)
    """The columns, one a field of the instances."""
    outputs: list[Any] = []
    """Accepted, as the protocol has it, and not read: all outputs are sent."""


def rows_of(body: V2Body, structured: Sequence[str]) -> list[dict[str, Any]]:
    """Turn the columns of a v2 body into one mapping an instance.

    Args:
        body: The body.
        structured: Inputs whose entries are JSON texts.

    Raises:
        RequestError: Columns are named twice, differ in length, or hold text that is no JSON.
    """
    columns: dict[str, list[Any]] = {}
    for tensor in body.inputs:
        if tensor.name in columns:
            raise RequestError(f"inputs: {tensor.name!r} is given twice")
        values = _values(tensor, tensor.name in structured)
        if columns and len(values) != len(next(iter(columns.values()))):
            raise RequestError(f"inputs.{tensor.name}: {len(values)} values, but other inputs hold another number")
        columns[tensor.name] = values
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _values(tensor: Tensor, structured: bool) -> list[Any]:
    if not tensor.shape or tensor.shape[0] != len(tensor.data) or any(side != 1 for side in tensor.shape[1:]):
        raise RequestError(f"inputs.{tensor.name}: shape {tensor.shape} does not fit {len(tensor.data)} flat values")
    if not structured:
        return tensor.data
    try:
        return [_read(text) for text in tensor.data]
    except orjson.JSONDecodeError as error:
        raise RequestError(f"inputs.{tensor.name}: each value must be a JSON text ({error})") from None
    except orjson.JSONEncodeError:
        raise RequestError(f"inputs.{tensor.name}: nested too deep") from None


def _read(text: bytes | bytearray | str) -> Any:
    content = orjson.loads(text)
    # Reading takes a nesting that Python cannot show in a message; writing does not, and says so.
    orjson.dumps(content)
    return content


def load_json(raw: bytes | bytearray) -> dict[str, Any]:
    """Parse a body.

    Raises:
        RequestError: It is no JSON object, or nested more than 254 deep.
    """
    try:
        content = _read(raw)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"body: not JSON: {error}") from None
    except orjson.JSONEncodeError:
        raise RequestError("body: nested too deep") from None
    if not isinstance(content, dict):
        raise RequestError(f"body: must be a JSON object, not {type(content).__name__}")
    return content


def refuse(error: ValidationError, above: Sequence[str | int] = ()) -> RequestError:
    """The first few problems that pydantic found: where, what was expected, what was given."""
    problems = error.errors(include_url=False, include_context=False)
    lines = [_line(problem, above) for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        lines.append(f"and {len(problems) - _SHOWN_PROBLEMS} more")
    return RequestError("; ".join(lines))


def _line(problem: Mapping[str, Any], above: Sequence[str | int]) -> str:
    place = ".".join(str(part) for part in (*above, *problem["loc"])) or "body"
    if problem["type"] == "missing":
        return f"{place}: is required"
    if problem["type"] == "extra_forbidden":
        return f"{place}: unknown field"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message[:1].lower()}{message[1:]} (got {shown(problem['input'])})"


def shown(value: Any) -> str:
    """`value` for a message, cut where it gets long."""
    return cut(repr(value), _SHOWN_CHARACTERS)


def cut(text: str, characters: int = 1000) -> str:
    """`text`, cut where it gets long: a message must not send a whole body back."""
    return text if len(text) <= characters else text[:characters] + "…"
