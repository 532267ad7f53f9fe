"""A request's filter as the OpenAPI page describes it. `FilterParser` checks it, by what the generation declares."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from pagoda.item_vectors.filter_parser import MAX_FILTER_VALUES
from serving.http.fields import DescribedAs

_CONDITION = ConfigDict(extra="forbid", use_attribute_docstrings=True, json_schema_extra={"minProperties": 1})
_One = TypeVar("_One")
_List = Annotated[list[_One], Field(min_length=1, max_length=MAX_FILTER_VALUES)]
_Texts = str | int | _List[str | int]


@with_config(_CONDITION)
class TextCondition(TypedDict, total=False):
    """Operators of categorical and multi-valued features; those given must all hold."""

    any: _Texts
    """The item's value is one of these; of a multi-valued feature, the item has one of them."""
    all: _Texts
    """The item has every one of these. Of multi-valued features alone."""
    none: _Texts
    """The item's value is none of these; of a multi-valued feature, the item has none of them."""


@with_config(_CONDITION)
class NumberCondition(TypedDict, total=False):
    """Operators of numeric features; those given must all hold. An item without a number satisfies none."""

    gte: float
    """At least."""
    gt: float
    """Above."""
    lte: float
    """At most."""
    lt: float
    """Below."""


_Condition = str | float | _List[str | float] | TextCondition | NumberCondition
_EXAMPLE = {"genres": ["Comedy", "Drama"], "tags": {"all": ["classic"], "none": ["silent"]}, "year": {"gte": 1990}}
RequestFilter = Annotated[dict[str, Any], DescribedAs(dict[str, _Condition]), Field(examples=[_EXAMPLE])]
"""By filterable item feature what an item must satisfy, all at once. A value: the item has it. A list: one of these."""
