"""Delta Lake tables are imported as of a version, without the rows that were deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.data.dataset import Dataset
from pagoda.data.imports.importer import Import, import_files
from pagoda.data.imports.sources.delta import DeltaReader
from pagoda.errors import DataError

AT = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Version 0 has user 1, version 1 also user 2, version 2 has user 2 alone."""
    path = str(tmp_path / "log")
    for user in (1, 2):
        rows = pa.table({"user_id": [user], "item_id": [10], "timestamp": pa.array([AT], pa.timestamp("us", "UTC"))})
        write_deltalake(path, rows, mode="append")
    DeltaTable(path).delete("user_id = 1")
    return path


@pytest.mark.parametrize(("version", "users"), [(None, [2]), (1, [1, 2]), (0, [1])])
def test_a_version_is_imported(version: int | None, users: list[int], table: str, tmp_path: Path) -> None:
    words = ["data", "import", "delta", str(tmp_path / "out"), "--interactions", table]
    words += [] if version is None else ["--version", str(version)]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    assert Dataset.open(tmp_path / "out").users()["user_id"].to_pylist() == users


def test_an_absent_table_or_version_is_one_line_and_nothing_is_made(table: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, version in ((table, 7), (str(tmp_path / "none"), None), (str(tmp_path / "empty"), None)):
        with pytest.raises(DataError) as caught:
            import_files(tmp_path / "out", Import(DeltaReader(version), source))
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "log"]
