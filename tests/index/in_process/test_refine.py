"""What is found by codes is scored again by the vectors, in serving as in the probe that judges it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pagoda.errors import ConfigError, GateError
from pagoda.index.build import IndexReport, build_collection
from pagoda.index.in_process import vector_index
from pagoda.index.in_process.collections import FolderCollections
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.vector_files import vectors_batch
from pagoda.settings import CollectionConfig, IndexSettings
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors, write_vectors

NAME, ROWS, K = "items", 3000, 10
VECTORS, QUERIES = unit_vectors(ROWS), unit_vectors(40, seed=3)
CODES = {"kind": "IVF_PQ", "nlist": 16, "segments": 2, "effort": 16}


def build(folder: Path, refine: int, **config: object) -> IndexReport:
    write_vectors(folder / "v.parquet", ROWS)
    chosen = CollectionConfig(**{**CODES, "refine": refine, "minimum_recall": 0.0, **config})
    collections = FolderCollections(folder, refine=refine)
    return build_collection(collections, NAME, folder / "v.parquet", SPEC, queries=QUERIES, config=chosen)


@pytest.fixture(scope="module", autouse=True)
def by_codes() -> Iterator[None]:
    """All lists are searched by codes, where it would cost no more to compare the vectors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_index._Lists, "plan", lambda *_: 16)
        yield


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection of codes of two bytes."""
    folder = tmp_path_factory.mktemp("coarse")
    assert build(folder, 1).recall_at_100 < 0.8
    return folder


@pytest.mark.parametrize("wanted", [None, {"release_year": {"lt": 1999}}])
def test_where_all_are_looked_for_the_answer_is_exact(coarse: Path, wanted: object) -> None:
    parsed = FilterParser(SPEC).parse(wanted)
    refined = FolderCollections(coarse, refine=ROWS // K).search(NAME, QUERIES, K, effort=16, wanted=parsed)
    coded = FolderCollections(coarse).search(NAME, QUERIES, K, effort=16, wanted=parsed)
    for query, hits in zip(QUERIES, refined, strict=True):
        assert np.allclose(hits.scores, VECTORS[hits.ids] @ query, atol=1e-6)
    if wanted is None:
        best = np.argsort(-(QUERIES @ VECTORS.T), axis=1)[:, :K]
        assert [hits.ids.tolist() for hits in refined] == best.tolist()
        assert [hits.ids.tolist() for hits in coded] != best.tolist()


def test_the_probe_judges_the_refined_answer(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"required 0\.98"):
        build(tmp_path, 1, minimum_recall=0.98)
    assert build(tmp_path, 10, minimum_recall=0.98).recall_at_100 >= 0.98


def test_a_changed_item_is_scored_by_what_it_is_now(coarse: Path) -> None:
    collections = FolderCollections(coarse, refine=5)
    moved = int(np.argmin(VECTORS @ QUERIES[0]))
    collections.upsert(NAME, vectors_batch(SPEC, items_table(1, moved), QUERIES[:1]))
    hits = collections.search(NAME, QUERIES[:1], K, effort=16)[0]
    assert (hits.ids[0], hits.scores[0]) == (moved, pytest.approx(1.0))


@pytest.mark.parametrize("kind", ["HNSW_SQ8", "IVF_SQ8"])
@pytest.mark.parametrize("passing", [slice(None), slice(None, None, 2)])
def test_codes_of_any_width_lead_to_the_best(tmp_path: Path, kind: vector_index.Kind, passing: slice) -> None:
    vectors, queries = (np.ascontiguousarray(one[:, :13]) for one in (VECTORS, QUERIES))
    vector_index.build_index(CollectionConfig(kind=kind), 13, ROWS, [vectors]).write(tmp_path)
    keep = np.zeros(ROWS, np.bool_)
    keep[passing] = True
    bits = None if keep.all() else np.packbits(keep, bitorder="little")
    found = vector_index.open_index(kind, tmp_path).search(queries, K, 1000, bits, 20)[1]
    best = np.argsort(-np.where(keep, queries @ vectors.T, -1.0), axis=1)[:, :K]
    assert (np.sort(found) == np.sort(best)).mean() > 0.99


def test_few_items_are_compared_and_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    write_vectors(tmp_path / "few.parquet", 50)
    few = CollectionConfig(kind="IVF_PQ")
    report = build_collection(
        FolderCollections(tmp_path), "few", tmp_path / "few.parquet", SPEC, queries=QUERIES, config=few
    )
    assert report.recall_at_100 == 1.0
    with pytest.raises(ConfigError, match=r"index\.segments is 3, .* vectors of 16 numbers: it must divide them"):
        build(tmp_path, 1, segments=3)


@pytest.mark.parametrize(
    ("index", "complaint"),
    [
        ({"kind": "HNSW", "backend": "in_process"}, "refine is for kinds of codes .* and HNSW scores exactly"),
        ({"kind": "FLAT", "backend": "milvus"}, "refine is for kinds of codes .* and FLAT scores exactly"),
    ],
)
def test_refine_is_refused_where_it_would_do_nothing(index: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        IndexSettings(refine=2, **index)
