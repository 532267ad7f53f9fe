"""Anyone's interactions, users and items as a dataset folder, in memory that does not grow with them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from pagoda.data.checks.id_ledger import IdLedger
from pagoda.data.checks.names import refuse_names
from pagoda.data.checks.problems import Kind, Problem, Strict
from pagoda.data.checks.times import LogTimes
from pagoda.data.checks.values import RowBatch, check_known_items, check_values
from pagoda.data.imports.casts import Conversion, ValueOrigin
from pagoda.data.imports.columns import ColumnNames, guess_id_type
from pagoda.data.imports.order import ORDER_FILE, ORDER_NOTE, apart
from pagoda.data.imports.readers import Reader, list_files
from pagoda.data.layout import FEATURES_FILE, Table, key_column, schema_of
from pagoda.data.new_folder import new_dataset
from pagoda.data.parquet import open_writer, write_table
from pagoda.data.partitions import InteractionWriter
from pagoda.data.sorting.external_sort import BUDGET_BYTES, ExternalSorter
from pagoda.data.spec import EVENTS, FeatureSpec, read_spec, write_spec
from pagoda.errors import ConfigError

_SINK = Strict()


@dataclass(frozen=True)
class Import:
    """What to import, and how its columns are to be understood."""

    reader: Reader
    interactions: Path
    users: Path | None = None
    """None: the users of the interactions."""
    items: Path | None = None
    """None: the items of the interactions."""
    features: Path | None = None
    """None: IDs only; other columns are left out."""
    names: ColumnNames = field(default_factory=ColumnNames)
    conversion: Conversion = field(default_factory=Conversion)
    default_event: str = "click"
    """Of interactions in files without an event column."""
    id_type: Literal["int64", "string"] | None = None
    """None: what the first rows look like. A feature file says it itself."""
    keep_order: bool = False
    """Whether rows of one user's moment happened in the order of the files: see `pagoda.data.imports.order`."""
    budget_bytes: int = BUDGET_BYTES
    """Rows held in memory before they are sorted and spilled beside the new folder."""

    def source(self, table: Table) -> Path | None:
        """The files of a table."""
        return {"interactions": self.interactions, "users": self.users, "items": self.items}[table]


@dataclass
class Imported:
    """What an import did beyond what it was told."""

    left_out: dict[str, str] = field(default_factory=dict)
    """Column → file, of columns that no feature declares."""
    warnings: list[str] = field(default_factory=list)
    """What breaks no contract, and should be looked at: see `pagoda.data.checks.times`."""


def import_files(path: Path, job: Import) -> Imported:
    """Write the new dataset folder `path`; when anything is wrong, nothing is written.

    Raises:
        DataError: The first thing that is wrong, with file, column, row and value.
        ConfigError: The feature file is wrong, or the options contradict it.
        ConflictError: `path` exists already.
    """
    spec = _declaration(job)
    with new_dataset(path) as folder:
        # Beside the new folder: there is the room, and what a killed import leaves goes with the next one.
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as spill:
            running = _Running(job, spec, folder, Path(spill))
            running.run()
        write_spec(spec, folder / FEATURES_FILE)
        if job.keep_order:
            (folder / ORDER_FILE).write_bytes(ORDER_NOTE)
    return running.imported


def _declaration(job: Import) -> FeatureSpec:
    """The feature file, or without one: IDs, and the items' title if its column was named."""
    if job.features is None:
        title = "title" if "title" in job.names.renamed else None
        id_type = job.id_type or guess_id_type(job.interactions, job.reader, job.names)
        spec = FeatureSpec(id_type=id_type, title=title, positives=_positives(job))
    elif job.id_type is not None:
        raise ConfigError(f"the ID type is declared in {job.features} as id_type; leave the option out")
    else:
        spec = read_spec(job.features)
    refuse_names(spec, str(job.features or "options"))
    job.names.check(spec)
    for table in ("users", "items"):
        others = schema_of(spec, table).names[1:]
        if others and job.source(table) is None:
            raise ConfigError(f"columns {others} come from the {table} files: name them with --{table}")
    if job.default_event not in spec.known_events:
        raise ConfigError(f"event {job.default_event!r} is none of {sorted(spec.known_events)}")
    return spec


def _positives(job: Import) -> tuple[str, ...]:
    """Without a feature file: the one event that there is, where the files name none; else clicks."""
    first = list_files(job.interactions, job.reader)[0]
    named = job.names.find(job.reader.names(first), ["event"], str(first))
    known = job.default_event in EVENTS
    return (job.default_event,) if known and not named else FeatureSpec().positives


