"""Which columns of an item travel with its vector, so that a request may filter by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from pagoda.data.checks.names import why_not_filterable
from pagoda.data.spec import Categorical, Feature, FeatureSpec, MultiValued, Numeric
from pagoda.errors import ConfigError

ITEM_ID = "item_id"
ITEM_KEY = "item_key"
VECTOR = "vector"
WEIGHT, SHARE = "pagoda_weight", "pagoda_share"
"""What `pagoda.item_vectors.scoring` makes a collection's vectors of, beside the unit vectors; in the files alone."""
MISSING_NUMBER = -1.7976931348623157e308
"""Stored where an item has no number. Milvus 2.3 has no nulls, and newer ones refuse NaN and infinity."""

FieldKind = Literal["text", "texts", "number"]
_ARROW = {"text": pa.string(), "texts": pa.list_(pa.string()), "number": pa.float64()}


@dataclass(frozen=True)
class FilterField:
    """One scalar field of a collection. `text`: VARCHAR, `texts`: ARRAY<VARCHAR>, `number`: DOUBLE."""

    name: str
    kind: FieldKind
    default: str | tuple[str, ...] | float
    """Stored where the item has no value."""

    @property
    def arrow_type(self) -> pa.DataType:
        """Type of the column in `item_vectors.parquet`."""
        return _ARROW[self.kind]


def filter_fields(spec: FeatureSpec) -> tuple[FilterField, ...]:
    """The filterable features of `spec`, in declared order.

    Raises:
        ConfigError: A feature cannot be filtered by: its kind, or a name that Milvus does not take.
    """
    return tuple(_field(feature) for feature in spec.of("item") if feature.filterable)


def _field(feature: Feature) -> FilterField:
    if why := why_not_filterable(feature):
        raise ConfigError(why)
    match feature:
        case Categorical():
            return FilterField(feature.name, "text", feature.default)
        case MultiValued():
            return FilterField(feature.name, "texts", feature.default)
        case Numeric():
            return FilterField(feature.name, "number", MISSING_NUMBER if feature.default is None else feature.default)
    raise AssertionError(feature.kind)


def vectors_schema(spec: FeatureSpec, dim: int) -> pa.Schema:
    """Schema of `item_vectors.parquet`: item_id, [item_key], vector, filter columns, [rules' columns]; none is null."""
    columns = [pa.field(ITEM_ID, pa.int64(), nullable=False)]
    if spec.id_type == "string":
        columns.append(pa.field(ITEM_KEY, pa.string(), nullable=False))
    columns.append(pa.field(VECTOR, pa.list_(pa.field("element", pa.float32(), nullable=False), dim), nullable=False))
    columns.extend(pa.field(field.name, field.arrow_type, nullable=False) for field in filter_fields(spec))
    if spec.rules is not None:
        columns.extend(pa.field(name, pa.float64(), nullable=False) for name in (WEIGHT, SHARE))
    return pa.schema(columns)
