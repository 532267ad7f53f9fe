"""Objects of other libraries are imported as they are, their streams once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from pagoda.data.dataset import Dataset
from pagoda.data.imports.importer import Import, import_files
from pagoda.data.imports.sources.arrow import ArrowReader
from pagoda.data.spec import write_spec
from pagoda.errors import ConfigError, DataError
from tests.data.folders import SPEC

AT = datetime(2024, 5, 1, 9, tzinfo=UTC)
ROWS = {"user_id": [1, 2, 1], "item_id": [10, 11, 11], "timestamp": [AT, AT, AT]}
TABLE = pa.table(ROWS)


class Views:
    """As Polars gives its columns: views of strings, large lists."""

    def __init__(self, columns: dict[str, pa.Array]) -> None:
        self._table = pa.table(columns)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


SOURCES = {
    "table": lambda: TABLE,
    "stream": lambda: TABLE.to_reader(max_chunksize=1),
    "relation": lambda: duckdb.connect().from_arrow(TABLE).order("user_id"),
    "frame": lambda: pd.DataFrame(ROWS),
    "batch": lambda: TABLE.to_batches()[0],
}


@pytest.mark.parametrize("kind", SOURCES)
def test_any_object_with_a_stream_is_interactions(kind: str, tmp_path: Path) -> None:
    import_files(tmp_path / "out", Import(ArrowReader(), SOURCES[kind]()))
    dataset = Dataset.open(tmp_path / "out")
    rows = [(row["user_id"], row["item_id"], row["timestamp"]) for one in dataset.batches() for row in one.to_pylist()]
    assert sorted(rows) == [(1, 10, AT), (1, 11, AT), (2, 11, AT)]
    assert dataset.spec.id_type == "int64"


def test_users_items_and_features_come_in_the_types_of_any_library(tmp_path: Path) -> None:
    write_spec(SPEC.model_copy(update={"id_type": "string"}), tmp_path / "features.yaml")
    lists: Any = pa.array([["a", "b|c"], None], pa.large_list(pa.string_view()))
    items = {
        "item_id": pa.array(["x", "y"], pa.string_view()),
        "genres": lists,
        "picture": pa.array([[1.0, 2.0], None], pa.list_(pa.float64(), 2)),
        "title": pa.array(["X", None], pa.dictionary(pa.int32(), pa.string())),
    }
    log = {
        "user_id": pa.array(["ann"], pa.large_string()),
        "item_id": pa.array(["x"], pa.string_view()),
        "timestamp": pa.array([AT], pa.timestamp("ns", "Europe/Berlin")),
        "device": pa.array(["tv"]),
    }
    users = {"user_id": ["ann"], "age": pa.array([30], pa.int8())}
    job = Import(ArrowReader(), Views(log), Views(users), Views(items), features=tmp_path / "features.yaml")
    import_files(tmp_path / "out", job)
    found = {row["title"]: row for row in Dataset.open(tmp_path / "out").items().to_pylist()}
    assert found["X"]["genres"] == ["a", "b|c"]
    assert found["X"]["picture"] == [1.0, 2.0]
    assert found[None]["genres"] is None


def test_what_gives_no_arrow_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"list: no Arrow data; .*__arrow_c_stream__"):
        import_files(tmp_path / "out", Import(ArrowReader(), [1, 2]))
    with pytest.raises(DataError, match=r"Arrow data 1, column 'item_id', row 2: value null"):
        import_files(tmp_path / "out", Import(ArrowReader(), pa.table({**ROWS, "item_id": [1, None, 2]})))
    assert list(tmp_path.iterdir()) == []
