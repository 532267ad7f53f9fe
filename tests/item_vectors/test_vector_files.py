from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pagoda.data.spec import Categorical, Dense, FeatureSpec
from pagoda.errors import ConfigError, DataError, IntegrityError
from pagoda.item_vectors.fields import MISSING_NUMBER
from pagoda.item_vectors.parts import PARTS_FILE, VectorPart, VectorParts
from pagoda.item_vectors.vector_files import ItemVectors, ItemVectorsWriter
from pagoda.storage.checksums import checksum_file

from .worlds import SPEC, items_table, unit_vectors, write_vectors


def test_what_was_written_comes_back_without_nulls(tmp_path: Path) -> None:
    vectors = write_vectors(tmp_path / "v.parquet", 25_000)
    source = ItemVectors(tmp_path / "v.parquet", SPEC)

    blocks = list(source.blocks(batch_rows=999))
    assert (source.rows, source.dim) == (25_000, 16)
    assert np.array_equal(np.concatenate([ids for ids, _ in blocks]), np.arange(25_000))
    assert np.array_equal(np.concatenate([block for _, block in blocks]), vectors)
    first = next(source.batches()).slice(0, 2).to_pylist()
    assert (first[0]["kind"], first[0]["genres"], first[0]["release_year"]) == ("", [], MISSING_NUMBER)
    assert (first[1]["kind"], first[1]["genres"], first[1]["release_year"]) == ("kind 1", ["g1", "all"], 1951.0)


def test_nulls_inside_a_list_are_left_out_and_string_ids_are_kept(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"id_type": "string"})
    items = items_table(3).set_column(2, "genres", pa.array([["a", None], None, [None]], pa.list_(pa.string())))
    items = items.append_column("item_key", pa.array(["x", "y", "z"]))
    with ItemVectorsWriter(tmp_path / "v.parquet", spec, 16) as writer:
        writer.write(items, unit_vectors(3))
    rows = next(ItemVectors(tmp_path / "v.parquet", spec).batches()).to_pylist()
    assert [row["genres"] for row in rows] == [["a"], [], []]
    assert [row["item_key"] for row in rows] == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda items, vectors: (items, vectors * 2), "has length 2, expected 1"),
        (lambda items, vectors: (items, np.where(vectors == vectors[3], np.nan, vectors)), "item_id 3 has length nan"),
        (lambda items, vectors: (items, vectors[:, :8]), r"expected \(10, 16\)"),
        (lambda items, vectors: (items.take([0, 1, 1, *range(3, 10)]), vectors), "item_id 1 follows 1"),
        (
            lambda items, vectors: (items.set_column(1, "kind", pa.array(["x" * 2000] * 10)), vectors),
            "'kind': 2000 bytes",
        ),
        (lambda items, vectors: (items.set_column(2, "genres", pa.array([["x"] * 300] * 10)), vectors), "300 values"),
        (lambda items, vectors: (items.set_column(2, "genres", pa.array([["é" * 600]] * 10)), vectors), "1200 bytes"),
    ],
)
def test_a_refused_row_leaves_no_file(tmp_path: Path, spoil: object, complaint: str) -> None:
    items, vectors = spoil(items_table(10), unit_vectors(10))
    with (
        pytest.raises((IntegrityError, DataError), match=complaint),
        ItemVectorsWriter(tmp_path / "v", SPEC, 16) as writer,
    ):
        writer.write(items, vectors)
    assert list(tmp_path.iterdir()) == []


def test_vectors_of_any_length_are_written_as_such_and_not_mixed_with_others(tmp_path: Path) -> None:
    lengths = np.linspace(0, 90, 10, dtype=np.float32)[:, None]
    with ItemVectorsWriter(tmp_path / "dot", SPEC, 16, "dot") as writer:
        writer.write(items_table(10), unit_vectors(10) * lengths)
    write_vectors(tmp_path / "cosine", 20)
    dot, cosine = (ItemVectors(tmp_path / name, SPEC) for name in ("dot", "cosine"))
    assert (dot.similarity, cosine.similarity) == ("dot", "cosine")
    assert np.array_equal(next(dot.blocks())[1], unit_vectors(10) * lengths)
    for wrong, complaint in ((np.nan, "length nan"), (2e4, "length 2e\\+04, expected at most 10,000")):
        with (
            pytest.raises(IntegrityError, match=complaint),
            ItemVectorsWriter(tmp_path / "wrong", SPEC, 16, "dot") as writer,
        ):
            writer.write(items_table(10), unit_vectors(10) * wrong)
    with ItemVectorsWriter(tmp_path / "later", SPEC, 16) as writer:
        writer.write(items_table(5, 10), unit_vectors(5))
    parts = tuple(
        VectorPart(uri=str(tmp_path / name), checksum=checksum_file(tmp_path / name)) for name in ("dot", "later")
    )
    VectorParts(parts=parts).write(tmp_path / PARTS_FILE)
    with pytest.raises(IntegrityError, match=r"later: vectors are compared by cosine, those of .*dot by dot"):
        ItemVectors(tmp_path / PARTS_FILE, SPEC)


def test_a_file_of_another_spec_or_a_cut_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    write_vectors(path, 100)
    with pytest.raises(IntegrityError, match=r"columns are .*kind: string.* expected"):
        ItemVectors(path, FeatureSpec())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(IntegrityError, match="not readable"):
        ItemVectors(path, SPEC)
    with pytest.raises(IntegrityError, match="not readable"):
        ItemVectors(tmp_path / "absent", SPEC)


@pytest.mark.parametrize("name", ["vector", "release year", "1st", ""])
def test_names_that_milvus_does_not_take_are_refused(tmp_path: Path, name: str) -> None:
    spec = FeatureSpec(features=(Categorical(name=name, tower="item", filterable=True),))
    with pytest.raises(ConfigError, match="name"):
        ItemVectorsWriter(tmp_path / "v", spec, 4)


def test_a_dense_feature_cannot_be_filterable(tmp_path: Path) -> None:
    spec = FeatureSpec(features=(Dense(name="image", tower="item", length=4, filterable=True),))
    with pytest.raises(ConfigError, match="'image': a dense feature cannot be filterable"):
        ItemVectorsWriter(tmp_path / "v", spec, 4)
