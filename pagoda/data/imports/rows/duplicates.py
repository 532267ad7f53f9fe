"""Rows that came before: IDs of a table, and interactions that are equal in user, item, event and moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.checks.problems import Kind, Problem
from pagoda.data.ids import hash_ids
from pagoda.data.imports.rows.refusals import Reason, Refusals
from pagoda.data.imports.rows.sifted_rows import SiftedRows
from pagoda.data.layout import Table, key_column
from pagoda.data.sorting.external_sort import ExternalSorter

_ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)
_FILE, _ROW, _ID = "#file", "#row", "#id"
_CAME_BEFORE = "came before"


class FirstOfEachId:
    """Takes the rows of `users` or `items`, and gives the first of each ID; the others are refused."""

    def __init__(self, table: Table, refusals: Refusals, folder: Path, budget_bytes: int) -> None:
        self._table, self._refusals = table, refusals
        self._sorter = ExternalSorter(_ID, folder, budget_bytes)
        self._files = _Files()

    def add(self, rows: SiftedRows) -> None:
        """Take those rows of a batch that are not left out."""
        batch = rows.batch.take(pa.array(rows.kept))
        keys = batch[key_column(self._table)]
        ids = pa.array(hash_ids(keys)) if pa.types.is_string(keys.type) else keys
        places = self._files.of(rows.file, len(batch)), pa.array(rows.kept + rows.first_row)
        columns = [*batch.columns, ids, *places]
        self._sorter.add(pa.RecordBatch.from_arrays(columns, names=[*batch.schema.names, _ID, _FILE, _ROW]))

    def rows(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The first row of each ID."""
        key = key_column(self._table)
        for batch, again in _repeated(self._sorter.rows(), [key]):
            self._files.refuse(self._refusals, self._table, batch.filter(pa.array(again)), key)
            yield batch.filter(pa.array(~again)).select(schema.names)


class Repeats:
    """Finds interactions that are equal to one before them."""

    def __init__(self, refusals: Refusals, folder: Path, budget_bytes: int) -> None:
        self._refusals = refusals
        self._sorter = ExternalSorter(_ID, folder, budget_bytes)
        self._files = _Files()

    def add(self, file: str, rows: np.ndarray, numbers: np.ndarray, keys: dict[str, np.ndarray]) -> None:
        """Take interactions by row and running number; `keys` is what must be equal, each int64 [n]."""
        columns = {
            _ID: _mixed(list(keys.values())),
            **keys,
            "number": numbers,
            _FILE: self._files.of(file, len(rows)),
            _ROW: rows,
        }
        self._sorter.add(pa.RecordBatch.from_pydict({name: pa.array(column) for name, column in columns.items()}))

    def numbers(self) -> Iterator[np.ndarray]:
        """The numbers of those that came before; they are refused."""
        for batch, again in _repeated(self._sorter.rows(), None):
            gone = batch.filter(pa.array(again))
            self._files.refuse(self._refusals, "interactions", gone, None)
            yield gone["number"].to_numpy()


class _Files:
    """Names of files by number."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def of(self, file: str, rows: int) -> pa.Array:
        """The file's number, for so many rows."""
        if file not in self.names[-1:]:
            self.names.append(file)
        return pa.array(np.full(rows, len(self.names) - 1, np.int32))

    def refuse(self, refusals: Refusals, table: Table, rows: pa.RecordBatch, key: str | None) -> None:
        """File rows by the file that each is of; `key` names the column that came before, None: all did."""
        number = rows[_FILE].to_numpy()
        for file in np.unique(number):
            gone = rows.filter(pa.array(number == file))
            values = gone[key] if key is not None else pa.nulls(len(gone), pa.string())
            problem = Problem(Kind.DUPLICATE, self.names[file], _CAME_BEFORE, key)
            refusals.refuse(Reason.DUPLICATES, problem, table, gone[_ROW].to_numpy(), values)


def _repeated(
    batches: Iterator[pa.RecordBatch], names: list[str] | None
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """Sorted batches, and which rows (bool [n]) equal the row before in `names`; None: in all but their place."""
    previous: pa.RecordBatch | None = None
    for batch in batches:
        both = batch if previous is None else pa.concat_batches([previous, batch])
        again = np.ones(both.num_rows - 1, bool)
        for name in names or [one for one in batch.schema.names if one not in ("number", _FILE, _ROW)]:
            same = pc.equal(both[name][1:], both[name][:-1]).fill_null(False)
            again &= same.to_numpy(zero_copy_only=False)
        yield batch, again if previous is not None else np.append(False, again)
        previous = batch.slice(batch.num_rows - 1)


def _mixed(columns: list[np.ndarray]) -> np.ndarray:
    """One int64 of several: equal rows have equal ones, and others hardly ever."""
    mixed = np.zeros(len(columns[0]), np.uint64)
    for odd, column in zip(_ODD, columns, strict=True):
        mixed = (mixed ^ column.view(np.uint64)) * np.uint64(odd)
        mixed ^= mixed >> np.uint64(29)
    return mixed.view(np.int64)
