"""Items made of the columns that a log has of them: of each column the item's last value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.imports.rows.sifted_rows import SiftedRows
from pagoda.data.imports.table_reader import Extras
from pagoda.data.layout import schema_of
from pagoda.data.sorting.external_sort import ExternalSorter
from pagoda.data.spec import FeatureSpec

_ID, _TIME, _ITEM = "#id", "#time", "item_id"
_DIFFERS = "#differs "


class LogItems:
    """Takes what interactions say of their items."""

    def __init__(self, spec: FeatureSpec, folder: Path, budget_bytes: int) -> None:
        self._schema = schema_of(spec, "items")
        self._names = self._schema.names[1:]
        # By time within an item: what the reduction leaves of a run is one row an item.
        self._sorter = ExternalSorter(_ID, folder, budget_bytes, self._reduced)
        self.conflicts: Counter[str] = Counter()
        """Items with several values, by column; known when all items were given."""

    def add(self, rows: SiftedRows, ids: np.ndarray, extras: Extras) -> None:
        """Take the items of the rows that are not left out: as int64 [n], and what the rows say of them."""
        kept, items = rows.kept, extras.items
        if items is None or not len(kept):
            return
        taken = items.take(pa.array(kept))
        times = np.zeros(len(kept), np.int64)
        if "timestamp" in rows.batch.schema.names:
            times = rows.batch["timestamp"].take(pa.array(kept)).cast(pa.int64()).to_numpy()
        elif extras.order is not None:
            times = extras.order.take(pa.array(kept)).to_numpy()
        columns = {_ID: pa.array(ids[kept]), _TIME: pa.array(times)}
        columns |= dict(zip(taken.schema.names, taken.columns, strict=True))
        differs = {f"{_DIFFERS}{name}": pa.array(np.zeros(len(kept), bool)) for name in self._names}
        self._sorter.add(self._reduced(pa.RecordBatch.from_pydict({**columns, **differs})))

    def rows(self, left: pa.Array | None) -> Iterator[pa.RecordBatch]:
        """The items, in the order of their IDs; `left`: those alone."""
        for batch in _whole(self._sorter.rows()):
            found = self._reduced(batch)
            if left is not None:
                found = found.filter(pc.is_in(found[_ITEM], left))
            for name in self._names:
                self.conflicts[name] += int(pc.sum(found[f"{_DIFFERS}{name}"]).as_py() or 0)
            yield found.select([_ITEM, *self._names]).cast(self._schema)

    def _reduced(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Of rows that are sorted by ID, one of each: the last value of each column, and whether it had others."""
        order = np.lexsort((batch[_TIME].to_numpy(), batch[_ID].to_numpy()))
        batch = batch.take(pa.array(order))
        ids = batch[_ID].to_numpy()
        starts = np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))
        last = np.append(starts[1:], len(ids)) - 1
        columns = {name: batch[name].take(pa.array(last)) for name in (_ID, _TIME, _ITEM)}
        for name in self._names:
            columns[name], columns[f"{_DIFFERS}{name}"] = _last_value(batch, name, starts)
        return pa.RecordBatch.from_pydict(columns, batch.schema)


def _last_value(batch: pa.RecordBatch, name: str, starts: np.ndarray) -> tuple[pa.Array, pa.Array]:
    """For rows that are grouped from `starts` on: the last value that is not null, and whether there were several."""
    values, differs = batch[name], batch[f"{_DIFFERS}{name}"].to_numpy(zero_copy_only=False)
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    last = np.maximum.reduceat(np.where(valid, np.arange(len(valid)), -1), starts)
    codes = _codes(values)
    low = np.minimum.reduceat(np.where(valid, codes, np.iinfo(np.int64).max), starts)
    high = np.maximum.reduceat(np.where(valid, codes, -1), starts)
    several = np.logical_or.reduceat(differs, starts) | (low < high)
    return values.take(pa.array(last, mask=last < 0)), pa.array(several)


def _codes(values: pa.Array) -> np.ndarray:
    """A number for each value, equal for equal ones."""
    if pa.types.is_list(values.type):
        values = pc.binary_join(values.cast(pa.list_(pa.string())), "\x1f")
    codes: np.ndarray = values.dictionary_encode().indices.fill_null(0).cast(pa.int64()).to_numpy()
    return codes


def _whole(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows, cut between items."""
    held: pa.RecordBatch | None = None
    for batch in batches:
        both = batch if held is None else pa.concat_batches([held, batch])
        ids = both[_ID].to_numpy()
        start = int(np.searchsorted(ids, ids[-1]))
        if start:
            yield both.slice(0, start)
        held = both.slice(start)
    if held is not None:
        yield held
