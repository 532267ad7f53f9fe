"""Bulk import on a real server: it reads the exported files itself, and the collection passes the same checks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pagoda.errors import UnavailableError
from pagoda.index.build import build_collection
from pagoda.index.milvus.collections import MilvusCollections
from pagoda.item_vectors.parts import PARTS_FILE, VectorPart, VectorParts
from pagoda.item_vectors.vector_files import ItemVectorsWriter
from pagoda.storage.checksums import checksum_file
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors

pytestmark = pytest.mark.integration
ROWS = 2000


@pytest.fixture
def collections(milvus_uri: str, tmp_path: Path) -> Iterator[MilvusCollections]:
    server = MilvusCollections(milvus_uri, imports=str(tmp_path / "imports"))
    yield server
    for name in ("bulk", "refused"):
        server.drop(name)
    server.close()


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Three files of one export, and their list."""
    vectors, listed = unit_vectors(ROWS), []
    for number, rows in enumerate(np.array_split(np.arange(ROWS), 3)):
        path = tmp_path / f"{number}.parquet"
        with ItemVectorsWriter(path, SPEC, 16) as writer:
            writer.write(items_table(len(rows), int(rows[0])), vectors[rows])
        listed.append(VectorPart(uri=path.as_uri(), checksum=checksum_file(path)))
    VectorParts(parts=tuple(listed)).write(tmp_path / PARTS_FILE)
    return tmp_path / PARTS_FILE


def test_a_collection_that_milvus_imported_by_itself_passes_every_check(
    collections: MilvusCollections, parts: Path, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    report = build_collection(
        collections,
        "bulk",
        parts,
        SPEC,
        queries=unit_vectors(60, seed=3),
        progress=lambda *now: told.append(now),
    )
    assert (report.rows, report.reused, collections.count("bulk")) == (ROWS, False, ROWS)
    assert report.recall_at_100 >= 0.98
    assert ("import", ROWS, ROWS) in told
    assert not list((tmp_path / "imports").iterdir()), "what was copied for the server is removed"


def test_a_file_that_milvus_cannot_read_is_named(collections: MilvusCollections, parts: Path, tmp_path: Path) -> None:
    assert collections.file_import
    collections.create("refused", 8, (), keys=False, description="another dimension")
    with pytest.raises(UnavailableError, match="bulk import"):
        collections.file_import("refused", [str(tmp_path / "0.parquet")], 60)
