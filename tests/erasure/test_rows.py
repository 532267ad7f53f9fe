"""A user's rows leave every file of a dataset, whole files at a time, whatever is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pagoda.data.checks.check import check_dataset
from pagoda.data.dataset import Dataset
from pagoda.data.mirror import open_local_or_mirrored
from pagoda.data.spec import FeatureSpec
from pagoda.data.tfrecord.columns import ExampleEncoder, id_in
from pagoda.data.tfrecord.records import read_records, write_records
from pagoda.erasure.rows import DatasetRows
from pagoda.storage.copies import upload
from tests.data.folders import interaction, moment, write_dataset

ANN, BEN = "ann-4711", "ben-0815"
STRINGS = FeatureSpec(id_type="string")


@contextmanager
def alone(_: str) -> Iterator[None]:
    yield


def erase(dataset: str | Path, *users: str) -> int:
    return DatasetRows(str(dataset), alone).erase(set(users))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two days; Ann is alone on the second."""
    days = [("date=2024-05-01", [(ANN, 1), (BEN, 2), (ANN, 3)]), ("date=2024-05-02", [(ANN, 25)])]
    parts = [
        (day, [interaction(moment("00:00") + timedelta(hours=at), user, "x") for user, at in rows])
        for day, rows in days
    ]
    users = [{"user_id": ANN}, {"user_id": BEN}]
    folder = write_dataset(tmp_path / "d", spec=STRINGS, parts=parts, users=users, items=[{"item_id": "x"}])
    (folder / "refused").mkdir()
    lines = [f'{{"user_id":"{ANN}","item_id":null}}', f'{{"user_id":"{BEN}","item_id":null}}', f'{{"user_id":"{ANN}']
    (folder / "refused/events-1-2.jsonl").write_text("\n".join(lines))
    return folder


def holds(folder: Path, user: str) -> bool:
    files = [path for path in folder.rglob("*") if path.is_file()]
    tables = [pq.read_table(path) for path in files if path.suffix == ".parquet"]
    named = [user in table["user_id"].to_pylist() for table in tables if "user_id" in table.column_names]
    return any(named) or any(user in path.read_text() for path in files if path.suffix == ".jsonl")


def test_nothing_is_left_of_the_user_and_everything_of_the_others(dataset: Path) -> None:
    assert erase(dataset, ANN) == 4
    assert not holds(dataset, ANN)
    opened = Dataset.open(dataset)
    assert [batch.num_rows for batch in opened.batches()] == [1]
    assert opened.users()["user_key"].to_pylist() == [BEN]
    assert BEN in (dataset / "refused/events-1-2.jsonl").read_text()
    assert check_dataset(dataset).report.ok
    assert erase(dataset, ANN) == 0


def test_integers_are_not_taken_for_other_users_and_types_and_groups_stay(tmp_path: Path) -> None:
    rows = [interaction(moment("10:00"), user, 10) for user in (1, 11, 1, 111)]
    folder = write_dataset(tmp_path / "d", parts=[("date=2024-05-01", rows)])
    path = folder / "interactions/date=2024-05-01/part-0.parquet"
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=1)
    assert erase(folder, "1", "not a number") == 2
    kept = pq.read_table(path)
    assert (kept["user_id"].to_pylist(), kept.schema) == ([11, 111], table.schema)


def test_killed_at_any_moment_each_file_is_the_old_or_the_new_one(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    for owner, call in ((os, "fsync"), (Path, "replace")):
        for number in range(4):
            left, real = [number], getattr(owner, call)

            def dies(*given: object, left: list[int] = left, real: object = real) -> object:
                left[0] -= 1
                if left[0] < 0:
                    raise KilledError
                assert callable(real)
                return real(*given)

            with monkeypatch.context() as patched:
                patched.setattr(owner, call, dies)
                try:
                    erase(dataset, ANN)
                except KilledError:
                    assert check_dataset(dataset).report.ok
    erase(dataset, ANN)
    assert not holds(dataset, ANN)
    assert list(dataset.rglob(".*")) == []


@pytest.mark.integration
def test_copies_of_a_dataset_in_a_bucket_lose_the_rows_too(bucket: str, dataset: Path, tmp_path: Path) -> None:
    for path in dataset.rglob("*.*"):
        if path.is_file():
            upload(path, f"{bucket}/{path.relative_to(dataset).as_posix()}")
    copies = tmp_path / "copies"
    open_local_or_mirrored(bucket, copies).users()
    assert holds(copies, ANN)
    assert erase(bucket, ANN) == 4
    assert open_local_or_mirrored(bucket, copies).users()["user_key"].to_pylist() == [BEN]
    assert not holds(copies, ANN)


def test_a_file_never_keeps_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_dataset(tmp_path / "d", parts=[("date=2024-05-01", [interaction(moment("10:00"), 1, 10)])])
    path = folder / "interactions/date=2024-05-01/part-0.parquet"
    sizes = set()
    for padding in range(0, 120, 3):
        schema = pq.read_schema(path).with_metadata({"p": "x" * padding})
        table = pa.Table.from_pylist([interaction(moment("10:00"), 1, 10)], schema.remove_metadata())
        pq.write_table(table.replace_schema_metadata(schema.metadata), path)
        before = path.stat().st_size
        erase(folder, "1")
        sizes.add(path.stat().st_size - before)
    assert 0 not in sizes


def test_copies_in_tfrecord_are_erased_from_too(dataset: Path) -> None:
    path = dataset / "tfrecord/date=2024-05-01/events-00000000000001-00000000000002.tfrecord"
    path.parent.mkdir(parents=True)
    rows = pa.table({"user_id": [ANN, BEN, ANN], "item_id": ["x", "y", "z"]}).to_batches()
    with path.open("wb") as file:
        write_records(ExampleEncoder().records(rows), file)
    assert erase(dataset, ANN) == 5
    assert [id_in(record, "item_id") for record in read_records(path)] == ["y"]
    assert erase(dataset, ANN) == 0
