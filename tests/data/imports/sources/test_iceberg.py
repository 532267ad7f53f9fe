"""Iceberg tables are imported as of a snapshot, without the rows that were deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.data.dataset import Dataset
from pagoda.data.imports.importer import Import, import_files
from pagoda.errors import DataError

pytest.importorskip("pyiceberg", reason="pyiceberg is not installed")
AT = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture
def table(tmp_path: Path) -> Any:
    """Snapshots with user 1, with users 1 and 2, and with user 2 alone."""
    from pyiceberg.catalog.memory import InMemoryCatalog

    catalog = InMemoryCatalog("shop", warehouse=f"file://{tmp_path}/lake")
    catalog.create_namespace("web")
    rows = [
        pa.table({"user_id": [user], "item_id": ["x"], "timestamp": pa.array([AT], pa.timestamp("us", "UTC"))})
        for user in (1, 2)
    ]
    made = catalog.create_table("web.log", rows[0].schema)
    for some in rows:
        made.append(some)
    made.delete("user_id = 1")
    return made


@pytest.mark.parametrize(("number", "users"), [(None, ["2"]), (1, ["1", "2"]), (0, ["1"])])
def test_a_snapshot_is_imported(number: int | None, users: list[str], table: Any, tmp_path: Path) -> None:
    words = ["data", "import", "iceberg", str(tmp_path / "out"), "--interactions", table.metadata_location]
    words += [] if number is None else ["--snapshot", str(table.history()[number].snapshot_id)]
    words += ["--id-type", "string"]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    assert sorted(Dataset.open(tmp_path / "out").users()["user_key"].to_pylist()) == users


def test_an_absent_table_or_snapshot_is_one_line(table: Any, tmp_path: Path) -> None:
    from pagoda.data.imports.sources.iceberg import IcebergReader

    for source, snapshot in (
        (table.metadata_location, 7),
        (f"{tmp_path}/none.metadata.json", None),
        ("no.web.log", None),
    ):
        with pytest.raises(DataError, match="cannot be read as an Iceberg table") as caught:
            import_files(tmp_path / "out", Import(IcebergReader(snapshot), source))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
