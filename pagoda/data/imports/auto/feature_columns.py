"""Which columns say something of items or users, and which features they would be. Types are proposed, never taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.imports.auto.roles import numbers
from pagoda.data.imports.auto.samples import Sample
from pagoda.data.imports.auto.words import COLUMNS, NUMBERS, feature_name, plain
from pagoda.data.spec import RESERVED, Tower

SEPARATOR = "|"
_SURE = 0.9
"""Share of the items that came twice or more which must have one value throughout."""
_SOME = 0.1
"""Share of the texts with a separator in them from which on they are lists."""
_MOST_CATEGORIES = 1_000
_TITLE_LETTERS = 6
_BUCKETS = 5


@dataclass(frozen=True)
class FeatureColumn:
    """A column of items or users, and what it would be."""

    column: str
    name: str
    kind: Literal["title", "numeric", "categorical", "multi"]
    tower: Tower
    why: str
    edges: tuple[float, ...] = ()

    def declared(self) -> dict[str, Any]:
        """Its entry among the features."""
        more: dict[str, Any] = {"edges": list(self.edges)} if self.kind == "numeric" else {}
        filterable = {"filterable": True} if self.tower == "item" else {}
        return {"kind": self.kind, "name": self.name, "tower": self.tower, **more, **filterable}


@dataclass(frozen=True)
class Columns:
    """The columns of a table that become features or a title, and the others with the reason."""

    found: tuple[FeatureColumn, ...] = ()
    others: tuple[str, ...] = ()


def columns_in_log(sample: Sample, item: str, candidates: list[str]) -> Columns:
    """Columns of an interaction log that are its items': those with one value an item."""
    of_items = [column for column in candidates if _of_items(sample.table, item, column)]
    columns = columns_of(sample, "item", of_items)
    rest = [
        f"{column}: not known to be the same for an item in all rows" for column in candidates if column not in of_items
    ]
    return Columns(columns.found, (*columns.others, *rest))


def columns_of(sample: Sample, tower: Tower, candidates: list[str]) -> Columns:
    """The columns of a table of items or users."""
    found: list[FeatureColumn] = []
    others = []
    for column in candidates:
        values = sample.table[column].combine_chunks().drop_null()
        titled = tower == "user" or any(one.kind == "title" for one in found)
        made = (
            _listed(column, values, tower) if pa.types.is_nested(values.type) else _made(column, values, tower, titled)
        )
        if isinstance(made, str):
            others.append(f"{column}: {made}")
        else:
            found.append(made)
    return Columns(tuple(found), tuple(others))


def _of_items(table: pa.Table, item: str, column: str) -> bool:
    """Whether hardly an item has two values. Items that came once say nothing."""
    if pa.types.is_nested(table.schema.field(column).type):
        return False
    known = table.select([item, column]).drop_null()
    groups = known.group_by(item).aggregate([(column, "count_distinct"), (column, "count")])
    again = groups.filter(pc.greater(groups[f"{column}_count"], 1))
    if not again.num_rows:
        return False
    return bool(pc.mean(pc.equal(again[f"{column}_count_distinct"], 1).cast(pa.float64())).as_py() >= _SURE)


def _listed(column: str, values: pa.Array, tower: Tower) -> FeatureColumn | str:
    if not pa.types.is_list(values.type) or not pa.types.is_string(values.type.value_type):
        return "neither text nor a number nor a list of texts"
    return FeatureColumn(column, _name(column), "multi", tower, "lists of texts")


def _made(column: str, values: pa.Array, tower: Tower, titled: bool) -> FeatureColumn | str:
    """What a column would be, or why it would be nothing."""
    different = len(pc.unique(values))
    if different < 2:  # noqa: PLR2004
        return "the same in every row"
    found = numbers(values)
    if found is not None and (any(word in plain(column) for word in NUMBERS) or _has_fractions(found)):
        edges = {float(f"{edge:.6g}") for edge in np.quantile(found.to_numpy(), np.arange(1, _BUCKETS) / _BUCKETS)}
        why = f"{different:,} different numbers; the edges are quantiles"
        return FeatureColumn(column, _name(column), "numeric", tower, why, tuple(sorted(edges)))
    text = values.cast(pa.string())
    if found is None and not titled and _is_title(column, text, different):
        return FeatureColumn(column, "title", "title", tower, f"{different:,} different texts")
    if found is None and _share(pc.match_substring(text, SEPARATOR)) > _SOME:
        return FeatureColumn(column, _name(column), "multi", tower, f"texts with {SEPARATOR} between values")
    if different > _MOST_CATEGORIES:
        return f"{different:,} different values are too many for a category"
    return FeatureColumn(column, _name(column), "categorical", tower, f"{different:,} different values")


def _name(column: str) -> str:
    name = feature_name(column)
    return f"{name}_" if name in (*RESERVED, "title") else name


def _share(found: pa.Array) -> float:
    return float(pc.mean(found.cast(pa.float64())).as_py())


def _has_fractions(found: pa.Array) -> bool:
    return not pc.all(pc.equal(pc.floor(found), found)).as_py()


def _is_title(column: str, text: pa.Array, different: int) -> bool:
    if plain(column) in COLUMNS["title"]:
        return True
    # Of a file of items, hardly a title comes twice.
    many = different > _MOST_CATEGORIES or different >= _SURE * len(text)
    return bool(many and pc.mean(pc.utf8_length(text)).as_py() >= _TITLE_LETTERS)
