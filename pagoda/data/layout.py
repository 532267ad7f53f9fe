"""The dataset folder: names of its parts, and the Arrow schema that a `FeatureSpec` gives each table."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Literal

import pyarrow as pa

from pagoda.data.spec import COMPUTED, SHOWN, Feature, FeatureSpec, MultiValued
from pagoda.data.window import to_us

Table = Literal["interactions", "users", "items"]
FEATURES_FILE = "features.yaml"
TIMESTAMP = pa.timestamp("us", tz="UTC")
INTERACTION_COLUMNS = ("user_id", "item_id", "event", "timestamp")
DAY_US = 86_400_000_000
_SHOWN_TYPES = {
    "arm": pa.string(),
    "generation": pa.string(),
    "channels": pa.list_(pa.string()),
    "position": pa.int64(),
    "propensity": pa.float64(),
}
INTERESTS = "interests"
"""The feature of users, where it is declared as `multi`, that holds the categories they say they like."""
_PREFIX = "date="


def partition_name(day: date) -> str:
    """The folder of one date's interactions: `date=1997-09-20`."""
    return f"{_PREFIX}{day.isoformat()}"


def partition_date(name: str) -> date | None:
    """The date of a partition folder, or None when `name` is not the name of one."""
    if not name.startswith(_PREFIX):
        return None
    try:
        day = date.fromisoformat(name.removeprefix(_PREFIX))
    except ValueError:
        return None
    return day if partition_name(day) == name else None


def day_start_us(day: date) -> int:
    """Midnight UTC at the start of `day`, in microseconds since the epoch."""
    return to_us(datetime(day.year, day.month, day.day, tzinfo=UTC))


def day_of(microseconds: int) -> date:
    """The UTC date that holds the moment `microseconds` after the epoch."""
    return date(1970, 1, 1) + timedelta(days=microseconds // DAY_US)


def key_column(table: Table) -> str:
    """The column that identifies a row of `users` or `items`."""
    return {"users": "user_id", "items": "item_id", "interactions": "timestamp"}[table]


def features_of(spec: FeatureSpec, table: Table) -> list[Feature]:
    """The features whose raw values are columns of `table`, in declared order."""
    if table == "interactions":
        return [feature for feature in spec.features if feature.source == "context" and feature.kind not in COMPUTED]
    tower = table.removesuffix("s")
    return [f for f in spec.features if f.tower == tower and f.source == "table" and f.kind not in COMPUTED]


def says_interests(spec: FeatureSpec) -> bool:
    """Whether users can say what they like."""
    return any(isinstance(one, MultiValued) and one.name == INTERESTS for one in features_of(spec, "users"))


def schema_of(spec: FeatureSpec, table: Table) -> pa.Schema:
    """The columns of `table` with the types that `Dataset` gives them, for IDs as they are in the files."""
    id_type = pa.int64() if spec.id_type == "int64" else pa.string()
    if table == "interactions":
        fields = [("user_id", id_type), ("item_id", id_type), ("event", pa.string()), ("timestamp", TIMESTAMP)]
    else:
        fields = [(key_column(table), id_type)]
    fields += [(feature.column, column_type(feature)) for feature in features_of(spec, table)]
    if table == "interactions" and spec.positive_weight:
        fields.append((spec.positive_weight, pa.float64()))
    if table == "interactions" and spec.receipts:
        fields += [(name, _SHOWN_TYPES[name]) for name in SHOWN]
    if table == "items" and spec.title and spec.title not in dict(fields):
        fields.append((spec.title, pa.string()))
    if table == "items" and spec.rules and spec.rules.weight and spec.rules.weight not in dict(fields):
        fields.append((spec.rules.weight, pa.float64()))
    return pa.schema(fields)


def optional_columns(spec: FeatureSpec, table: Table) -> tuple[str, ...]:
    """Columns of `schema_of` that a file may lack; its rows then have no values there."""
    return SHOWN if table == "interactions" and spec.receipts else ()


def column_type(feature: Feature) -> pa.DataType:
    """The type of a feature's raw values. A dense vector is a list here: its length is checked as a value."""
    match feature.kind:
        case "multi":
            return pa.list_(pa.string())
        case "numeric":
            return pa.float64()
        case "dense":
            return pa.list_(pa.float32())
        case _:
            return pa.string()


def accepts(wanted: pa.DataType, given: pa.DataType) -> bool:
    """Whether a column of a dataset may hold `given` where `wanted` is declared: the same kind of value.

    Strings may be large or dictionary-encoded; a categorical value may be an integer; a number any int or float.
    """
    if pa.types.is_dictionary(given):
        return accepts(wanted, given.value_type)
    if pa.types.is_list(wanted):
        return _is_any_list(given) and accepts(wanted.value_type, given.value_type)
    if pa.types.is_string(wanted):
        return bool(pa.types.is_string(given) or pa.types.is_large_string(given) or pa.types.is_integer(given))
    if pa.types.is_floating(wanted):
        return bool(pa.types.is_floating(given) or pa.types.is_integer(given))
    return bool(wanted == given)


def _is_any_list(given: pa.DataType) -> bool:
    return bool(pa.types.is_list(given) or pa.types.is_large_list(given) or pa.types.is_fixed_size_list(given))
