"""A small dataset folder, written by hand so that anything about it can be made wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.data.layout import schema_of
from pagoda.data.spec import Categorical, Dense, FeatureSpec, MultiValued, Numeric, write_spec

SPEC = FeatureSpec(
    title="title",
    features=(
        Categorical(name="device", tower="user", source="context"),
        Numeric(name="age", tower="user", edges=(30,)),
        MultiValued(name="genres", tower="item", filterable=True),
        Dense(name="picture", tower="item", length=2),
    ),
)
USERS = [{"user_id": 1, "age": 20.0}, {"user_id": 2, "age": None}]
ITEMS = [
    {"item_id": 10, "genres": ["a", "b"], "picture": [0.5, 1.0], "title": "Ten"},
    {"item_id": 11, "genres": None, "picture": None, "title": None},
]

Row = dict[str, Any]


def moment(text: str) -> datetime:
    """2024-05-01 at a time of the day."""
    return datetime.fromisoformat(f"2024-05-01T{text}").replace(tzinfo=UTC)


def interaction(at: datetime, user: Any = 1, item: Any = 10, event: str | None = "click") -> Row:
    return {"user_id": user, "item_id": item, "event": event, "timestamp": at, "device": "phone"}


def write_dataset(
    path: Path,
    *,
    parts: Sequence[tuple[str, list[Row]]] | None = None,
    users: list[Row] | None = None,
    items: list[Row] | None = None,
    spec: FeatureSpec = SPEC,
) -> Path:
    """Write a dataset folder without any check; `parts` are (partition name, rows)."""
    path.mkdir()
    write_spec(spec, path / "features.yaml")
    if parts is None:
        parts = [("date=2024-05-01", [interaction(moment("10:00")), interaction(moment("11:00"), 2, 11, "like")])]
    for name, rows in parts:
        put(path / "interactions" / name / "part-0.parquet", rows, schema_of(spec, "interactions"))
    put(path / "users" / "part-0.parquet", USERS if users is None else users, schema_of(spec, "users"))
    put(path / "items" / "part-0.parquet", ITEMS if items is None else items, schema_of(spec, "items"))
    return path


def put(path: Path, rows: list[Row], schema: pa.Schema) -> None:
    """Write one Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
