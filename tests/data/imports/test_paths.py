"""Which files are read, whatever they are called, and what is left when an import ends badly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pagoda.data.dataset import Dataset
from pagoda.data.imports.casts import Conversion
from pagoda.data.imports.choices import TimeUnit
from pagoda.data.imports.importer import Import, import_files
from pagoda.data.imports.readers import CsvReader, JsonLinesReader, ParquetReader, Refuse, raise_refusal
from pagoda.data.imports.rows.refusals import Skip
from pagoda.data.imports.rows.rules import RowRules
from pagoda.data.spec import Dense, FeatureSpec, write_spec
from pagoda.errors import ConflictError, DataError

LOG = "user_id,item_id,timestamp\n{user},1,2024-05-01T09:00:00Z\n"
SECONDS = Conversion(TimeUnit.SECONDS)


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Relative paths are those that look like URIs."""
    monkeypatch.chdir(tmp_path)
    yield


def parquet(name: str) -> Path:
    columns = {"user_id": [7, 8], "item_id": [1, 1], "timestamp": [1, 2]}
    pq.write_table(pa.table(columns), Path(name).absolute())
    return Path(name)


def test_endings_may_be_in_capitals_and_other_files_are_named() -> None:
    folder = Path("log")
    folder.mkdir()
    for user, name in enumerate(("a.csv", "B.CSV", "notes.txt", "_SUCCESS", ".hidden.txt")):
        (folder / name).write_text(LOG.format(user=user))
    imported = import_files(Path("out"), Import(CsvReader(), folder))
    assert Dataset.open(Path("out")).users()["user_id"].to_pylist() == [0, 1]
    assert imported.passed_over == ["log/notes.txt"]


@pytest.mark.parametrize("name", ["day:1", "a[b]", "x?*", "s3:day"])
def test_a_path_may_look_like_something_else(name: str) -> None:
    import_files(Path(name), Import(ParquetReader(), parquet(f"{name}.parquet"), conversion=SECONDS))
    assert Dataset.open(Path(name)).users()["user_id"].to_pylist() == [7, 8]


def test_a_dataset_is_not_built_at_a_uri() -> None:
    with pytest.raises(DataError, match=r"^s3://\*\*\*@bucket/shop: a dataset is built in a folder of this machine"):
        import_files(Path("s3://ann:secret@bucket/shop"), Import(ParquetReader(), parquet("log.parquet")))
    assert [path.name for path in Path().iterdir()] == ["log.parquet"]


def test_a_failed_import_leaves_no_folder_that_it_made() -> None:
    Path("log.csv").write_text("user_id,item_id,timestamp\n,1,2024-05-01T09:00:00Z\n")
    with pytest.raises(DataError, match="'user_id', row 1"):
        import_files(Path("new") / "deep" / "out", Import(CsvReader(), Path("log.csv")))
    assert [path.name for path in Path().iterdir()] == ["log.csv"]


@dataclass(frozen=True)
class Interrupted(CsvReader):
    """Something happens while a log is read."""

    meanwhile: Callable[[], object] = lambda: None

    def batches(self, path: Path, columns: list[str], refuse: Refuse = raise_refusal) -> Iterator[pa.RecordBatch]:
        for batch in super().batches(path, columns, refuse):
            yield batch
            self.meanwhile()


def test_a_second_import_into_one_folder_is_refused_and_does_not_disturb_the_first() -> None:
    Path("log.csv").write_text(LOG.format(user=1) + ",1,2024-05-01T09:00:00Z\n")
    rules = RowRules(skip=Skip.parse("null-ids"))
    job = Import(CsvReader(), Path("log.csv"), rules=rules, id_type="int64", budget_bytes=1)

    def second() -> None:
        with pytest.raises(ConflictError, match="out is being built by another process"):
            import_files(Path("out"), job)
        import_files(Path("out.b"), job)

    refused = import_files(Path("out"), replace(job, reader=Interrupted(meanwhile=second))).refused
    assert refused is not None
    assert Dataset.open(Path("out")).count() == len(refused.read_text().splitlines()) - 1 == 1


def test_what_a_killed_import_left_is_no_obstacle() -> None:
    (Path(f".out.{'0f' * 16}") / ".spill.x").mkdir(parents=True)
    Path("log.csv").write_text(LOG.format(user=1))
    import_files(Path("out"), Import(CsvReader(), Path("log.csv")))
    assert sorted(path.name for path in Path().iterdir()) == ["log.csv", "out"]


def test_a_null_among_vectors_of_fixed_size_is_named() -> None:
    write_spec(FeatureSpec(features=(Dense(name="v", tower="item", length=2),)), Path("features.yaml"))
    vectors = pa.array([[1.0, 2.0]] * 5000 + [None, [3.0, 4.0]], pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"item_id": range(5002), "v": vectors}), "items.parquet")
    job = Import(ParquetReader(), parquet("log.parquet"), items=Path("items.parquet"), features=Path("features.yaml"))
    with pytest.raises(DataError, match=r"items.parquet, column 'v', row 5,001: value null: .* missing vector may be"):
        import_files(Path("out"), job)


def test_tables_may_have_readers_of_their_own() -> None:
    Path("log.dat").write_text("7::1::5::100\n")
    Path("items.jsonl").write_text('{"item_id": 1, "title": "Mug"}\n')
    log = CsvReader("::", columns=("user_id", "item_id", "stars", "timestamp"))
    readers = {"items": JsonLinesReader()}
    job = Import(log, Path("log.dat"), items=Path("items.jsonl"), conversion=SECONDS, readers=readers)
    imported = import_files(Path("out"), job)
    assert sorted(imported.left_out) == ["stars", "title"]
    assert Dataset.open(Path("out")).count() == 1
