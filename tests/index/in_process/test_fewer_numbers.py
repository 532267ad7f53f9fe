"""A collection of fewer numbers finds, and all numbers score: in the probe, and in recall."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from pagoda.errors import GateError
from pagoda.index.build import IndexReport, build_collection
from pagoda.index.in_process.collections import FolderCollections
from pagoda.index.in_process.search import FolderSearch
from pagoda.item_vectors.filter import EVERYTHING
from pagoda.item_vectors.reduction import Reduction
from pagoda.item_vectors.vector_files import ItemVectors
from pagoda.item_vectors.vectors_by_id import IDS_FILE, VECTORS_FILE, VectorsById, write_vectors_by_id
from pagoda.settings import CollectionConfig, IndexSettings
from tests.item_vectors.worlds import SPEC, unit_vectors, write_vectors

ROWS, K, DIM = 3000, 10, 10
VECTORS, QUERIES = unit_vectors(ROWS), unit_vectors(40, seed=3)


@pytest.fixture
def originals(tmp_path: Path) -> VectorsById:
    write_vectors(tmp_path / "v.parquet", ROWS)
    source = ItemVectors(tmp_path / "v.parquet", SPEC)
    write_vectors_by_id(tmp_path, source, SPEC)
    reduction = Reduction.learn(QUERIES, (vectors for _, vectors in source.stored()), DIM)
    return VectorsById(tmp_path / IDS_FILE, tmp_path / VECTORS_FILE, reduction)


def build(folder: Path, originals: VectorsById, refine: int) -> IndexReport:
    config = CollectionConfig(kind="HNSW_SQ8", dim=DIM, refine=refine)
    collections, vectors = FolderCollections(folder / "collections"), folder / "v.parquet"
    return build_collection(collections, "fewer", vectors, SPEC, queries=QUERIES, config=config, originals=originals)


def test_recall_answers_by_all_numbers(tmp_path: Path, originals: VectorsById) -> None:
    report = build(tmp_path, originals, 8)
    assert (report.dim, report.recall_at_100 >= 0.98) == (DIM, True)
    search = FolderSearch(tmp_path / "collections", 128, 8, {"fewer": originals}.get)

    async def ask() -> None:
        answers = await search.search("fewer", QUERIES.tolist(), K, wanted=EVERYTHING, excluded=(), keys=False)
        for query, items in zip(QUERIES, answers, strict=True):
            exact = VECTORS[[int(item["item_id"]) for item in items]] @ query
            assert np.allclose([item["score"] for item in items], exact, atol=5e-4)
        await search.close()

    asyncio.run(ask())


def test_the_probe_compares_with_all_numbers(tmp_path: Path, originals: VectorsById) -> None:
    with pytest.raises(GateError, match=r"required 0\.98"):
        build(tmp_path, originals, 2)


def test_fewer_numbers_without_refine_are_refused() -> None:
    with pytest.raises(ValueError, match="dim 32 needs refine above 1"):
        IndexSettings(dim=32)
    assert IndexSettings(dim=32, refine=4, backend="in_process").keeps_originals
