"""Files by URI are imported as files of this machine are, or nothing is written and one line says why."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.data.dataset import Dataset
from pagoda.data.imports.importer import Import, import_files
from pagoda.data.imports.readers import CsvReader, ParquetReader
from pagoda.errors import ConfigError, DataError, PagodaError, UnavailableError

LOG = "user_id,item_id,timestamp\n1,10,2024-05-01T09:00:00Z\n2,11,2024-05-01T08:00:00Z\n"
MORE = "user_id,item_id,timestamp\n3,10,2024-05-02T09:00:00Z\n"


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()


def users(folder: Path) -> list[int]:
    found: list[int] = Dataset.open(folder).users()["user_id"].to_pylist()
    return found


def refused(folder: Path, source: str, **options: Any) -> PagodaError:
    """The error, after which there is nothing."""
    with pytest.raises(PagodaError) as caught:
        import_files(folder / "out", Import(CsvReader(), source, **options))
    assert list(folder.iterdir()) == []
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_files_below_a_prefix_are_imported_by_name_and_hidden_ones_are_not(memory: Any, tmp_path: Path) -> None:
    memory.pipe("/log/b.csv.gz", gzip.compress(MORE.encode()))
    memory.pipe({"/log/day/a.CSV": LOG.encode(), "/log/.a.csv": MORE.encode(), "/log/notes.txt": b"x"})
    import_files(tmp_path / "out", Import(CsvReader(), "memory://log"))
    assert users(tmp_path / "out") == [1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_every_table_may_be_elsewhere_and_copies_take_the_room_of_two(memory: Any, tmp_path: Path) -> None:
    for number in range(5):
        memory.pipe(f"/log/{number}.csv", LOG.encode())
    memory.pipe("/items.csv", b"item_id\n10\n11\n")
    most = 0

    class Watched(CsvReader):
        def batches(self, *given: Any) -> Iterator[pa.RecordBatch]:
            nonlocal most
            most = max(most, len(list(tmp_path.rglob("source-*/*"))))
            return super().batches(*given)

    import_files(tmp_path / "out", Import(Watched(), "memory://log/", items="memory://items.csv"))
    assert most == 2  # The first file of the log waits while the items are read.
    assert Dataset.open(tmp_path / "out").count() == 10


def test_a_bucket_is_read(bucket: str, tmp_path: Path) -> None:
    table = pa.table({"user_id": [1], "item_id": [10], "timestamp": pa.array([1], pa.timestamp("us", "UTC"))})
    with fsspec.open(f"{bucket}/log/part-0.parquet", "wb") as file:
        pq.write_table(table, file)
    words = ["data", "import", "parquet", str(tmp_path / "out"), "--interactions", f"{bucket}/log"]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    assert users(tmp_path / "out") == [1]
    with pytest.raises(DataError, match="no such file or folder"):
        import_files(tmp_path / "other", Import(ParquetReader(), f"{bucket}/nothing"))


def test_a_file_of_the_web_is_read_and_its_signature_is_not_printed(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        import_files(tmp_path / "out", Import(CsvReader(), f"{url}/log.csv?X-Amz-Signature=s3cret"))
        assert users(tmp_path / "out") == [1, 2]
        with pytest.raises(DataError, match="no such file") as caught:
            import_files(tmp_path / "other", Import(CsvReader(), f"{url}/none.csv?sig=s3cret&se=1"))
        assert "s3cret" not in str(caught.value)
    finally:
        server.shutdown()


def test_what_is_wrong_is_told_of_the_original(memory: Any, tmp_path: Path) -> None:
    memory.pipe("/log.csv", LOG.replace("2024-05-01T09:00:00Z", "noon").encode())
    assert "memory://log.csv, column 'timestamp', row 1" in str(refused(tmp_path, "memory://log.csv"))
    memory.pipe("/log.csv", b"\xff\xfe\x00")
    assert str(refused(tmp_path, "memory://log.csv")).startswith("memory://log.csv")
    memory.pipe("/empty/notes.txt", b"")
    assert "no file that ends in .csv" in str(refused(tmp_path, "memory://empty"))


def test_an_unknown_scheme_an_absent_file_and_a_silent_store_end_in_one_line(memory: Any, tmp_path: Path) -> None:
    assert isinstance(refused(tmp_path, "s4://bucket/log.csv"), ConfigError)
    assert isinstance(refused(tmp_path, "memory://none.csv"), DataError)
    assert isinstance(refused(tmp_path, "http://ann:pa55@127.0.0.1:9/log.csv"), UnavailableError)
    assert "pa55" not in str(refused(tmp_path, "http://ann:pa55@127.0.0.1:9/log.csv"))
    words = ["data", "import", "csv", str(tmp_path / "out"), "--interactions", "s4://bucket/log.csv"]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, ConfigError)
    assert "s3://" in str(result.exception)


def test_a_file_uri_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    import_files(tmp_path / "out", Import(CsvReader(), f"file://{tmp_path}/log.csv"))
    assert users(tmp_path / "out") == [1, 2]
