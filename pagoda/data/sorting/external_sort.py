"""External merge sort: any number of rows in time or ID order, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.sorting.batches import keys_of, merged, sort_batch

BUDGET_BYTES = 64 << 20
FAN_IN = 64
_SPILL_ROWS = 16_384

Reduce = Callable[[pa.RecordBatch], pa.RecordBatch]


@dataclass
class ExternalSorter:
    """Sorts rows by one integer or timestamp column; rows with equal keys stay in the order in which they came."""

    column: str
    folder: Path
    """An existing folder for sorted runs, on a disk with room for the rows; the caller removes it."""
    budget_bytes: int = BUDGET_BYTES
    """Rows held before they are sorted and spilled."""
    reduce: Reduce | None = None
    """Applied to sorted rows: may drop some that a later step would drop anyway."""
    distinct: bool = False
    """Of equal rows one is enough; there is no column beside the one to sort by."""
    known: Mapping[str, pa.Array] = field(default_factory=dict)
    """Column → all values that it may have, where they are few: rows are moved as numbers instead."""
    _held: list[pa.RecordBatch] = field(default_factory=list)
    _held_bytes: int = 0
    _runs: list[Path] = field(default_factory=list)
    _spilled: int = 0
    _spilling: Future[Path] | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows in any order."""
        if not batch.num_rows:
            return
        rows = self._as_numbers(batch)
        if not self.distinct:
            # While they are in the processor's cache: what is held is then merged piece by piece.
            rows = sort_batch(rows, self.column)
        self._held.append(rows)
        self._held_bytes += rows.nbytes
        if self._held_bytes >= self.budget_bytes // 2:  # The other half is being written meanwhile.
            self._spill_held()

    def rows(self) -> Iterator[pa.RecordBatch]:
        """All rows in order. Call it when everything was added; it may be called again."""
        for batch in self._sorted_rows():
            yield self._as_given(batch)

    def _sorted_rows(self) -> Iterator[pa.RecordBatch]:
        self._wait()
        if not self._runs:
            self._held = list(self._sorted(self._held)) if self._held else []
            yield from self._held
            return
        if self._held:
            self._spill_held()
            self._wait()
        while len(self._runs) > FAN_IN:
            # Neighbours are merged, so that equal keys stay in the order in which they came.
            groups = [self._runs[start : start + FAN_IN] for start in range(0, len(self._runs), FAN_IN)]
            self._runs = [self._merge_spilled(group) for group in groups]
        yield from _merge(self._runs, self.column)

    def _as_numbers(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        for column, values in self.known.items():
            places = pc.index_in(batch[column], values).cast(pa.int16())
            numbers = pa.DictionaryArray.from_arrays(places, values)
            batch = batch.set_column(batch.schema.get_field_index(column), column, numbers)
        return batch

    def _as_given(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        for column in self.known:
            values = batch[column].dictionary_decode()
            batch = batch.set_column(batch.schema.get_field_index(column), column, values)
        return batch

    def _sorted(self, held: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        if self.distinct:
            # Hashing is cheaper than sorting, the more so the fewer are left.
            batch = pa.concat_batches(held)
            few = pa.RecordBatch.from_arrays([pc.unique(batch.column(0))], schema=batch.schema)
            yield sort_batch(few, self.column)
            return
        for batch in merged(held, self.column):
            yield batch if self.reduce is None else self.reduce(batch)

    def _spill_held(self) -> None:
        """Sort and spill what is held, in a thread of its own; one at a time."""
        self._wait()
        held, self._held, self._held_bytes = self._held, [], 0
        path, file = self._new_run()
        thread = ThreadPoolExecutor(1)
        self._spilling = thread.submit(lambda: _write(path, file, self._sorted(held)))
        thread.shutdown(wait=False)

    def _wait(self) -> None:
        """Until nothing is being spilled; raises what went wrong."""
        if self._spilling is not None:
            self._runs.append(self._spilling.result())
            self._spilling = None

    def _merge_spilled(self, runs: list[Path]) -> Path:
        merged = _write(*self._new_run(), _merge(runs, self.column))
        for run in runs:
            run.unlink()
        return merged

    def _new_run(self) -> tuple[Path, pa.NativeFile]:
        """A new file, made before a thread writes it: when the folder is removed early, nothing comes after that."""
        path = self.folder / f"{self.column}-{id(self)}-{self._spilled}.arrow"
        self._spilled += 1
        return path, pa.OSFile(str(path), "wb")


def _write(path: Path, file: pa.NativeFile, batches: Iterator[pa.RecordBatch]) -> Path:
    first = next(batches)
    with file, pa.ipc.new_file(file, first.schema) as writer:
        for batch in chain([first], batches):
            # Evenly, since a merge goes by the batch that ends first: it would have little to do for a short one.
            rows = -(-batch.num_rows // -(-batch.num_rows // _SPILL_ROWS))
            writer.write_table(pa.Table.from_batches([batch]), rows)
    return path


class _Run:
    """A sorted file, read batch by batch; `batch` is what of it is loaded and not yet given out."""

    batch: pa.RecordBatch
    keys: np.ndarray

    def __init__(self, number: int, path: Path, column: str) -> None:
        self.number = number
        self._column = column
        self._reader = pa.ipc.open_file(pa.OSFile(str(path)))
        self._next = 0
        self._load()

    @property
    def last(self) -> tuple[int, int]:
        """Key of the last loaded row, and the run's number, which orders equal keys."""
        return int(self.keys[-1]), self.number

    def take_until(self, horizon: tuple[int, int]) -> pa.RecordBatch:
        """Give out the loaded rows up to `horizon`."""
        key, number = horizon
        end = int(np.searchsorted(self.keys, key, side="right" if self.number <= number else "left"))
        taken = self.batch.slice(0, end)
        self.batch, self.keys = self.batch.slice(end), self.keys[end:]
        return taken

    def more(self) -> bool:
        """Load the next rows if none is left; False at the run's end."""
        if self.batch.num_rows:
            return True
        if self._next == self._reader.num_record_batches:
            return False
        self._load()
        return True

    def _load(self) -> None:
        self.batch = self._reader.get_batch(self._next)
        self.keys = keys_of(self.batch, self._column)
        self._next += 1


def _merge(paths: list[Path], column: str) -> Iterator[pa.RecordBatch]:
    runs = [_Run(number, path, column) for number, path in enumerate(paths)]
    while runs:
        # Every row up to the end of the run that ends first is loaded, so these rows can go.
        horizon = min(run.last for run in runs)
        yield sort_batch(pa.concat_batches([run.take_until(horizon) for run in runs]), column)
        runs = [run for run in runs if run.more()]
