"""A filter as the text that Milvus takes."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pagoda.item_vectors.fields import ITEM_ID
from pagoda.item_vectors.filter import Condition, Filter

_COMPARISONS = {"gte": ">=", "gt": ">", "lte": "<=", "lt": "<"}
_INT64_MIN = -(2**63)
_list = json.JSONEncoder(ensure_ascii=False).encode
"""JSON's escapes are a subset of those that Milvus' parser (Go's) takes, so no text ends its literal."""
_UNREADABLE = ("cannot parse expression", "predicate is not a boolean expression")
"""What Milvus says of a text that is none of its expressions: ParseExpr in internal/parser/planparserv2/
plan_parser_v2.go, the same from 2.3 on. Its code is that of any failure in some versions."""


def expression(wanted: Filter, excluded: Sequence[int] = ()) -> str:
    """Milvus expression of the items that satisfy a filter, without some; empty when all will do.

    Args:
        wanted: Its fields' names are safe to write: `filter_fields` takes no others.
        excluded: Item IDs (int64) that must not come back.
    """
    parts = [_condition(condition) for condition in wanted]
    return " and ".join([*parts, *_without(excluded)] if excluded else parts)


def _condition(condition: Condition) -> str:
    name, operator = condition.field, condition.operator
    if comparison := _COMPARISONS.get(operator):
        return f"{name} {comparison} {condition.values[0]!r}"
    listed = _list(condition.values)
    if condition.kind != "texts":
        return f"{name} {'in' if operator == 'any' else 'not in'} {listed}"
    if operator == "all":
        return f"ARRAY_CONTAINS_ALL({name}, {listed})"
    return f"{'not ' if operator == 'none' else ''}ARRAY_CONTAINS_ANY({name}, {listed})"


def _without(excluded: Sequence[int]) -> list[str]:
    if _INT64_MIN not in excluded:
        return [f"{ITEM_ID} not in {list(excluded)}"]
    # Milvus reads the sign apart from the digits, so this one number cannot be written.
    others = [item for item in excluded if item != _INT64_MIN]
    return [*(_without(others) if others else []), f"{ITEM_ID} >= {_INT64_MIN + 1}"]


def is_unreadable(message: str) -> bool:
    """Whether Milvus' message says that it could not read an expression: then the server is well."""
    return any(words in message for words in _UNREADABLE)
