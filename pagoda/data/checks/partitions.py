"""The check of one date's interactions, which knows nothing of the others: what a process is given, and gives back.

Rows that lie outside their date are reported and looked at no further, so neither an order nor a moment goes over
midnight, and what the dates say comes together by adding it up in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa

from pagoda.data.checks.id_ledger import FiledIds, IdLedger
from pagoda.data.checks.problems import Kind, Problem, ProblemReport, ProblemSink
from pagoda.data.checks.times import LogTimes
from pagoda.data.checks.values import RowBatch, check_known_items, check_values
from pagoda.data.layout import INTERACTION_COLUMNS, Table, schema_of
from pagoda.data.parquet import all_batches, in_columns, open_parquet, reading
from pagoda.data.partitions import Part, timestamps_us
from pagoda.data.spec import FeatureSpec
from pagoda.errors import DataError

_BATCH_ROWS = 65_536
KEYS = ("user_id", "item_id")


@dataclass(frozen=True)
class PartitionCheck:
    """What there is to check: the files of one date."""

    parts: list[Part]
    spec: FeatureSpec
    known_items: Path | None
    """`.npy` of the items' IDs, sorted int64; None: there are no items to compare with."""
    spill: Path
    """An existing folder of this check alone. What it files of string IDs there is the caller's to remove."""


@dataclass(frozen=True)
class PartitionFindings:
    """What one date's files say; of a size that does not grow with them."""

    report: ProblemReport
    rows: int
    times: LogTimes
    ids: dict[str, FiledIds]
    """Column → its distinct string IDs; empty for numbers, which nothing can be wrong with."""


def by_date(parts: list[Part]) -> Iterator[list[Part]]:
    """The files of each date."""
    return (list(of_one) for _, of_one in groupby(parts, lambda part: part.day))


def check_partition(check: PartitionCheck) -> PartitionFindings:
    """Read the files of a date and report every value that breaks the contract."""
    report, spec = ProblemReport(), check.spec
    seen = {column: IdLedger(column, check.spill, distinct=True) for column in KEYS if spec.id_type == "string"}
    known = None if check.known_items is None else np.load(check.known_items, mmap_mode="r")
    imported, times, rows_read = _Order(report), LogTimes(spec), 0
    for part in check.parts:
        order = _Order(report) if part.arrived else imported
        for rows in read_rows(part.path, "interactions", spec, report):
            rows_read += rows.batch.num_rows
            check_values(rows, spec, "interactions")
            times.take(order.check(rows, part), in_order=not part.arrived)
            _, items = (numbers_of(rows, column, seen.get(column)) for column in KEYS)
            # Events as they arrived may be of items that come later: they are read when `items` has them.
            if known is not None and not part.arrived:
                check_known_items(rows, items, known)
    return PartitionFindings(report, rows_read, times, {column: ledger.file() for column, ledger in seen.items()})


def read_rows(path: Path, table: Table, spec: FeatureSpec, sink: ProblemSink) -> Iterator[RowBatch]:
    """The file's batches; a damaged page is reported and ends the file."""
    schema = schema_of(spec, table)
    first_row = 1
    try:
        with reading(path), open_parquet(path) as file:
            there = [name for name in schema.names if name in file.schema_arrow.names]
            for batch in all_batches(file, _BATCH_ROWS, there):
                yield RowBatch(in_columns(batch, schema), str(path), first_row, sink)
                first_row += batch.num_rows
    except DataError as error:
        message = str(error).removeprefix(f"{path}: ")
        sink.add(Problem(Kind.CORRUPT, str(path), message, row=first_row))


def numbers_of(rows: RowBatch, column: str, seen: IdLedger | None) -> np.ndarray:
    """A column of IDs as int64 [n], 0 for null. `seen` remembers strings, to find those that share a hash."""
    if seen is not None:
        return seen.add(rows.batch[column], rows.file, rows.first_row)
    ids: np.ndarray = rows.batch[column].fill_null(0).to_numpy()
    return ids


class _Order:
    """Timestamps never go back, and each lies within its partition's date."""

    def __init__(self, sink: ProblemSink) -> None:
        self._sink = sink
        self._last = np.iinfo(np.int64).min

    def check(self, rows: RowBatch, part: Part) -> pa.RecordBatch:
        """Report rows that lie elsewhere; those that lie right, and lack nothing that says what they are."""
        batch = rows.batch.filter(rows.batch["timestamp"].is_valid())
        if batch.num_rows < rows.batch.num_rows or not batch.num_rows:
            return batch.slice(0, 0)  # the nulls were reported, and without them rows cannot be counted
        times = timestamps_us(batch)
        outside = (times < part.start_us) | (times >= part.end_us)
        message = f"lies outside the partition's date {part.day.isoformat()} (UTC); move the row to its own date"
        rows.tell(Kind.ORDER, "timestamp", outside, message)
        before = np.where(outside, self._last, times)[:-1]
        back = (times < np.maximum.accumulate(np.append(self._last, before))) & ~outside
        message = "lies before the row above it; sort the partition by timestamp"
        rows.tell(Kind.ORDER, "timestamp", back, message)
        inside = times[~outside]
        self._last = max(self._last, int(inside.max())) if inside.size else self._last
        whole = ~(outside | back)
        for name in INTERACTION_COLUMNS:
            whole &= batch.column(name).is_valid().to_numpy(zero_copy_only=False)
        return batch if whole.all() else batch.filter(pa.array(whole))
