"""The popular items that stand in for the index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pagoda.data.spec import FeatureSpec
from pagoda.errors import UnavailableError
from pagoda.generations.manifest import Artifact
from pagoda.item_changes.log import ItemLog
from pagoda.item_changes.records import ItemChange
from pagoda.item_vectors.filter import EVERYTHING
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.vector_files import ItemVectorsWriter
from serving.recall.channels.popular import PopularItems, load_popular
from serving.recall.items.item_log import ItemLogFollower
from tests.serving.fakes import manifest
from tests.serving.recall.failing import ITEMS
from tests.serving.worlds import make_spec


@pytest.mark.parametrize("id_type", ["int64", "string"])
def test_the_popular_list_is_read_from_the_generations_files(id_type: str, tmp_path: Path) -> None:
    spec: FeatureSpec = make_spec(id_type)
    count = 50
    columns: dict[str, Any] = {"item_id": np.arange(count)}
    if id_type == "string":
        columns["item_key"] = [f"item-{number}" for number in range(count)]
    columns |= {"genres": [["Drama"] if n % 2 else ["Comedy"] for n in range(count)], "year": np.arange(count) + 1960.0}
    vectors = tmp_path / "item_vectors.parquet"
    with ItemVectorsWriter(vectors, spec, 2) as writer:
        writer.write(pa.table(columns), np.tile(np.array([[1, 0]], np.float32), (count, 1)))
    popularity = pa.table({"item_id": [40, 41, 10, 999], "clicks": [9, 6, 3, 1]})
    pq.write_table(popularity, tmp_path / "popularity.parquet")
    made = manifest(3, spec).model_copy(
        update={
            "base": Artifact(uri=str(tmp_path), checksum=""),
            "item_vectors": Artifact(uri=str(vectors), checksum=""),
        }
    )
    popular = load_popular(made)
    name = (lambda number: f"item-{number}") if id_type == "string" else int
    assert [item["item_id"] for item in popular.items(EVERYTHING, (), 10)] == [name(40), name(41), name(10)]
    wanted = FilterParser(make_spec()).parse({"genres": {"none": ["Comedy"]}, "year": {"gte": 1990}})
    drama = popular.items(wanted, (), 10)
    assert [item["item_id"] for item in drama] == [name(41)]
    with pytest.raises(UnavailableError):
        load_popular(made.model_copy(update={"base": Artifact(uri=str(tmp_path / "no"), checksum="")}))


def test_removed_items_are_in_no_popular_list_until_they_come_back(tmp_path: Path) -> None:
    log = ItemLog(str(tmp_path))
    removed = ItemLogFollower(log)
    popular = PopularItems(make_spec(), ITEMS, removed.removed)
    for changes, expected in (
        ([ItemChange(item_id=7, features=None), ItemChange(item_id=9, features=None)], [3, 1]),
        ([ItemChange(item_id=7, features={})], [7, 3]),
    ):
        log.append(changes)
        removed.read()
        assert [item["item_id"] for item in popular.items(EVERYTHING, (), 2)] == expected
