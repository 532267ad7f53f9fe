"""Which columns of a log are its items': those that have one value an item. What features they would be is proposed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.imports.auto.roles import numbers
from pagoda.data.imports.auto.words import COLUMNS, NUMBERS, feature_name, plain
from pagoda.data.spec import RESERVED

_SURE = 0.9
"""Share of the items that came twice or more which must have one value throughout."""
_MOST_CATEGORIES = 1_000
_TITLE_LETTERS = 6
_BUCKETS = 5


@dataclass(frozen=True)
class ItemColumn:
    """A column of the items, and what it would be."""

    column: str
    name: str
    kind: Literal["title", "numeric", "categorical", "multi"]
    why: str
    edges: tuple[float, ...] = ()

    def declared(self) -> dict[str, Any] | None:
        """Its entry among the features; a title has none."""
        if self.kind == "title":
            return None
        more = {"edges": list(self.edges)} if self.kind == "numeric" else {}
        return {"kind": self.kind, "name": self.name, "tower": "item", **more, "filterable": True}


def item_columns(
    table: pa.Table, item: str, candidates: list[str], separator: str
) -> tuple[list[ItemColumn], list[str]]:
    """The columns of the items among the candidates, and the others with the reason, as text."""
    found: list[ItemColumn] = []
    others = []
    for column in candidates:
        values = table[column].combine_chunks()
        different = 0 if pa.types.is_nested(values.type) else len(pc.unique(values.drop_null()))
        if different < 2:  # noqa: PLR2004
            others.append(f"{column}: a list, or the same in every row")
        elif not _of_items(table, item, column):
            others.append(f"{column}: not the same for an item in all rows")
        else:
            made = _made(
                column, values.drop_null(), different, separator, titled=any(one.kind == "title" for one in found)
            )
            found += [made] if made is not None else []
            others += [] if made is not None else [f"{column}: too many different values for a category"]
    return found, others


def _of_items(table: pa.Table, item: str, column: str) -> bool:
    """Whether hardly an item has two values. Items that came once say nothing."""
    known = table.select([item, column]).drop_null()
    if item == column or not known.num_rows:
        return False
    groups = known.group_by(item).aggregate([(column, "count_distinct"), (column, "count")])
    again = groups.filter(pc.greater(groups[f"{column}_count"], 1))
    if not again.num_rows:
        return False
    return bool(pc.mean(pc.equal(again[f"{column}_count_distinct"], 1).cast(pa.float64())).as_py() >= _SURE)


def _made(column: str, values: pa.Array, different: int, separator: str, *, titled: bool) -> ItemColumn | None:
    name = feature_name(column)
    name = f"{name}_" if name in RESERVED else name
    found = numbers(values)
    if found is not None and (any(word in plain(column) for word in NUMBERS) or _has_fractions(found)):
        edges = tuple(float(f"{edge:.6g}") for edge in np.quantile(found.to_numpy(), np.arange(1, _BUCKETS) / _BUCKETS))
        return ItemColumn(
            column,
            name,
            "numeric",
            f"{different:,} different numbers; the edges are quantiles",
            tuple(sorted(set(edges))),
        )
    if found is None and not titled and _is_title(column, values, different):
        return ItemColumn(column, "title", "title", f"{different:,} different texts")
    if found is None and pc.mean(pc.match_substring(values, separator).cast(pa.float64())).as_py() > 1 - _SURE:
        return ItemColumn(column, name, "multi", f"texts with {separator} between values")
    if different > _MOST_CATEGORIES:
        return None
    return ItemColumn(column, name, "categorical", f"{different:,} different values")


def _has_fractions(found: pa.Array) -> bool:
    return not pc.all(pc.equal(pc.floor(found), found)).as_py()


def _is_title(column: str, values: pa.Array, different: int) -> bool:
    if plain(column) in COLUMNS["title"]:
        return True
    letters = pc.mean(pc.utf8_length(values).cast(pa.float64())).as_py()
    return bool(letters >= _TITLE_LETTERS and different > _MOST_CATEGORIES)
