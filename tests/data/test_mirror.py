"""A dataset in a bucket: what is read of it is brought here, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import boto3
import numpy as np
import pytest

from pagoda.data.dataset import Dataset
from pagoda.data.mirror import open_local_or_mirrored
from pagoda.errors import DataError
from pagoda.storage.copies import download, upload
from tests.training.worlds import hours, make

DAYS = 5


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same dataset on this machine: five dates, an interaction every few minutes."""
    return make(tmp_path_factory.mktemp("source") / "data", clicks_an_hour=5, total_hours=24 * DAYS)


@pytest.fixture
def url(source: Dataset, bucket: str) -> str:
    """Where it is in the bucket."""
    for path in source.path.rglob("*"):
        if path.is_file():
            upload(path, f"{bucket}/data/{path.relative_to(source.path).as_posix()}")
    return f"{bucket}/data"


def _here(dataset: Dataset) -> set[str]:
    files = (path.relative_to(dataset.path) for path in dataset.path.rglob("*.parquet"))
    return {file.parts[1] if file.parts[0] == "interactions" else file.parts[0] for file in files}


def _dates(*days: int) -> set[str]:
    return {f"date=1970-01-{day:02}" for day in days}


def test_only_what_is_read_is_brought(url: str, source: Dataset, tmp_path: Path) -> None:
    mirrored = open_local_or_mirrored(url, tmp_path)
    assert mirrored.span() == source.span()
    assert _here(mirrored) == _dates(1, DAYS)
    window = hours(30, 40)
    assert mirrored.count(window) == source.count(window) > 0
    assert _here(mirrored) == _dates(1, 2, DAYS)
    assert mirrored.items().equals(source.items())
    assert _here(mirrored) == {*_dates(1, 2, DAYS), "items"}
    assert mirrored.users(np.array([3, 4])).equals(source.users(np.array([3, 4])))


def test_what_is_read_is_what_is_there(url: str, source: Dataset, tmp_path: Path) -> None:
    mirrored = open_local_or_mirrored(url, tmp_path)
    for window in (hours(20, 60), None, hours(70, 71)):
        for ours, theirs in zip(mirrored.batches(window), source.batches(window), strict=True):
            assert ours.equals(theirs)
    assert mirrored.count() == source.count()
    assert mirrored.checksum(source.span()) == source.checksum(source.span())


def test_files_are_kept_for_the_next_time_and_follow_the_bucket(url: str, tmp_path: Path) -> None:
    first = open_local_or_mirrored(url, tmp_path)
    first.count()
    before = {path: path.stat().st_ino for path in first.path.rglob("*.parquet")}
    client, bucket = boto3.client("s3"), url.removeprefix("s3://").split("/")[0]
    client.delete_object(Bucket=bucket, Key="data/interactions/date=1970-01-02/part-0.parquet")
    again = open_local_or_mirrored(f"{url}/", tmp_path)
    assert again.path == first.path
    assert not again.count(hours(25, 47))
    after = {path: path.stat().st_ino for path in again.path.rglob("*.parquet")}
    assert after.items() < before.items()


def test_two_processes_bring_files_side_by_side(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler's full update opens the dataset while an incremental one is bringing files of it."""

    def meanwhile(uri: str, path: Path) -> None:
        download(uri, path)
        with monkeypatch.context() as patch:
            patch.setattr("pagoda.data.mirror.download", download)
            open_local_or_mirrored(url, tmp_path)

    monkeypatch.setattr("pagoda.data.mirror.download", meanwhile)
    assert open_local_or_mirrored(url, tmp_path).count(hours(30, 40))


def test_what_a_killed_process_left_is_removed_in_the_end(url: str, tmp_path: Path) -> None:
    dataset = open_local_or_mirrored(url, tmp_path)
    left = dataset.path / "items" / f".part-0.parquet.{'0' * 32}"
    left.parent.mkdir()
    left.write_bytes(b"half of it")
    os.utime(left, (0, 0))
    open_local_or_mirrored(url, tmp_path)
    assert not left.exists()


def test_a_dataset_that_is_not_there_is_named(bucket: str, tmp_path: Path, source: Dataset) -> None:
    with pytest.raises(DataError, match="there is no dataset"):
        open_local_or_mirrored(f"{bucket}/data", tmp_path)
    assert open_local_or_mirrored(str(source.path), tmp_path).path == source.path
