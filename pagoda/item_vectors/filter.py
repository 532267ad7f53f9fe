"""What the items of an answer must satisfy, in no backend's language."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pagoda.item_vectors.fields import FieldKind

Operator = Literal["any", "all", "none", "gte", "gt", "lte", "lt"]


class Condition(NamedTuple):
    """What the value of one filter column must satisfy."""

    field: str
    kind: FieldKind
    operator: Operator
    """`any`: the value is one of `values`, or the list has one of them; `none`: not so. `all`, of lists alone: the list
    has every one. The comparisons, of numbers alone: with the one number in `values`."""
    values: tuple[str, ...] | tuple[float, ...]


class Filter(tuple[Condition, ...]):
    """Conditions that must all hold, in the order in which they were given; empty: every item will do.

    A tuple, not a class that has one: searches are joined by it, and so it is hashed and compared with each request.
    """

    __slots__ = ()


EVERYTHING = Filter()
