"""The interactions of an import between reading and writing: their order, and which of them go after all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.checks.problems import Kind, Problem, Strict
from pagoda.data.checks.times import LogTimes
from pagoda.data.imports.order import apart
from pagoda.data.imports.rows.duplicates import Repeats
from pagoda.data.imports.rows.moments import MadeUpMoments
from pagoda.data.imports.rows.rare import RareRows
from pagoda.data.imports.rows.refusals import Reason, Refusals
from pagoda.data.imports.rows.rules import RowRules
from pagoda.data.imports.rows.sifted_rows import SiftedRows
from pagoda.data.imports.table_reader import Extras
from pagoda.data.layout import schema_of
from pagoda.data.partitions import InteractionWriter
from pagoda.data.sorting.external_sort import ExternalSorter
from pagoda.data.spec import FeatureSpec

_ORDER, _USER, _NUMBER = "#order", "#user", "#number"


class Interactions:
    """Takes them in any order, and writes those that stay in the order of time."""

    def __init__(
        self,
        spec: FeatureSpec,
        rules: RowRules,
        refusals: Refusals,
        spill: Path,
        budget_bytes: int,
        *,
        keep_order: bool = False,
    ) -> None:
        self._schema = schema_of(spec, "interactions")
        self._events = pa.array(sorted(spec.known_events))
        self._rules, self._refusals = rules, refusals
        self._spill, self._budget_bytes = spill, budget_bytes
        self._sorter = self._sorted_by(_ORDER if rules.untimed else "timestamp")
        self._rare, self._repeats = None, None
        if rules.min_user > 1 or rules.min_item > 1:
            self._rare = RareRows(rules.min_user, rules.min_item, spill, budget_bytes)
        if Reason.DUPLICATES in rules.skip.reasons and not rules.in_order:
            self._repeats = Repeats(refusals, spill, budget_bytes)
        self._rows, self._keep_order = 0, keep_order
        self.times = LogTimes(spec)
        """What is remarkable about their times, once they are written."""
        self.rare = 0
        """How many went because their user or item had too few."""

    @property
    def thins(self) -> bool:
        """Whether rows may go after they were taken, and the last of a user or an item with them."""
        return self._rare is not None

    def add(self, rows: SiftedRows, extras: Extras, users: np.ndarray, items: np.ndarray) -> None:
        """Take the rows that are not left out; users and items are int64 [n]."""
        batch, kept = rows.taken_with(extras.likes)
        numbers = np.arange(self._rows, self._rows + len(kept))
        self._rows += len(kept)
        users, items = users[kept], items[kept]
        if self._rare is not None:
            self._rare.add(users, items, numbers)
        order = numbers if extras.order is None else extras.order.fill_null(0).to_numpy()[kept]
        if self._repeats is not None:
            events = pc.index_in(batch["event"], self._events).cast(pa.int64()).to_numpy()
            moments = order if self._rules.untimed else batch["timestamp"].cast(pa.int64()).to_numpy()
            keys = {"user": users, "item": items, "event": events, "moment": moments}
            self._repeats.add(rows.file, kept + rows.first_row, numbers, keys)
        self._sorter.add(self._with_keys(batch, numbers, order, users))

    def write(self, folder: Path, source: str, see: Callable[[pa.RecordBatch], None]) -> None:
        """Write them below `folder`, and show each batch that is written to `see`.

        Raises:
            DataError: There is none.
        """
        out = self._gone()
        rows = self._sorter.rows()
        if out is not None:
            rows = (batch.filter(pa.array(~out[batch[_NUMBER].to_numpy()])) for batch in rows)
        if self._rules.untimed:
            rows = self._timed(rows)
        if self._keep_order:
            rows = apart(rows, self._spill, self._budget_bytes)
        written = 0
        with InteractionWriter(folder, self._schema) as writer:
            for batch in rows:
                written_batch = batch.select(self._schema.names)
                writer.write(written_batch)
                self.times.take(written_batch)
                see(batch)
                written += batch.num_rows
        if not written:
            message = "there is no interaction; a dataset needs at least one"
            if self._refusals.counts or self.rare:
                message = f"no interaction is left of {self._refusals.rows:,} rows; {self._reasons()}"
            Strict().add(Problem(Kind.EMPTY, source, message))

    def _with_keys(
        self, batch: pa.RecordBatch, numbers: np.ndarray, order: np.ndarray, users: np.ndarray
    ) -> pa.RecordBatch:
        if self._rules.untimed:
            batch = batch.append_column(_ORDER, pa.array(order)).append_column(_USER, pa.array(users))
        if self._rare is not None or self._repeats is not None:
            batch = batch.append_column(_NUMBER, pa.array(numbers))
        return batch

    def _gone(self) -> np.ndarray | None:
        """Which rows go after all, bool by running number; in a file, since there may be many."""
        if not self._rows or (self._rare is None and self._repeats is None):
            return None
        out = np.memmap(self._spill / "gone", bool, "w+", shape=(self._rows,))
        if self._repeats is not None:
            for numbers in self._repeats.numbers():
                out[numbers] = True
        if self._rare is not None:
            self.rare = self._rare.mark(out)
        return out

    def _timed(self, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        moments = MadeUpMoments(_USER, self._spill, self._budget_bytes)
        for batch in rows:
            moments.add(batch)
        sorter = self._sorted_by("timestamp")
        for batch in moments.rows():
            sorter.add(batch)
        yield from sorter.rows()

    def _sorted_by(self, column: str) -> ExternalSorter:
        return ExternalSorter(column, self._spill, self._budget_bytes, known={"event": self._events})

    def _reasons(self) -> str:
        rare = f"{self.rare:,} of users or items with too few (--min-user, --min-item)" if self.rare else ""
        return "; ".join(filter(None, (self._refusals.summary(), rare)))
