"""Every ID that was met, and where, in bounded memory: finds duplicates and hash collisions, and gives distinct IDs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.checks.distinct_numbers import DistinctNumbers
from pagoda.data.checks.problems import Kind, Problem, ProblemSink, shown
from pagoda.data.ids import hash_ids
from pagoda.data.sorting.external_sort import BUDGET_BYTES, ExternalSorter


class IdPlace(NamedTuple):
    """An ID as it was given, and where."""

    key: int | str
    file: str
    row: int


@dataclass(frozen=True)
class FiledIds:
    """The distinct strings of a ledger and where each was first, for another to take."""

    path: Path | None
    """None: there was no ID."""
    files: list[str]


class IdLedger:
    """IDs with file and row. `distinct`: an ID may come many times, so only the first place is remembered."""

    def __init__(self, column: str, folder: Path, *, distinct: bool, budget_bytes: int = BUDGET_BYTES) -> None:
        self._column = column
        self._folder, self._distinct = folder, distinct
        self._key = "id"
        """Column of the IDs as they were given: of strings another than that of their hashes."""
        reduce = _first_of_each if distinct else None
        self._sorter = ExternalSorter("id", folder, budget_bytes, reduce)
        self._numbers = DistinctNumbers(folder, budget_bytes)
        self._files: list[str] = []

    def add(self, keys: pa.Array, file: str, first_row: int) -> np.ndarray:
        """Take the IDs (int64 or string) of consecutive rows of `file`; return them as int64 [n].

        Null IDs are left out here, they have a message of their own; in the answer they are 0.
        """
        if file not in self._files[-1:]:
            self._files.append(file)
        valid = keys.is_valid().to_numpy(zero_copy_only=False)
        present = keys.drop_null()
        strings = pa.types.is_string(keys.type)
        self._key = "key" if strings else "id"
        ids = hash_ids(present) if strings else present.to_numpy()
        if self._distinct and not strings:  # Nothing can be wrong with them, so no place has to be named.
            self._numbers.add(ids)
        else:
            files = pa.repeat(pa.scalar(len(self._files) - 1, pa.int32()), len(ids))
            columns = {"id": pa.array(ids), "file": files, "row": pa.array(np.flatnonzero(valid) + first_row)}
            batch = pa.RecordBatch.from_pydict(columns | ({"key": present} if strings else {}))
            self._sorter.add(_unique(batch, self._key) if self._distinct else batch)
        if len(present) == len(keys):
            return ids
        everything = np.zeros(len(keys), np.int64)
        everything[valid] = ids
        return everything

    def file(self) -> FiledIds:
        """Write the strings of this ledger, which is `distinct`, into its folder; who takes them removes the file."""
        rows = self._sorter.rows()
        if (first := next(rows, None)) is None:
            return FiledIds(None, self._files)
        path = self._folder / f"{self._column}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, first.schema) as writer:
            for batch in chain([first], rows):
                writer.write_batch(batch)
        return FiledIds(path, self._files)

    def take(self, filed: FiledIds) -> None:
        """Take what another ledger met after all that this one did, as if it had been added here."""
        if filed.path is None:
            return
        self._key = "key"
        others = len(self._files)
        self._files += filed.files
        with pa.OSFile(str(filed.path)) as file, pa.ipc.open_file(file) as reader:
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                files = pc.add(batch["file"], pa.scalar(others, pa.int32()))
                self._sorter.add(batch.set_column(batch.schema.get_field_index("file"), "file", files))
        filed.path.unlink()

    def report(self, sink: ProblemSink) -> None:
        """Tell `sink` of two strings with one hash, and, unless `distinct`, of IDs that came twice."""
        for batch in _with_previous(self._sorter.rows()):
            same_id = pc.equal(batch["id"][1:], batch["id"][:-1])
            same_key = pc.equal(batch[self._key][1:], batch[self._key][:-1])
            self._tell(sink, Kind.COLLISION, batch, pc.and_not(same_id, same_key))
            if not self._distinct:
                self._tell(sink, Kind.DUPLICATE, batch, same_key)

    def distinct_keys(self) -> Iterator[pa.Array]:
        """The distinct IDs as they were given, in order of their int64 form."""
        rows = self._sorter.rows() if self._key == "key" else self._numbers.batches()
        for batch in _with_previous(rows, start=True):
            repeated = pc.equal(batch["id"][1:], batch["id"][:-1]).fill_null(False)
            yield batch[self._key][1:].filter(pc.invert(repeated))

    def _tell(self, sink: ProblemSink, kind: Kind, batch: pa.RecordBatch, found: pa.BooleanArray) -> None:
        for position in np.flatnonzero(found.to_numpy(zero_copy_only=False)):
            pair = batch.slice(int(position), 2).to_pylist()
            first, second = (IdPlace(one[self._key], self._files[one["file"]], one["row"]) for one in pair)
            sink.add(id_problem(kind, self._column, first, second))


def id_problem(kind: Kind, column: str, first: IdPlace, second: IdPlace) -> Problem:
    """A DUPLICATE, or a COLLISION, of an ID with one that came before."""
    place = f"row {first.row:,} of {first.file}"
    message = f"the ID was already in {place}; keep one of the rows"
    if kind is Kind.COLLISION:
        message = f"its 64-bit hash is that of {first.key!r} in {place}; rename one of the two"
    return Problem(kind, second.file, message, column, second.row, shown(pa.scalar(second.key)))


def _with_previous(batches: Iterator[pa.RecordBatch], *, start: bool = False) -> Iterator[pa.RecordBatch]:
    """Sorted batches, each led by the row before it; `start`: the first by a row that equals no ID."""
    previous: pa.RecordBatch | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        if previous is None and start:
            previous = pa.RecordBatch.from_pylist([{}], batch.schema)
        yield batch if previous is None else pa.concat_batches([previous, batch])
        previous = batch.slice(batch.num_rows - 1)


def _unique(batch: pa.RecordBatch, key: str) -> pa.RecordBatch:
    """The first row of each key; keys of one hash stay apart, so that the collision is seen."""
    # Codes are given in the order in which their values come first.
    codes = batch[key].dictionary_encode().indices.to_numpy()
    return batch.take(pa.array(np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1))))


def _first_of_each(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Of sorted rows, those that differ from the one before in ID or key."""
    ids = batch["id"].to_numpy()
    other = ids[1:] != ids[:-1]
    if "key" in batch.schema.names:
        other |= pc.not_equal(batch["key"][1:], batch["key"][:-1]).to_numpy(zero_copy_only=False)
    return batch.take(pa.array(np.flatnonzero(np.append(True, other))))
