"""Files for a bulk import: named as Milvus finds them in its own bucket, copied there only where they are not."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from pagoda.errors import ConfigError
from pagoda.index.milvus.bulk_import import staged
from pagoda.storage.copies import upload


def _keys(url: str) -> list[str]:
    listing = boto3.client("s3").list_objects_v2(Bucket=url.removeprefix("s3://").split("/")[0])
    return [one["Key"] for one in listing.get("Contents", [])]


@pytest.fixture
def part(bucket: str, tmp_path: Path) -> str:
    """A file in the pipelines' bucket."""
    (tmp_path / "part").write_text("vectors")
    upload(tmp_path / "part", f"{bucket}/artifacts/0.parquet")
    return f"{bucket}/artifacts/0.parquet"


def test_files_in_milvus_own_bucket_are_read_where_they_are(bucket: str, part: str) -> None:
    with staged([part], f"{bucket}/imports", "recall_v1") as places:
        assert places == ["artifacts/0.parquet"]
        assert _keys(bucket) == ["artifacts/0.parquet"]
    assert _keys(bucket) == ["artifacts/0.parquet"], "they are the registry's, not ours to remove"


def test_others_are_copied_there_and_removed_whatever_happens(bucket: str, part: str, tmp_path: Path) -> None:
    boto3.client("s3").create_bucket(Bucket=f"{bucket.removeprefix('s3://')}-milvus")
    own, files = f"{bucket}-milvus", [part, str(tmp_path / "part")]
    with pytest.raises(RuntimeError), staged(files, f"{own}/imports/", "recall_v1") as places:
        assert places == ["imports/recall_v1/00000.parquet", "imports/recall_v1/00001.parquet"]
        assert _keys(own) == places
        raise RuntimeError("the import failed")
    assert not _keys(own)
    assert _keys(bucket) == ["artifacts/0.parquet"]


def test_a_place_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"milvus\.imports 'http://x'"), staged([], "http://x", "a"):
        pass
