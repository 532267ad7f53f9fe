"""Anyone's interactions, users and items as a dataset folder, in memory that does not grow with them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.checks.id_ledger import IdLedger
from pagoda.data.checks.problems import Strict
from pagoda.data.checks.values import check_known_items
from pagoda.data.imports.choices import UnknownItems
from pagoda.data.imports.imported import Imported
from pagoda.data.imports.job import Import, declaration
from pagoda.data.imports.order import ORDER_FILE, ORDER_NOTE
from pagoda.data.imports.rows.duplicates import FirstOfEachId
from pagoda.data.imports.rows.interactions import Interactions
from pagoda.data.imports.rows.log_items import LogItems
from pagoda.data.imports.rows.refusals import Reason, Refusals
from pagoda.data.imports.rows.sifted_rows import SiftedRows
from pagoda.data.imports.sources.files import Readers
from pagoda.data.imports.table_reader import TableReader
from pagoda.data.layout import FEATURES_FILE, Table, key_column, schema_of
from pagoda.data.new_folder import new_dataset
from pagoda.data.parquet import open_writer, write_table
from pagoda.data.spec import FeatureSpec, write_spec

__all__ = ["Import", "import_files", "refused_path"]

_SINK = Strict()
_REFUSED_FILE = ".refused.csv"


def refused_path(path: Path) -> Path:
    """Where the rows are filed that an import into `path` left out."""
    return path.with_name(f"{path.name}.refused.csv")


def import_files(path: Path, job: Import) -> Imported:
    """Write the new dataset folder `path`; when anything is wrong, nothing is written.

    Raises:
        DataError: The first thing that is wrong, with file, column, row and value.
        ConfigError: The feature file is wrong, or the options contradict it.
        ConflictError: `path` exists already, or another import builds it.
    """
    with new_dataset(path) as folder:
        # Within the folder that is being built: no other import touches it, and what a killed one leaves goes with it.
        with tempfile.TemporaryDirectory(prefix=".spill.", dir=folder) as spill:
            readers = Readers(job.reader_of, Path(spill))
            spec = declaration(job, readers)
            running = _Running(job, readers, spec, folder, Refusals(job.rules.skip, folder / _REFUSED_FILE))
            running.run()
        write_spec(spec, folder / FEATURES_FILE)
        if job.keep_order:
            (folder / ORDER_FILE).write_bytes(ORDER_NOTE)
    refused_path(path).unlink(missing_ok=True)  # of a dataset that was here before
    if (refused := path / _REFUSED_FILE).exists():
        running.imported.refused = refused.replace(refused_path(path))
    return running.imported


class _Running:
    def __init__(self, job: Import, readers: Readers, spec: FeatureSpec, folder: Path, refusals: Refusals) -> None:
        self._job = job
        self._readers = readers
        self._spec = spec
        self._folder = folder
        self._spill = readers.spill
        self._refusals = refusals
        self._reader = TableReader(
            readers.of, spec, job.names, job.conversion, job.rules, job.default_event, refusals, job.features
        )
        self.imported = Imported(self._reader.noticed, job.features, refusals)
        self._seen = {key_column(table): self._ledger(key_column(table), distinct=True) for table in ("users", "items")}
        self._made = self._ledger("item_id", distinct=True)

    def run(self) -> None:
        self._import_table("users")
        known = self._import_table("items")
        rules, budget = self._job.rules, self._job.budget_bytes
        interactions = Interactions(
            self._spec, rules, self._refusals, self._spill, budget, keep_order=self._job.keep_order
        )
        log_items = LogItems(self._spec, self._spill, budget) if rules.items_from_log else None
        for rows, extras in self._reader.read("interactions", self._job.interactions):
            items = self._known_items(rows, known)
            if log_items is not None:
                log_items.add(rows, items, extras)
            interactions.add(rows, extras, self._see(rows, "users"), items)
        for ledger in self._seen.values():
            ledger.report(_SINK)
        if interactions.thins:
            # The tables that follow from the interactions follow from those that are left.
            self._seen = {name: self._ledger(name, distinct=True) for name in self._seen}
        where = self._readers.named("interactions", self._job.interactions)
        interactions.write(self._folder / "interactions", where, self._see_again(interactions))
        self.imported.warnings += interactions.times.warnings()
        self._refusals.close()
        self.imported.rare = interactions.rare
        self._derive("users")
        left = self._left_items() if interactions.thins else None
        if log_items is None:
            self._derive("items")
        else:
            write_table(self._folder / "items", log_items.rows(left), schema_of(self._spec, "items"))
            self.imported.conflicts = {name: count for name, count in log_items.conflicts.items() if count}
        self._make_items(left)

    def _known_items(self, rows: SiftedRows, known: np.ndarray | None) -> np.ndarray:
        """The items of `rows` as int64 [n]; those that are not known are refused, or made."""
        items = self._see(rows, "items")
        if known is None:
            return items
        if self._job.rules.unknown_items is UnknownItems.REFUSE:
            check_known_items(rows, items, known)
            return items
        keys = rows.keys("item_id")
        new = pc.if_else(pa.array(np.isin(items, known)), pa.scalar(None, keys.type), keys)
        self._made.add(new, rows.file, rows.first_row)
        return items

    def _see_again(self, interactions: Interactions) -> Callable[[pa.RecordBatch], None]:
        def see(batch: pa.RecordBatch) -> None:
            if interactions.thins:
                for name, ledger in self._seen.items():
                    ledger.add(batch[name], "", 1)

        return see

    def _left_items(self) -> pa.Array:
        kind = schema_of(self._spec, "items").field("item_id").type
        return pa.chunked_array(list(self._seen["item_id"].distinct_keys()), kind).combine_chunks()

    def _make_items(self, left: pa.Array | None) -> None:
        """Items that the interactions alone have, without any feature, beside those of the files."""
        schema, folder = schema_of(self._spec, "items"), self._folder / "items"
        for number, keys in enumerate(self._made.distinct_keys()):
            new = keys if left is None else keys.filter(pc.is_in(keys, left))
            columns = [new, *(pa.nulls(len(new), one.type) for one in list(schema)[1:])]
            batch = pa.RecordBatch.from_arrays(columns, schema=schema)
            with open_writer(folder / f"made-{number}.parquet", schema) as writer:
                writer.write_batch(batch)
            self.imported.made_items += len(new)

    def _import_table(self, table: Table) -> np.ndarray | None:
        """Check and copy `users` or `items`; return the items' IDs as sorted int64, None if there is no source."""
        source = self._job.source(table)
        if source is None:
            return None
        every_row = self._ledger(key_column(table), distinct=False)
        skips = Reason.DUPLICATES in self._refusals.skip.reasons
        firsts = FirstOfEachId(table, self._refusals, self._spill, self._job.budget_bytes) if skips else None
        ids = [np.empty(0, np.int64)]
        (self._folder / table).mkdir()
        with open_writer(self._folder / table / "part-0.parquet", schema_of(self._spec, table)) as writer:
            for rows, _ in self._reader.read(table, source):
                found = self._see(rows, table)
                if table == "items":
                    ids.append(found[rows.kept])
                if firsts is not None:
                    firsts.add(rows)
                    continue
                every_row.add(rows.keys(key_column(table)), rows.file, rows.first_row)
                writer.write_batch(rows.taken())
            for batch in firsts.rows(schema_of(self._spec, table)) if firsts is not None else ():
                writer.write_batch(batch)
        every_row.report(_SINK)
        return np.unique(np.concatenate(ids))

    def _derive(self, table: Table) -> None:
        """Without a source, the IDs of the interactions are the table."""
        if self._job.source(table) is not None:
            return
        key = key_column(table)
        batches = (pa.RecordBatch.from_arrays([keys], names=[key]) for keys in self._seen[key].distinct_keys())
        write_table(self._folder / table, batches, schema_of(self._spec, table))

    def _see(self, rows: SiftedRows, table: Table) -> np.ndarray:
        """The IDs of `rows` as int64 [n], remembered where strings may collide or the table is derived from them."""
        keys = rows.keys(key_column(table))
        if self._spec.id_type == "string" or self._job.source(table) is None:
            return self._seen[key_column(table)].add(keys, rows.file, rows.first_row)
        ids: np.ndarray = keys.fill_null(0).to_numpy()
        return ids

    def _ledger(self, column: str, *, distinct: bool) -> IdLedger:
        name = self._job.names.renamed.get(column, column)
        return IdLedger(name, self._spill, distinct=distinct, budget_bytes=self._job.budget_bytes)
