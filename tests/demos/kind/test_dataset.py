"""The dataset's way into the bucket."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from demos.kind.dataset import copy
from pagoda.data.mirror import open_local_or_mirrored
from pagoda.errors import DataError
from tests.training.worlds import make


def test_what_is_in_the_bucket_is_the_dataset_and_is_not_copied_again(tmp_path: Path, bucket: str) -> None:
    source = make(tmp_path / "data", clicks_an_hour=5, total_hours=30)
    assert copy(source.path, f"{bucket}/dataset") > 1
    assert open_local_or_mirrored(f"{bucket}/dataset", tmp_path / "mirror").count() == source.count()
    assert copy(source.path, f"{bucket}/dataset") == 0


def test_what_a_killed_copy_left_out_is_copied_by_the_next(tmp_path: Path, bucket: str) -> None:
    source = make(tmp_path / "data", clicks_an_hour=5, total_hours=30)
    files = copy(source.path, f"{bucket}/dataset")
    store = boto3.client("s3")
    store.delete_object(Bucket=bucket.removeprefix("s3://"), Key="dataset/features.yaml")
    with pytest.raises(DataError, match="there is no dataset"):
        open_local_or_mirrored(f"{bucket}/dataset", tmp_path / "mirror")
    assert copy(source.path, f"{bucket}/dataset") == 1 < files
    assert open_local_or_mirrored(f"{bucket}/dataset", tmp_path / "mirror").count() == source.count()


def test_a_folder_that_is_no_dataset_is_not_copied(tmp_path: Path, bucket: str) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError):
        copy(tmp_path, f"{bucket}/dataset")
