"""`item_vectors.parquet`: every item's ID, unit vector and filter columns, written and read as a stream."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.data.spec import FeatureSpec
from pagoda.errors import IntegrityError
from pagoda.index.columns import filter_column, key_column
from pagoda.index.fields import ITEM_ID, ITEM_KEY, VECTOR, filter_fields, vectors_schema
from pagoda.storage import fsync_folder

BATCH_ROWS = 16_384
_UNIT_TOLERANCE = 1e-3


class ItemVectorsWriter:
    """Writes the file aside and moves it to its name when the block ends well; otherwise nothing remains."""

    def __init__(self, path: Path, spec: FeatureSpec, dim: int) -> None:
        self._path = path
        self._aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        self._spec, self._dim = spec, dim
        self._schema = vectors_schema(spec, dim)
        self._last_id: int | None = None

    def __enter__(self) -> ItemVectorsWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._aside, self._schema, compression="zstd")
        return self

    def write(self, items: pa.Table, vectors: np.ndarray) -> None:
        """Append the vectors of some items.

        Args:
            items: Rows of `Dataset.items()`: `item_id` ascending over all calls, `item_key` with string IDs, features.
            vectors: float32 [rows, dim], of unit length, finite.

        Raises:
            IntegrityError: A vector is not finite or not of unit length, or IDs are not ascending.
            DataError: A value of a filter column does not fit into a collection.
        """
        ids = items[ITEM_ID].combine_chunks().to_numpy(zero_copy_only=False)
        self._check(ids, vectors)
        self._writer.write_batch(vectors_batch(self._spec, items, vectors))

    def _check(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        if vectors.shape != (len(ids), self._dim):
            raise IntegrityError(f"{self._path}: vectors are {vectors.shape}, expected {(len(ids), self._dim)}")
        chain = ids if self._last_id is None else np.concatenate([[self._last_id], ids])
        if (falls := np.flatnonzero(chain[1:] <= chain[:-1])).size:
            before, after = chain[falls[0] : falls[0] + 2]
            raise IntegrityError(f"{self._path}: item_id {after} follows {before}; IDs must ascend")
        norms = np.linalg.norm(vectors, axis=1)
        # Written so that NaN counts as wrong.
        if (wrong := np.flatnonzero(~(np.abs(norms - 1) <= _UNIT_TOLERANCE))).size:
            item, norm = ids[wrong[0]], norms[wrong[0]]
            raise IntegrityError(f"{self._path}: vector of item_id {item} has length {norm:.4g}, expected 1")
        if len(ids):
            self._last_id = int(ids[-1])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        if kind is not None:
            self._aside.unlink(missing_ok=True)
            return
        self._aside.replace(self._path)
        fsync_folder(self._path.parent)


def vectors_batch(spec: FeatureSpec, items: pa.Table, vectors: np.ndarray) -> pa.RecordBatch:
    """Items as a collection stores them.

    Args:
        spec: The feature declaration.
        items: n rows of `Dataset.items()`.
        vectors: float32 [n, dim].

    Raises:
        DataError: A value of a filter column does not fit into a collection.
    """
    ids = items[ITEM_ID].combine_chunks().to_numpy(zero_copy_only=False)
    schema = vectors_schema(spec, vectors.shape[1])
    columns = [items[ITEM_ID].combine_chunks()]
    if ITEM_KEY in schema.names:
        columns.append(key_column(items[ITEM_KEY].combine_chunks(), ids))
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    columns.append(pa.FixedSizeListArray.from_arrays(flat, type=schema.field(VECTOR).type))
    columns.extend(filter_column(field, items[field.name].combine_chunks(), ids) for field in filter_fields(spec))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


class ItemVectors:
    """Reads the file. Memory follows a batch."""

    def __init__(self, path: Path, spec: FeatureSpec) -> None:
        """Open the file and compare its columns with what `spec` declares.

        Raises:
            IntegrityError: The file is missing, damaged, or was written for another spec.
        """
        self.path = path
        try:
            self._file = pq.ParquetFile(path)
            schema = self._file.schema_arrow
            self.dim: int = schema.field(VECTOR).type.list_size
            """Length of a vector."""
        except (OSError, KeyError, AttributeError, pa.ArrowException) as error:
            raise IntegrityError(f"{path}: not readable as item vectors ({error})") from error
        expected = vectors_schema(spec, self.dim)
        if not schema.equals(expected):
            raise IntegrityError(f"{path}: columns are [{_describe(schema)}], expected [{_describe(expected)}]")
        self.rows: int = self._file.metadata.num_rows
        """Number of items."""

    def batches(self, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """All columns, in ascending order of `item_id`."""
        try:
            yield from self._file.iter_batches(batch_rows)
        except (OSError, pa.ArrowException) as error:
            raise IntegrityError(f"{self.path}: damaged ({error})") from error

    def blocks(self, batch_rows: int = BATCH_ROWS) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """IDs (int64 [n], ascending) and vectors (float32 [n, dim])."""
        try:
            for batch in self._file.iter_batches(batch_rows, columns=[ITEM_ID, VECTOR]):
                yield batch[ITEM_ID].to_numpy(), vectors_of(batch)
        except (OSError, pa.ArrowException) as error:
            raise IntegrityError(f"{self.path}: damaged ({error})") from error


def vectors_of(batch: pa.RecordBatch) -> np.ndarray:
    """The vector column as float32 [rows, dim], without a copy."""
    column = batch[VECTOR]
    vectors: np.ndarray = column.flatten().to_numpy().reshape(len(column), -1)
    return vectors


def _describe(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