class _Running:
    def __init__(self, job: Import, spec: FeatureSpec, folder: Path, spill: Path) -> None:
        self.imported = Imported()
        self._job = job
        self._spec = spec
        self._folder = folder
        self._spill = spill
        self._seen = {key_column(table): self._ledger(key_column(table), distinct=True) for table in ("users", "items")}

    def run(self) -> None:
        self._import_table("users")
        known = self._import_table("items")
        sorter = ExternalSorter("timestamp", self._spill, self._job.budget_bytes)
        for rows in self._read("interactions", self._job.interactions):
            self._see(rows, "users")
            ids = self._see(rows, "items")
            if known is not None:
                check_known_items(rows, ids, known)
            sorter.add(rows.batch)
        for ledger in self._seen.values():
            ledger.report(_SINK)
        self._write_interactions(sorter)
        self._derive("users")
        self._derive("items")

    def _write_interactions(self, sorter: ExternalSorter) -> None:
        written, times = 0, LogTimes(self._spec)
        with InteractionWriter(self._folder / "interactions", schema_of(self._spec, "interactions")) as writer:
            for batch in self._ordered(sorter):
                writer.write(batch)
                times.take(batch)
                written += batch.num_rows
        if not written:
            message = "there is no interaction; a dataset needs at least one"
            _SINK.add(Problem(Kind.EMPTY, str(self._job.interactions), message))
        self.imported.warnings += times.warnings()

    def _ordered(self, sorter: ExternalSorter) -> Iterator[pa.RecordBatch]:
        return apart(sorter.rows(), self._spill, self._job.budget_bytes) if self._job.keep_order else sorter.rows()

    def _import_table(self, table: Table) -> np.ndarray | None:
        """Check and copy `users` or `items`; return the items' IDs as sorted int64, None if there is no source."""
        source = self._job.source(table)
        if source is None:
            return None
        key = key_column(table)
        every_row = self._ledger(key, distinct=False)
        ids = [np.empty(0, np.int64)]
        (self._folder / table).mkdir()
        with open_writer(self._folder / table / "part-0.parquet", schema_of(self._spec, table)) as writer:
            for rows in self._read(table, source):
                every_row.add(rows.batch[key], rows.file, rows.first_row)
                found = self._see(rows, table)
                writer.write_batch(rows.batch)
                if table == "items":
                    ids.append(found)
        every_row.report(_SINK)
        return np.unique(np.concatenate(ids))

    def _derive(self, table: Table) -> None:
        """Without a source, the IDs of the interactions are the table."""
        if self._job.source(table) is not None:
            return
        key = key_column(table)
        batches = (pa.RecordBatch.from_arrays([keys], names=[key]) for keys in self._seen[key].distinct_keys())
        write_table(self._folder / table, batches, schema_of(self._spec, table))

    def _see(self, rows: RowBatch, table: Table) -> np.ndarray:
        """The IDs of `rows` as int64 [n], remembered where strings may collide or the table is derived from them."""
        keys = rows.batch[key_column(table)]
        if self._spec.id_type == "string" or self._job.source(table) is None:
            return self._seen[key_column(table)].add(keys, rows.file, rows.first_row)
        ids: np.ndarray = keys.to_numpy()
        return ids

    def _ledger(self, column: str, *, distinct: bool) -> IdLedger:
        name = self._job.names.renamed.get(column, column)
        return IdLedger(name, self._spill, distinct=distinct, budget_bytes=self._job.budget_bytes)

    def _read(self, table: Table, source: Path) -> Iterator[RowBatch]:
        """Converted and checked batches of all files of `source`."""
        for path in list_files(source, self._job.reader):
            used = self._columns(table, path)
            first_row = 1
            for raw in self._job.reader.batches(path, list(used.values())):
                batch = self._convert(raw, table, used, path, first_row)
                rows = RowBatch(batch, str(path), first_row, _SINK, used)
                check_values(rows, self._spec, table)
                yield rows
                first_row += raw.num_rows

    def _columns(self, table: Table, path: Path) -> dict[str, str]:
        given = self._job.reader.names(path)
        used = self._job.names.find(given, schema_of(self._spec, table).names, str(path))
        for name in self._job.names.left_over(given, used):
            if self._job.features is not None:
                message = (
                    f"{self._job.features} declares no such feature; declare it, or leave the column out by --drop"
                )
                _SINK.add(Problem(Kind.EXTRA_COLUMN, str(path), message, name))
            self.imported.left_out[name] = str(path)
        return used

    def _convert(
        self, raw: pa.RecordBatch, table: Table, used: dict[str, str], path: Path, first_row: int
    ) -> pa.RecordBatch:
        schema = schema_of(self._spec, table)
        arrays = []
        for wanted in schema:
            if wanted.name in used:
                place = ValueOrigin(str(path), used[wanted.name], first_row)
                arrays.append(self._job.conversion.column(raw.column(place.column), wanted, place))
            else:
                arrays.append(pa.repeat(self._job.default_event, raw.num_rows))
        return pa.RecordBatch.from_arrays(arrays, schema=schema)
