"""From a request's filter as JSON to a `Filter`: checked against the feature declaration."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pagoda.data.checks.limits import MAX_TEXT_BYTES
from pagoda.data.spec import FeatureSpec
from pagoda.errors import RequestError
from pagoda.item_vectors.fields import MISSING_NUMBER, FilterField, filter_fields
from pagoda.item_vectors.filter import EVERYTHING, Condition, Filter, Operator

MAX_FILTER_VALUES = 1000
"""Most values in one list of a filter: a guard against requests that would occupy the server."""
_OF_TEXT: tuple[Operator, ...] = ("any", "none")
_OF_TEXTS: tuple[Operator, ...] = ("any", "all", "none")
_OF_NUMBERS: tuple[Operator, ...] = ("gte", "gt", "lte", "lt")
_SHOWN_CHARACTERS = 80
Value = TypeVar("Value", str, float)


class FilterParser:
    """The filters that requests to one generation may use."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._fields = {field.name: field for field in filter_fields(spec)}

    def parse(self, wanted: Mapping[str, Any] | None = None) -> Filter:
        """The filter of a request; empty when it wants all items.

        Args:
            wanted: By feature. Categorical and multi-valued: a value, a list (one of them), or a mapping with `any`,
                `none` and, multi-valued only, `all`. Numeric: a number, a list, or a mapping with `gte`, `gt`, `lte`
                and `lt`; items without a number match none of them.

        Raises:
            RequestError: Unknown feature or operator, wrong type or size of a value; names it and what is allowed.
        """
        if not wanted and (wanted is None or isinstance(wanted, Mapping)):
            return EVERYTHING
        if not isinstance(wanted, Mapping):
            raise RequestError(f"filter: expected a mapping of features, got {_shown(wanted)}")
        return Filter(part for name, condition in wanted.items() for part in self._field(name, condition))

    def _field(self, name: str, condition: object) -> list[Condition]:
        field = self._fields.get(name)
        if field is None:
            allowed = ", ".join(self._fields) or "none; no feature is declared filterable"
            raise RequestError(f"filter.{name}: cannot be filtered by; allowed: {allowed}")
        place = f"filter.{name}"
        return _numbers(field, place, condition) if field.kind == "number" else _texts(field, place, condition)


def _texts(field: FilterField, place: str, condition: object) -> list[Condition]:
    if not isinstance(condition, Mapping):
        return [Condition(field.name, field.kind, "any", _values(place, condition, _text))]
    return [
        Condition(field.name, field.kind, operator, _values(f"{place}.{operator}", value, _text))
        for operator, value in _operators(place, condition, _OF_TEXTS if field.kind == "texts" else _OF_TEXT).items()
    ]


def _numbers(field: FilterField, place: str, condition: object) -> list[Condition]:
    if not isinstance(condition, Mapping):
        return [Condition(field.name, field.kind, "any", _values(place, condition, _number))]
    parts = [
        Condition(field.name, field.kind, operator, (_number(f"{place}.{operator}", value),))
        for operator, value in _operators(place, condition, _OF_NUMBERS).items()
    ]
    # The lowest double stands for "no number" and would match every upper bound.
    return [*parts, Condition(field.name, field.kind, "gt", (MISSING_NUMBER,))]


def _operators(place: str, condition: Mapping[Any, Any], allowed: tuple[Operator, ...]) -> Mapping[Operator, Any]:
    if not condition:
        raise RequestError(f"{place}: the mapping is empty; allowed: {', '.join(allowed)}")
    for operator in condition:
        if operator not in allowed:
            raise RequestError(f"{place}: unknown operator {_shown(operator)}; allowed: {', '.join(allowed)}")
    return condition


def _values(place: str, value: object, read: Callable[[str, object], Value]) -> tuple[Value, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    if not 1 <= len(values) <= MAX_FILTER_VALUES:
        raise RequestError(f"{place}: {len(values)} values given; 1 to {MAX_FILTER_VALUES} are allowed")
    return tuple(read(place, entry) for entry in values)


def _text(place: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RequestError(f"{place}: expected a string, got {_shown(value)}")
    text = str(value)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise RequestError(f"{place}: {_shown(value)} is not valid Unicode") from None
    if size > MAX_TEXT_BYTES:
        raise RequestError(f"{place}: a string of {size} bytes was given; {MAX_TEXT_BYTES} at most are allowed")
    return text


def _number(place: str, value: object) -> float:
    number = _finite(value)
    if number is None:
        raise RequestError(f"{place}: expected a finite number, got {_shown(value)}")
    return number


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number > MISSING_NUMBER else None


def _shown(value: object) -> str:
    """`value` for a message, short whatever a client sent."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
