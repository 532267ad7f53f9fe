"""Item vectors in several files, some of them in an object store."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import EndpointConnectionError

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.item_vectors.parts import PARTS_FILE, VectorPart, VectorParts
from pagoda.item_vectors.vector_files import ItemVectors, ItemVectorsWriter
from pagoda.storage.checksums import checksum_file

from .worlds import SPEC, items_table, unit_vectors, write_vectors


def _parts(folder: Path, *spans: tuple[int, int], dim: int = 16) -> Path:
    """A list of parts that hold these items, and the parts."""
    listed = []
    for number, (first, count) in enumerate(spans):
        path = folder / f"{number}.parquet"
        with ItemVectorsWriter(path, SPEC, dim) as writer:
            writer.write(items_table(count, first), unit_vectors(count, dim, seed=number))
        listed.append(VectorPart(uri=path.as_uri(), checksum=checksum_file(path)))
    VectorParts(parts=tuple(listed)).write(folder / PARTS_FILE)
    return folder / PARTS_FILE


def test_parts_read_like_one_file(tmp_path: Path) -> None:
    source = ItemVectors(_parts(tmp_path, (0, 700), (700, 0), (900, 300)), SPEC)
    assert (source.rows, source.dim) == (1000, 16)
    ids = np.concatenate([ids for ids, _ in source.blocks(batch_rows=128)])
    assert np.array_equal(ids, np.concatenate([np.arange(700), np.arange(900, 1200)]))
    assert sum(batch.num_rows for batch in source.batches()) == 1000


@pytest.mark.parametrize(
    ("spans", "said"), [([(0, 10), (9, 10)], "begins with item_id 9"), ([(20, 10), (0, 10)], "parts must ascend")]
)
def test_parts_that_overlap_are_refused(tmp_path: Path, spans: list[tuple[int, int]], said: str) -> None:
    with pytest.raises(IntegrityError, match=said):
        ItemVectors(_parts(tmp_path, *spans), SPEC)


def test_a_list_or_part_that_is_missing_or_of_another_dimension_is_named(tmp_path: Path) -> None:
    path = _parts(tmp_path, (0, 10), (10, 10))
    write_vectors(tmp_path / "1.parquet", 10, dim=8)
    with pytest.raises(IntegrityError, match="vectors of 8 numbers"):
        ItemVectors(path, SPEC)
    (tmp_path / "1.parquet").unlink()
    with pytest.raises(IntegrityError, match=r"1\.parquet: not readable"):
        ItemVectors(path, SPEC)
    path.write_text('{"parts": []}')
    with pytest.raises(IntegrityError, match="parts"):
        ItemVectors(path, SPEC)


@pytest.mark.parametrize("error", [OSError(errno.EBUSY, "slow down"), EndpointConnectionError(endpoint_url="s3")])
def test_a_store_that_does_not_answer_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    made = _parts(tmp_path, (0, 5), (5, 9))

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("pagoda.item_vectors.vector_files.fsspec.open", fail)
    with pytest.raises(UnavailableError, match=r"0\.parquet"):
        ItemVectors(made, SPEC)


def test_files_hold_lists_as_bulk_import_reads_them(tmp_path: Path) -> None:
    write_vectors(tmp_path / "v.parquet", 10)
    schema = pq.read_schema(tmp_path / "v.parquet")
    assert str(schema.field("vector").type) == "list<element: float not null>"
    assert str(schema.field("genres").type).startswith("list<")
    assert b"ARROW:schema" not in schema.metadata


def test_a_damaged_page_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    write_vectors(path, 1000)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="not readable"):
        list(ItemVectors(path, SPEC).batches())
