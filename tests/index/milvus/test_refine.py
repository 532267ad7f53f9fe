"""Milvus finds by codes; the originals say which of these are best, to recall as to the probe."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from pagoda.index.build import build_collection
from pagoda.index.milvus.collections import MilvusCollections
from pagoda.index.milvus.search import MilvusSearch
from pagoda.index.probe import SearchedCollection, probe
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.vector_files import ItemVectors
from pagoda.item_vectors.vectors_by_id import IDS_FILE, VECTORS_FILE, VectorsById, write_vectors_by_id
from pagoda.settings import CollectionConfig
from tests.item_vectors.worlds import SPEC, unit_vectors, write_vectors

pytestmark = pytest.mark.integration
ROWS, K, REFINE = 3000, 10, 10
VECTORS, QUERIES = unit_vectors(ROWS), unit_vectors(40, seed=3)
CODES = CollectionConfig(kind="IVF_PQ", nlist=16, segments=2, effort=16, refine=REFINE)


def test_codes_of_two_bytes_pass_the_probe_and_recall_answers_exactly(
    collections: MilvusCollections, tmp_path: Path
) -> None:
    write_vectors(tmp_path / "v.parquet", ROWS)
    source = ItemVectors(tmp_path / "v.parquet", SPEC)
    write_vectors_by_id(tmp_path, source, SPEC)
    originals = VectorsById(tmp_path / IDS_FILE, tmp_path / VECTORS_FILE)
    report = build_collection(
        collections, "refined", source.path, SPEC, queries=QUERIES, config=CODES, originals=originals
    )
    assert report.recall_at_100 >= 0.98
    assert probe(SearchedCollection(collections, "refined", 16), source, QUERIES).recall_at_100 < 0.8

    search = MilvusSearch(collections.uri, "", 10.0, 16, refine=REFINE, originals={"refined": originals}.get)
    wanted = FilterParser(SPEC).parse({"release_year": {"lt": 1999}})

    async def ask() -> None:
        for filtered in ((), wanted):
            answers = await search.search("refined", QUERIES.tolist(), K, wanted=filtered, excluded=(), keys=False)
            for query, items in zip(QUERIES, answers, strict=True):
                exact = VECTORS[[int(item["item_id"]) for item in items]] @ query
                assert np.allclose([item["score"] for item in items], exact, atol=5e-4)
                assert len(items) == K and (np.diff(exact) < 1e-3).all()
        await search.close()

    asyncio.run(ask())
