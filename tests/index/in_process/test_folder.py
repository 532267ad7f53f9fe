"""A folder of collections is shared by processes that know nothing of each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from prometheus_client import REGISTRY

from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConflictError, DataError
from pagoda.index.in_process import changed_share
from pagoda.index.in_process.collections import FolderCollections
from pagoda.item_vectors.vector_files import vectors_batch
from pagoda.settings import CollectionConfig
from tests.item_vectors.worlds import unit_vectors

NAME = "items"
VECTORS = unit_vectors(40)


def rows(*ids: int) -> pa.RecordBatch:
    return vectors_batch(FeatureSpec(), pa.table({"item_id": ids}), VECTORS[list(ids)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a collection of items 9 down to 0, inserted in two parts."""
    collections = FolderCollections(tmp_path)
    collections.create(NAME, 16, (), keys=False, description="")
    for part in (range(9, 4, -1), range(4, -1, -1)):
        collections.insert(NAME, rows(*part))
    collections.start_index(NAME, CollectionConfig())
    collections.load(NAME)
    return tmp_path


def best(collections: FolderCollections, item: int) -> int:
    return int(collections.search(NAME, VECTORS[[item]], 1, effort=1)[0].ids[0])


def test_one_sees_at_once_what_another_changes(folder: Path) -> None:
    one, other = FolderCollections(folder), FolderCollections(folder)
    assert [best(one, item) for item in range(10)] == list(range(10))
    other.upsert(NAME, rows(20))
    assert best(one, 20) == 20
    other.delete(NAME, np.array([20]))
    assert best(one, 20) != 20
    assert one.count(NAME) == 10
    other.upsert(NAME, rows(20))  # It may come back.
    assert best(one, 20) == 20
    other.drop(NAME)
    assert not one.exists(NAME)


def test_no_change_of_several_writers_is_lost(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: FolderCollections(folder).upsert(NAME, rows(item)), range(10, 40)))
    assert FolderCollections(folder).count(NAME) == 40


def test_another_collection_of_the_same_name_is_not_taken_for_the_old_one(folder: Path) -> None:
    collections = FolderCollections(folder)
    assert collections.count(NAME) == 10
    other = FolderCollections(folder)
    with pytest.raises(ConflictError, match=NAME):
        other.create(NAME, 16, (), keys=False, description="")
    other.drop(NAME)
    other.create(NAME, 16, (), keys=False, description="")
    other.insert(NAME, rows(1))
    other.insert(NAME, rows(2))
    other.start_index(NAME, CollectionConfig())
    other.load(NAME)
    assert collections.count(NAME) == 2


def test_much_that_changed_is_told_once_and_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(changed_share, "MANY", 4)
    collections = FolderCollections(folder)
    for items, share in (((20, 21), 0.2), ((20, 22, 23), 0.4), ((1,), 0.5)):
        collections.upsert(NAME, rows(*items))
        collections.count(NAME)
        assert REGISTRY.get_sample_value("pagoda_index_changed_share", {"collection": NAME}) == share
    assert [record.message.split(";")[0] for record in caplog.records if "changed since" in record.message] == [
        f"collection {NAME}: 4 of 10 items changed since it was built, and each search compares them one by one"
    ]


def test_a_name_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'\.\./there': a name is letters"):
        FolderCollections(tmp_path).create("../there", 16, (), keys=False, description="")
