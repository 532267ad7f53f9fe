"""From a request's filter to a Milvus expression: checked against the feature declaration, safe against injection."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pagoda.data.spec import FeatureSpec
from pagoda.errors import RequestError
from pagoda.item_vectors.fields import ITEM_ID, MAX_TEXT_BYTES, MISSING_NUMBER, FilterField, filter_fields

MAX_FILTER_VALUES = 1000
"""Most values in one list of a filter: a guard against requests that would occupy the server."""
_COMPARISONS = {"gte": ">=", "gt": ">", "lte": "<=", "lt": "<"}
_TEXT = ("any", "none")
_TEXTS = ("any", "all", "none")
_INT64_MIN = -(2**63)
_SHOWN_CHARACTERS = 80


class Filters:
    """The filters that requests to one generation may use."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._fields = {field.name: field for field in filter_fields(spec)}

    def expression(self, wanted: Mapping[str, Any] | None = None, excluded: np.ndarray | None = None) -> str:
        """Milvus expression of the items a request wants; empty when it wants all. All conditions must hold.

        Args:
            wanted: By feature. Categorical and multi-valued: a value, a list (one of them), or a mapping with `any`,
                `none` and, multi-valued only, `all`. Numeric: a number, a list, or a mapping with `gte`, `gt`, `lte`
                and `lt`; items without a number match none of them.
            excluded: int64 [n]: item IDs that must not come back.

        Raises:
            RequestError: Unknown feature or operator, wrong type or size of a value; names it and what is allowed.
        """
        if wanted is not None and not isinstance(wanted, Mapping):
            raise RequestError(f"filter: expected a mapping of features, got {_shown(wanted)}")
        parts = [part for name, condition in (wanted or {}).items() for part in self._field(name, condition)]
        if excluded is not None and len(excluded):
            parts.append(_not_in(excluded))
        return " and ".join(parts)

    def _field(self, name: str, condition: object) -> list[str]:
        field = self._fields.get(name)
        if field is None:
            allowed = ", ".join(self._fields) or "none; no feature is declared filterable"
            raise RequestError(f"filter.{name}: cannot be filtered by; allowed: {allowed}")
        place = f"filter.{name}"
        return _number(field, place, condition) if field.kind == "number" else _text(field, place, condition)


def _text(field: FilterField, place: str, condition: object) -> list[str]:
    allowed = _TEXTS if field.kind == "texts" else _TEXT
    operators = _operators(place, condition, allowed) if isinstance(condition, Mapping) else {"any": condition}
    parts = []
    for operator, value in operators.items():
        listed = _values(f"{place}.{operator}" if isinstance(condition, Mapping) else place, value, _quoted)
        if field.kind == "text":
            parts.append(f"{field.name} {'in' if operator == 'any' else 'not in'} {listed}")
        elif operator == "all":
            parts.append(f"ARRAY_CONTAINS_ALL({field.name}, {listed})")
        else:
            parts.append(f"{'not ' if operator == 'none' else ''}ARRAY_CONTAINS_ANY({field.name}, {listed})")
    return parts


def _number(field: FilterField, place: str, condition: object) -> list[str]:
    if not isinstance(condition, Mapping):
        return [f"{field.name} in {_values(place, condition, _literal)}"]
    parts = [
        f"{field.name} {_COMPARISONS[operator]} {_literal(f'{place}.{operator}', value)}"
        for operator, value in _operators(place, condition, tuple(_COMPARISONS)).items()
    ]
    # The lowest double stands for "no number" and would match every upper bound.
    return [*parts, f"{field.name} > {MISSING_NUMBER!r}"]


def _operators(place: str, condition: Mapping[Any, Any], allowed: tuple[str, ...]) -> Mapping[str, Any]:
    if not condition:
        raise RequestError(f"{place}: the mapping is empty; allowed: {', '.join(allowed)}")
    for operator in condition:
        if operator not in allowed:
            raise RequestError(f"{place}: unknown operator {_shown(operator)}; allowed: {', '.join(allowed)}")
    return condition


def _values(place: str, value: object, render: Callable[[str, object], str]) -> str:
    values = value if isinstance(value, list | tuple) else [value]
    if not 1 <= len(values) <= MAX_FILTER_VALUES:
        raise RequestError(f"{place}: {len(values)} values given; 1 to {MAX_FILTER_VALUES} are allowed")
    return f"[{', '.join(render(place, entry) for entry in values)}]"


def _quoted(place: str, value: object) -> str:
    """A string literal: JSON's escapes are a subset of those that Milvus' parser (Go's) takes."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RequestError(f"{place}: expected a string, got {_shown(value)}")
    text = str(value)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise RequestError(f"{place}: {_shown(value)} is not valid Unicode") from None
    if size > MAX_TEXT_BYTES:
        raise RequestError(f"{place}: a string of {size} bytes was given; {MAX_TEXT_BYTES} at most are allowed")
    return json.dumps(text, ensure_ascii=False)


def _literal(place: str, value: object) -> str:
    number = _finite(value)
    if number is None:
        raise RequestError(f"{place}: expected a finite number, got {_shown(value)}")
    return repr(number)


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number > MISSING_NUMBER else None


def _not_in(excluded: np.ndarray) -> str:
    ids = excluded.astype(np.int64, copy=False).tolist()
    listed = ", ".join(str(item) for item in ids if item != _INT64_MIN)
    parts = [f"{ITEM_ID} not in [{listed}]"] if listed else []
    if _INT64_MIN in ids:
        # Milvus reads the sign apart from the digits, so this one number cannot be written.
        parts.append(f"{ITEM_ID} >= {_INT64_MIN + 1}")
    return " and ".join(parts)


def _shown(value: object) -> str:
    """`value` for a message, short whatever a client sent."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
