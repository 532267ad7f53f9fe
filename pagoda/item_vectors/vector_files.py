"""`item_vectors.parquet`: every item's ID, vector and filter columns, written and read as a stream."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import get_args

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.config.model import Similarity
from pagoda.data.spec import FeatureSpec
from pagoda.errors import IntegrityError, PagodaError, UnavailableError
from pagoda.item_vectors.columns import filter_column, key_column
from pagoda.item_vectors.fields import ITEM_ID, ITEM_KEY, VECTOR, filter_fields, vectors_schema
from pagoda.item_vectors.parts import is_list, read_parts
from pagoda.item_vectors.scoring import rule_columns, stored_vectors
from pagoda.storage.atomic import fsync_folder
from pagoda.storage.stores import is_of_a_store

BATCH_ROWS = 16_384
_UNIT_TOLERANCE = 1e-3
_LONGEST = 1e4
"""Length of a vector that is not of unit length: in two bytes, as originals are kept, a number ends at 65,504."""
_DIM = "pagoda.dim"
"""Numbers of a vector, in the metadata of the file."""
_SIMILARITY = "pagoda.similarity"
"""What vectors are compared by, likewise; absent: the cosine."""


class ItemVectorsWriter:
    """Writes the file aside and moves it to its name when the block ends well; otherwise nothing remains."""

    def __init__(self, path: Path, spec: FeatureSpec, dim: int, similarity: Similarity = "cosine") -> None:
        self._path, self._similarity = path, similarity
        self._aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        self._spec, self._dim = spec, dim
        self._schema = vectors_schema(spec, dim)
        self._last_id: int | None = None

    def __enter__(self) -> ItemVectorsWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Without Arrow's own schema in it: bulk import takes lists for vectors, and knows no list of fixed size.
        options = {"compression": "zstd", "write_page_checksum": True, "store_schema": False}
        self._writer = pq.ParquetWriter(self._aside, self._schema, **options)
        said = {} if self._similarity == "cosine" else {_SIMILARITY: self._similarity}
        self._writer.add_key_value_metadata({_DIM: str(self._dim), **said})
        return self

    def write(self, items: pa.Table, vectors: np.ndarray, shares: np.ndarray | None = None) -> None:
        """Append the vectors of some items.

        Args:
            items: Rows of `Dataset.items()`: `item_id` ascending over all calls, `item_key` with string IDs, features.
            vectors: float32 [rows, dim], finite; of unit length for cosines.
            shares: As for `vectors_batch`.

        Raises:
            IntegrityError: A vector is not finite, or, for cosines, not of unit length, or too long; or IDs are not
                ascending.
            DataError: A value of a filter column does not fit into a collection.
        """
        ids = items[ITEM_ID].combine_chunks().to_numpy(zero_copy_only=False)
        self._check(ids, vectors)
        self._writer.write_batch(vectors_batch(self._spec, items, vectors, shares))

    def _check(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        if vectors.shape != (len(ids), self._dim):
            raise IntegrityError(f"{self._path}: vectors are {vectors.shape}, expected {(len(ids), self._dim)}")
        chain = ids if self._last_id is None else np.concatenate([[self._last_id], ids])
        if (falls := np.flatnonzero(chain[1:] <= chain[:-1])).size:
            before, after = chain[falls[0] : falls[0] + 2]
            raise IntegrityError(f"{self._path}: item_id {after} follows {before}; IDs must ascend")
        norms = np.linalg.norm(vectors, axis=1)
        unit = self._similarity == "cosine"
        # Written so that NaN counts as wrong.
        if (wrong := np.flatnonzero(~(np.abs(norms - 1) <= _UNIT_TOLERANCE if unit else norms <= _LONGEST))).size:
            item, norm, expected = ids[wrong[0]], norms[wrong[0]], "1" if unit else f"at most {_LONGEST:,.0f}"
            raise IntegrityError(f"{self._path}: vector of item_id {item} has length {norm:.4g}, expected {expected}")
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


def vectors_batch(
    spec: FeatureSpec, items: pa.Table, vectors: np.ndarray, shares: np.ndarray | None = None
) -> pa.RecordBatch:
    """Items as the file has them; `stored_batch` makes of them what a collection stores.

    Args:
        spec: The feature declaration.
        items: n rows of `Dataset.items()`.
        vectors: float32 [n, dim].
        shares: Share of all clicks, [n], where rules want it.

    Raises:
        DataError: A value of a filter column does not fit into a collection, or a weight is none.
    """
    ids = items[ITEM_KEY if spec.id_type == "string" else ITEM_ID].combine_chunks()
    schema = vectors_schema(spec, vectors.shape[1])
    columns = [items[ITEM_ID].combine_chunks()]
    if ITEM_KEY in schema.names:
        columns.append(key_column(ids))
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    columns.append(pa.FixedSizeListArray.from_arrays(flat, type=schema.field(VECTOR).type))
    columns.extend(filter_column(field, items[field.name].combine_chunks(), ids) for field in filter_fields(spec))
    if spec.rules is not None:
        columns.extend(pa.array(values) for values in rule_columns(spec, items, shares).values())
    return pa.RecordBatch.from_arrays(columns, schema=schema)


class ItemVectors:
    """Reads the file, or the files that a list of parts names. Memory follows a batch."""

    def __init__(self, path: Path, spec: FeatureSpec) -> None:
        """Open what there is and compare its columns with what `spec` declares.

        Args:
            path: `item_vectors.parquet`, or an `item_vectors.json` whose parts may lie in an object store.
            spec: What the files were written for.

        Raises:
            IntegrityError: A file is missing, damaged, or was written for another spec; or parts overlap.
        """
        self.path = path
        self.files: tuple[str, ...] = (
            tuple(part.uri for part in read_parts(path).parts) if is_list(path) else (str(path),)
        )
        """Paths or URLs, in ascending order of the items in them."""
        opened = [_Opened.of(uri, spec) for uri in self.files]
        self.dim: int = opened[0].dim
        """Numbers of a vector."""
        self.similarity: Similarity = opened[0].similarity
        """What vectors are compared by."""
        self.rows: int = sum(one.rows for one in opened)
        """Number of items."""
        self._spec, self._schema = spec, vectors_schema(spec, self.dim)
        _follow_each_other(opened, self.dim)

    def batches(self, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """All columns, in ascending order of `item_id`."""
        for uri in self.files:
            with _reading(uri) as file:
                for batch in file.iter_batches(batch_rows):
                    yield batch.cast(self._schema)

    def stored(self, batch_rows: int = BATCH_ROWS) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """IDs, and vectors as a collection stores them (float32 [n, `stored_dim`])."""
        if self._spec.rules is None:
            yield from self.blocks(batch_rows)
            return
        for batch in self.batches(batch_rows):
            yield batch[ITEM_ID].to_numpy(), stored_vectors(vectors_of(batch), batch)

    def blocks(self, batch_rows: int = BATCH_ROWS) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """IDs (int64 [n], ascending) and vectors (float32 [n, dim])."""
        for uri in self.files:
            with _reading(uri) as file:
                for batch in file.iter_batches(batch_rows, columns=[ITEM_ID, VECTOR]):
                    yield batch[ITEM_ID].to_numpy(), vectors_of(batch)


@dataclass(frozen=True)
class _Opened:
    """What the footer of one file says."""

    uri: str
    dim: int
    similarity: Similarity
    rows: int
    first: int
    last: int

    @classmethod
    def of(cls, uri: str, spec: FeatureSpec) -> _Opened:
        with _reading(uri) as file:
            schema, footer = file.schema_arrow, file.metadata
            notes = footer.metadata or {}
            dim, similarity = _dim(uri, schema, notes), _similarity(uri, notes)
            expected = vectors_schema(spec, dim)
            if not _on_disk(schema).equals(_on_disk(expected)):
                raise IntegrityError(f"{uri}: columns are [{_describe(schema)}], expected [{_describe(expected)}]")
            found = [footer.row_group(group).column(0).statistics for group in range(footer.num_row_groups)]
            spans = [one for one in found if one is not None and one.has_min_max]
            ends = (spans[0].min, spans[-1].max) if spans else (0, -1)
            return cls(uri, dim, similarity, footer.num_rows, *ends)


def _dim(uri: str, schema: pa.Schema, notes: Mapping[bytes, bytes]) -> int:
    kind = schema.field(VECTOR).type if VECTOR in schema.names else None
    if isinstance(kind, pa.FixedSizeListType):
        return int(kind.list_size)
    if isinstance(kind, pa.ListType) and _DIM.encode() in notes:
        return int(notes[_DIM.encode()])
    raise IntegrityError(f"{uri}: not readable as item vectors (it has no column {VECTOR!r} of one dimension)")


def _similarity(uri: str, notes: Mapping[bytes, bytes]) -> Similarity:
    said = notes.get(_SIMILARITY.encode(), b"cosine").decode()
    if said not in get_args(Similarity):
        raise IntegrityError(f"{uri}: vectors are compared by {said!r}, expected one of {get_args(Similarity)}")
    return "dot" if said == "dot" else "cosine"


def _follow_each_other(files: list[_Opened], dim: int) -> None:
    for file in files:
        if file.dim != dim:
            raise IntegrityError(f"{file.uri}: vectors of {file.dim} numbers, those of {files[0].uri} have {dim}")
        if file.similarity != files[0].similarity:
            raise IntegrityError(
                f"{file.uri}: vectors are compared by {file.similarity}, those of {files[0].uri} by "
                f"{files[0].similarity}"
            )
    full = [file for file in files if file.rows]
    for before, after in pairwise(full):
        if after.first <= before.last:
            raise IntegrityError(
                f"{after.uri}: begins with item_id {after.first}, and {before.uri} ends with {before.last}; parts must "
                "ascend"
            )


@contextmanager
def _reading(uri: str) -> Iterator[pq.ParquetFile]:
    """A file at a path or URL, whose pages are verified against their checksums.

    Raises:
        IntegrityError: It is missing, damaged, or something else; the message names it.
        UnavailableError: Its store does not answer.
    """
    try:
        with fsspec.open(uri, "rb") as raw, pq.ParquetFile(raw, page_checksum_verification=True) as file:
            yield file
    except PagodaError:
        raise
    except Exception as error:
        if is_of_a_store(error) or _is_of_the_system(error):
            raise UnavailableError(f"{uri}: {error}") from error
        if not isinstance(error, OSError | ValueError | KeyError | pa.ArrowException):
            raise
        raise IntegrityError(f"{uri}: not readable as item vectors ({error})") from error


def _is_of_the_system(error: Exception) -> bool:
    """Whether reading failed for another reason than what is there; pyarrow numbers no OSError of a damaged file."""
    return isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileNotFoundError)


def vectors_of(batch: pa.RecordBatch) -> np.ndarray:
    """The vector column as float32 [rows, dim], without a copy."""
    column = batch[VECTOR]
    vectors: np.ndarray = column.flatten().to_numpy().reshape(len(column), -1)
    return vectors


def _on_disk(schema: pa.Schema) -> pa.Schema:
    """What Parquet itself keeps of a schema: lists without their size or the name of their elements."""
    return pa.schema([field.with_type(_plain(field.type)) for field in schema])


def _plain(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.ListType | pa.FixedSizeListType):
        return pa.list_(pa.field("element", kind.value_type))
    return kind


def _describe(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
