"""What a Milvus server says, beyond what every backend promises (tests/index/test_contract.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pagoda.data.spec import Categorical, FeatureSpec
from pagoda.errors import RequestError, UnavailableError
from pagoda.index.build import build_collection
from pagoda.index.milvus.collections import MilvusCollections
from pagoda.index.milvus.search import MilvusSearch
from pagoda.item_vectors.filter import Condition, Filter
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.vector_files import ItemVectorsWriter
from tests.item_vectors.worlds import unit_vectors

pytestmark = pytest.mark.integration


def test_ids_alone_need_no_filter_column_and_a_filter_by_another_is_not_read(
    collections: MilvusCollections, tmp_path: Path
) -> None:
    ids, path = np.array([-(2**63) + 1, -5, 0, 2**63 - 1]), tmp_path / "v.parquet"
    with ItemVectorsWriter(path, FeatureSpec(), 16) as writer:
        writer.write(pa.table({"item_id": ids}), unit_vectors(4))
    report = build_collection(collections, "ids_alone", path, FeatureSpec(), queries=unit_vectors(2))
    assert (report.rows, report.recall_at_100) == (4, 1.0)
    assert set(collections.search("ids_alone", unit_vectors(1), 9, effort=9)[0].ids.tolist()) == set(ids.tolist())
    unknown = Filter([Condition("nonsense", "number", "gt", (0.0,))])
    with pytest.raises(RequestError, match="cannot read the filter"):
        collections.search("ids_alone", unit_vectors(1), 5, effort=8, wanted=unknown)


async def test_recall_is_told_of_a_filter_that_the_server_cannot_read(
    collections: MilvusCollections, milvus_uri: str, tmp_path: Path
) -> None:
    spec, path = (
        FeatureSpec(features=(Categorical(name="like", tower="item", filterable=True),)),
        tmp_path / "v.parquet",
    )
    with ItemVectorsWriter(path, spec, 16) as writer:
        writer.write(pa.table({"item_id": [1, 2], "like": ["a", "b"]}), unit_vectors(2))
    build_collection(collections, "a_word_of_its_own", path, spec, queries=unit_vectors(2))
    search = MilvusSearch(milvus_uri, "", 10.0, 64)
    wanted = FilterParser(spec).parse({"like": "a"})
    with pytest.raises(RequestError, match="cannot read a filter by like"):
        await search.search("a_word_of_its_own", unit_vectors(1), 1, wanted=wanted, excluded=(), keys=False)
    await search.close()


def test_a_server_that_is_not_there_is_named(unused_tcp_port: int) -> None:
    nobody = MilvusCollections(f"http://127.0.0.1:{unused_tcp_port}", timeout_seconds=1)
    with pytest.raises(UnavailableError, match=rf"search|index state.*items.*{unused_tcp_port}"):
        nobody.search("items", unit_vectors(1), 5, effort=8)
