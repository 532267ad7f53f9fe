from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pagoda.data.spec import FeatureSpec
from pagoda.errors import DataError, GateError, IntegrityError, UnavailableError
from pagoda.index.build import IndexReport, build_collection
from pagoda.index.milvus.collections import MilvusCollections
from pagoda.index.probe import Probe, probe
from pagoda.item_vectors.fields import filter_fields
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.vector_files import ItemVectors, ItemVectorsWriter
from pagoda.settings import CollectionConfig
from pagoda.settings.index import CODED
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors, write_vectors

pytestmark = pytest.mark.integration
ROWS = 3000
QUERIES = unit_vectors(60, seed=3)


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors") / "v.parquet"
    write_vectors(path, ROWS)
    return path


def _build(collections: MilvusCollections, vectors: Path, **options: object) -> IndexReport:
    return build_collection(collections, "built", vectors, SPEC, queries=QUERIES, **options)


def test_a_complete_collection_is_kept_and_another_content_is_not(
    collections: MilvusCollections, vectors: Path, tmp_path: Path
) -> None:
    stages: list[tuple[str, int, int]] = []
    first = _build(collections, vectors, progress=lambda *told: stages.append(told))
    assert (first.rows, first.dim, first.metric, first.reused) == (ROWS, 16, "IP", False)
    assert first.recall_at_100 >= 0.98
    assert list(dict.fromkeys(stage for stage, _, _ in stages)) == ["import", "index", "load", "probe", "warm"]
    assert ("import", ROWS, ROWS) in stages

    again = _build(collections, vectors)
    assert (again.reused, again.checksum) == (True, first.checksum)
    assert set(again.seconds) == {"load", "probe", "warm"}

    other = tmp_path / "other.parquet"
    write_vectors(other, ROWS, seed=1)
    assert not _build(collections, other).reused
    assert not _build(collections, other, config=CollectionConfig(m=8)).reused


@pytest.mark.parametrize(
    "stage",
    [pytest.param("created", marks=pytest.mark.long), "inserted", pytest.param("indexing", marks=pytest.mark.long)],
)
def test_a_half_built_collection_is_built_anew(collections: MilvusCollections, vectors: Path, stage: str) -> None:
    class Killed(BaseException):
        pass

    def die(now: str, done: int, rows: int) -> None:
        if {"created": ("import", 0), "inserted": ("import", ROWS), "indexing": ("index", 0)}[stage] == (now, done):
            raise Killed

    with pytest.raises(Killed):
        _build(collections, vectors, progress=die)
    report = _build(collections, vectors)
    assert (report.rows, report.reused) == (ROWS, False)


def test_a_build_killed_outright_is_finished_by_the_next(collections: MilvusCollections, vectors: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; import numpy as np;"
        "from pagoda.index.build import build_collection;"
        "from pagoda.index.milvus.collections import MilvusCollections;"
        "from pagoda.data.spec import FeatureSpec;"
        "die = lambda stage, done, rows: done and stage == 'import' and os.kill(os.getpid(), signal.SIGKILL);"
        "build_collection(MilvusCollections(sys.argv[1]), 'built', Path(sys.argv[2]),"
        " FeatureSpec.model_validate_json(sys.argv[3]), queries=np.eye(16, dtype='f4'), progress=die)"
    )
    arguments = [collections.uri, str(vectors), SPEC.model_dump_json()]
    killed = subprocess.run([sys.executable, "-c", script, *arguments], check=False, env={**os.environ})
    assert killed.returncode == -signal.SIGKILL
    assert collections.exists("built")
    assert not _build(collections, vectors).reused
    assert collections.count("built") == ROWS


