"""`pagoda data check`: reads a whole dataset folder and finds everything that is wrong with it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pagoda.data.checks.id_ledger import IdLedger
from pagoda.data.checks.names import problems_of
from pagoda.data.checks.problems import Kind, Problem, ProblemReport, ProblemSink
from pagoda.data.checks.structure import Structure, inspect
from pagoda.data.checks.times import LogTimes
from pagoda.data.checks.values import RowBatch, check_known_items, check_values
from pagoda.data.increments import changes_of
from pagoda.data.layout import FEATURES_FILE, INTERACTION_COLUMNS, Table, key_column, schema_of
from pagoda.data.parquet import all_batches, in_columns, open_parquet, reading
from pagoda.data.partitions import Part, timestamps_us
from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConfigError, DataError

_BATCH_ROWS = 65_536


@dataclass
class Checked:
    """What a check found."""

    report: ProblemReport
    rows: dict[Table, int] = field(default_factory=lambda: {"interactions": 0, "users": 0, "items": 0})
    tied_share: float = 0.0
    """Share of the imported interactions that have their moment with another item of the same user."""
    warnings: list[str] = field(default_factory=list)
    """What breaks no contract, and should be looked at."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        report = self.report
        counts = {kind.value: count for kind, count in report.counts.items()}
        problems = [problem.as_dict() for problem in report.problems]
        return {
            "ok": report.ok,
            "rows": self.rows,
            "counts": counts,
            "problems": problems,
            "tied_share": self.tied_share,
            "warnings": self.warnings,
        }


def check_dataset(path: Path) -> Checked:
    """Check structure and every value below `path`; memory is bounded by a batch and the item IDs."""
    checked = Checked(ProblemReport())
    try:
        structure = inspect(path, checked.report)
    except DataError as error:
        checked.report.add(Problem(Kind.UNREADABLE, str(path), str(error).removeprefix(f"{path}: ")))
        return checked
    except ConfigError as error:
        checked.report.add(Problem(Kind.SPEC, str(path), str(error)))
        return checked
    for problem in problems_of(structure.spec):
        checked.report.add(Problem(Kind.SPEC, str(path / FEATURES_FILE), problem))
    with tempfile.TemporaryDirectory(prefix="pagoda-check-") as spill:
        _Check(structure, checked, Path(spill)).run()
    return checked


class _Check:
    def __init__(self, structure: Structure, checked: Checked, spill: Path) -> None:
        self._structure = structure
        self._spec: FeatureSpec = structure.spec
        self._checked = checked
        self._sink: ProblemSink = checked.report
        self._spill = spill
        # Two strings with one hash may also meet between a table and the log.
        self._seen = {column: IdLedger(column, spill, distinct=True) for column in ("user_id", "item_id")}

    def run(self) -> None:
        self._check_table("users")
        known = self._check_table("items")
        imported, times = _Order(self._sink), LogTimes(self._spec)
        for part in self._structure.parts:
            order = _Order(self._sink) if part.arrived else imported
            for rows in self._read(part.path, "interactions"):
                check_values(rows, self._spec, "interactions")
                times.take(order.check(rows, part), in_order=not part.arrived)
                self._ids(rows, "user_id")
                items = self._ids(rows, "item_id")
                # Events as they arrived may be of items that come later: they are read when `items` has them.
                if self._structure.files["items"] and not part.arrived:
                    check_known_items(rows, items, known)
        for ledger in self._seen.values():
            ledger.report(self._sink)
        self._checked.tied_share = times.tied_share
        self._checked.warnings += times.warnings()

    def _check_table(self, table: Table) -> np.ndarray:
        """Check `users` or `items`; return the items' IDs as sorted int64 (users may be too many, theirs are empty)."""
        key = key_column(table)
        # Changed items stand before the other files' rows of the same IDs, so they repeat none of them.
        ledgers = {changed: IdLedger(key, self._spill, distinct=False) for changed in (True, False)}
        ids = [np.empty(0, np.int64)]
        for path in self._structure.files[table]:
            ledger = ledgers[changes_of(path.name) is not None]
            for rows in self._read(path, table):
                check_values(rows, self._spec, table)
                found = ledger.add(rows.batch[key], rows.file, rows.first_row)
                self._ids(rows, key)
                if table == "items":
                    ids.append(found)
        for ledger in ledgers.values():
            ledger.report(self._sink)
        known = np.unique(np.concatenate(ids))
        if table == "items":  # A changed item has a row of its own beside the one that it was imported with.
            self._checked.rows["items"] -= sum(map(len, ids)) - len(known)
        return known

    def _ids(self, rows: RowBatch, column: str) -> np.ndarray:
        """A column of IDs as int64 [n], 0 for null; strings are remembered, to find those that share a hash."""
        if self._spec.id_type == "string":
            return self._seen[column].add(rows.batch[column], rows.file, rows.first_row)
        ids: np.ndarray = rows.batch[column].fill_null(0).to_numpy()
        return ids

    def _read(self, path: Path, table: Table) -> Iterator[RowBatch]:
        """The file's batches; a damaged page is reported and ends the file."""
        schema = schema_of(self._spec, table)
        first_row = 1
        try:
            with reading(path), open_parquet(path) as file:
                there = [name for name in schema.names if name in file.schema_arrow.names]
                for batch in all_batches(file, _BATCH_ROWS, there):
                    yield RowBatch(in_columns(batch, schema), str(path), first_row, self._sink)
                    first_row += batch.num_rows
        except DataError as error:
            message = str(error).removeprefix(f"{path}: ")
            self._sink.add(Problem(Kind.CORRUPT, str(path), message, row=first_row))
        self._checked.rows[table] += first_row - 1


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
