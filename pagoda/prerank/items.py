"""`prerank_items.arrow`: what a pre-ranker reads of items, by ID, in the file as it lies on disk.

Rows ascend by ID in one record batch without compression, so columns are arrays over mapped pages: memory follows what
is asked, and all processes of a machine share it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.embeddings.sorted_ids import SortedIds
from pagoda.errors import IntegrityError
from pagoda.model.encoder import Encoded
from pagoda.prerank.groups import POPULARITY

ITEMS_FILE = "prerank_items.arrow"
_ID, _VECTOR, _FEATURE = "item_id", "vector", "feature."
_MATRIX = 2
Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]


class EncodedItems:
    """Vectors, popularity and encoded features of items; in the files of one or several parts, or in memory."""

    def __init__(self, parts: Sequence[tuple[Int64Array, Encoded]]) -> None:
        """Take parts whose IDs ascend from each to the next: IDs int64 [n], and columns by name, as in `columns_of`."""
        kept = [part for part in parts if len(part[0])]
        self._search = [SortedIds(ids) for ids, _ in kept]
        self._columns: list[Mapping[str, NDArray[Any]]] = [columns for _, columns in kept]
        self._firsts = np.array([ids[0] for ids, _ in kept], np.int64)
        self._starts = np.cumsum([0, *(len(ids) for ids, _ in kept)])
        self._changed: SortedIds | None = None

    @classmethod
    def open(cls, paths: Sequence[Path]) -> EncodedItems:
        """Map the files of `write_items`. They may be unlinked meanwhile.

        Raises:
            IntegrityError: One is not readable.
        """
        return cls([_mapped(path) for path in paths])

    def under(self, ids: Int64Array, columns: Mapping[str, NDArray[Any]]) -> EncodedItems:
        """The same where some items, IDs int64 [m], ascending, have other columns by now, or are new.

        Raises:
            ValueError: There are such already; begin with those that were exported.
        """
        if self._changed is not None:
            raise ValueError("items lie under changes already")
        other = copy.copy(self)
        other._changed, other._columns = SortedIds(ids), [*self._columns, columns]
        other._starts = np.append(self._starts, self._starts[-1] + len(ids))
        return other

    def find(self, ids: Int64Array) -> tuple[Int64Array, NDArray[np.bool_]]:
        """Where each of `ids` [n] is, int64 [n], 0 where it is not; and which are here, bool [n]."""
        places, there = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.bool_)
        for number, own in _by_part(np.searchsorted(self._firsts, ids, side="right") - 1):
            found, here = self._search[number].find(ids[own])
            places[own], there[own] = np.where(here, found + self._starts[number], 0), here
        if self._changed is not None:
            found, here = self._changed.find(ids)
            places, there = np.where(here, found + self._starts[-2], places), there | here
        return places, there

    def vectors(self, places: Int64Array) -> Float32Array:
        """float32 [n, D], of items at places [n]."""
        vectors: Float32Array = self._take(_VECTOR, places).astype(np.float32)
        return vectors

    def popularity(self, places: Int64Array) -> Float32Array:
        """float32 [n, 1], see `columns_of`."""
        return self._take(POPULARITY, places)[:, None]

    def feature(self, name: str, places: Int64Array) -> NDArray[Any]:
        """As `Encoder` gives it, of items at places [n]."""
        return self._take(_FEATURE + name, places)

    def category(self, name: str, places: Int64Array) -> Int64Array:
        """The category that items are in by a feature, int64 [n]: of several the first; at most 0: it is not known."""
        values = self.feature(name, places)
        return values[:, 0] if values.ndim == _MATRIX else values

    def _take(self, name: str, places: Int64Array) -> NDArray[Any]:
        if len(self._columns) == 1:  # As nearly always.
            taken: NDArray[Any] = self._columns[0][name][places]
            return taken
        first = self._columns[0][name]
        values = np.empty((len(places), *first.shape[1:]), first.dtype)
        for number, own in _by_part(np.searchsorted(self._starts, places, side="right") - 1):
            values[own] = self._columns[number][name][places[own] - self._starts[number]]
        return values


def columns_of(vectors: Float32Array, popularity: NDArray[np.float64], features: Mapping[str, NDArray[Any]]) -> Encoded:
    """What is kept of n items.

    Args:
        vectors: [n, D] of the item tower, kept as float16.
        popularity: float64 [n], above 0: how many times as popular as items are on average; kept as its logarithm.
        features: As `Encoder` gives them.
    """
    kept = {_FEATURE + name: values for name, values in features.items()}
    return {_VECTOR: vectors.astype(np.float16), POPULARITY: np.log(popularity).astype(np.float32), **kept}


def write_items(path: Path, ids: Int64Array, columns: Encoded) -> None:
    """Write what `columns_of` has of items with IDs int64 [n], ascending."""
    table = pa.table({_ID: ids, **{name: _column(values) for name, values in columns.items()}})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _column(values: NDArray[Any]) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1]) if values.ndim == _MATRIX else flat


def _mapped(path: Path) -> tuple[Int64Array, Encoded]:
    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        columns = {name: _array(table.column(name)) for name in table.column_names}
        return columns.pop(_ID), columns
    except (OSError, KeyError, pa.ArrowException) as error:
        raise IntegrityError(f"{path}: not readable as the items of a pre-ranker ({error})") from error


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column of one batch as it lies there; of lists, [n, width]."""
    values = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    if not pa.types.is_fixed_size_list(values.type):
        return np.asarray(values.to_numpy())
    flat: NDArray[Any] = values.flatten().to_numpy()
    return flat.reshape(len(values), values.type.list_size)


def _by_part(parts: Int64Array) -> Iterator[tuple[int, Int64Array]]:
    """Each part that is named in `parts` [n], and where; -1 is none."""
    for number in np.unique(parts[parts >= 0]).tolist():
        yield number, np.flatnonzero(parts == number)