def test_a_collection_that_lost_rows_is_not_taken_for_complete(
    collections: MilvusCollections, vectors: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _build(collections, vectors)
    with collections._connection.client("deletion", "built") as client:
        client.delete("built", ids=[7])
    assert collections.count("built") == ROWS - 1
    assert not _build(collections, vectors).reused
    assert f"count gives {ROWS - 1} rows, the file has {ROWS}" in caplog.text
    assert collections.count("built") == ROWS


def test_vectors_under_wrong_ids_fail_the_probe(
    collections: MilvusCollections, vectors: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, name = ItemVectors(vectors, SPEC), "built"
    _build(collections, vectors)
    description = collections.description(name)
    collections.drop(name)
    collections.create(name, 16, filter_fields(SPEC), keys=False, description=description)
    shifted = tmp_path / "shifted.parquet"
    with ItemVectorsWriter(shifted, SPEC, 16) as writer:
        everything = np.concatenate([block for _, block in source.blocks()])
        writer.write(items_table(ROWS), np.roll(everything, 1, axis=0))
    for batch in ItemVectors(shifted, SPEC).batches():
        collections.insert(name, batch)
    collections.flush(name)
    collections.start_index(name, CollectionConfig())
    collections.wait_indexed(name, ROWS, 60)
    assert not _build(collections, vectors).reused
    assert "recall@100" in caplog.text


def test_a_gate_that_is_not_met_leaves_nothing(collections: MilvusCollections, vectors: Path) -> None:
    poor = CollectionConfig(kind="IVF_FLAT", nlist=500, effort=1)
    with pytest.raises(GateError, match=r"recall@100 over 60 queries is 0\.\d+, required 0\.98"):
        _build(collections, vectors, config=poor)
    assert not collections.exists("built")


def test_a_graph_that_finds_too_little_is_built_again_with_more_links(
    collections: MilvusCollections, vectors: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As happened to four graphs of sixteen where a third of the items share one vector; to which ones, is chance."""
    found = iter([Probe(0.73, 60, 100)])
    monkeypatch.setattr("pagoda.index.build.probe", lambda *asked: next(found, None) or probe(*asked))
    report = _build(collections, vectors)
    assert (report.config.m, report.config.ef_construction) == (32, 400)
    assert "0.7300, required 0.98" in caplog.text and "built again with {'m': 32" in caplog.text
    again = _build(collections, vectors)
    assert (again.reused, again.config) == (True, report.config)


@pytest.mark.parametrize(
    "index",
    [
        {"kind": "IVF_FLAT", "nlist": 32},
        pytest.param({"kind": "FLAT"}, marks=pytest.mark.long),
        pytest.param({"kind": "IVF_SQ8", "nlist": 32}, marks=pytest.mark.long),
        pytest.param({"kind": "IVF_PQ", "nlist": 32, "segments": 16}, marks=pytest.mark.long),
    ],
)
def test_other_kinds_of_index(collections: MilvusCollections, vectors: Path, index: dict[str, Any]) -> None:
    report = _build(collections, vectors, config=CollectionConfig(effort=32, minimum_recall=0.9, **index))
    assert report.recall_at_100 == 1.0 or index["kind"] in CODED
    wanted = FilterParser(SPEC).parse({"kind": "kind 1"})
    hits = collections.search("built", QUERIES[:1], 20, effort=32, wanted=wanted)[0]
    assert len(hits.ids) == 20


def test_bad_input_and_an_absent_server_change_nothing(
    collections: MilvusCollections, vectors: Path, tmp_path: Path, unused_tcp_port: int
) -> None:
    with ItemVectorsWriter(tmp_path / "empty.parquet", SPEC, 16):
        pass
    with pytest.raises(DataError, match="no item"):
        _build(collections, tmp_path / "empty.parquet")
    with pytest.raises(DataError, match=r"queries are \(3, 4\)"):
        build_collection(collections, "built", vectors, SPEC, queries=np.eye(3, 4, dtype=np.float32))
    with pytest.raises(IntegrityError, match="columns are"):
        build_collection(collections, "built", vectors, FeatureSpec(), queries=QUERIES)
    assert not collections.exists("built")
    with pytest.raises(UnavailableError, match=str(unused_tcp_port)):
        _build(MilvusCollections(f"http://127.0.0.1:{unused_tcp_port}", timeout_seconds=1), vectors)


@pytest.mark.long
def test_a_hundred_thousand_vectors(
    collections: MilvusCollections, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    write_vectors(tmp_path / "v.parquet", 100_000, dim=64)
    queries = unit_vectors(200, dim=64, seed=5)
    report = build_collection(collections, "large", tmp_path / "v.parquet", SPEC, queries=queries)
    record_property("report", report.model_dump_json())
    assert report.recall_at_100 >= 0.98
    assert sum(report.seconds.values()) < 300
