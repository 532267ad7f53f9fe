"""Anyone's files or tables as a dataset folder, by Spark: the same content as `pagoda.data.imports.importer` writes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it

from pagoda.data.checks.problems import Kind, Problem, Strict
from pagoda.data.checks.values import check_known_items
from pagoda.data.imports.choices import UnknownItems
from pagoda.data.imports.imported import Imported
from pagoda.data.imports.job import Import, declaration
from pagoda.data.imports.rows.refusals import Refusals
from pagoda.data.imports.rows.sifted_rows import SiftedRows
from pagoda.data.imports.sources.files import Readers
from pagoda.data.layout import FEATURES_FILE, Table, key_column, schema_of
from pagoda.data.new_folder import new_dataset
from pagoda.data.spark.ids import HASH, ID, Ids, first_unknown
from pagoda.data.spark.reading import PART, ROW, ReadTable, read_table, together
from pagoda.data.spark.session import open_session, told
from pagoda.data.spark.writing import Writer
from pagoda.data.spec import FeatureSpec, write_spec
from pagoda.errors import ConfigError

_TABLES: tuple[Table, ...] = ("users", "items")


def import_files(path: Path, job: Import, session: SparkSession | None = None) -> Imported:
    """Write the new dataset folder `path`; when anything is wrong, nothing is written.

    Args:
        path: On a file system that the driver and all executors share, as are the files that are read.
        job: What to import.
        session: None: one by Spark's own configuration.

    Raises:
        DataError: The first thing that is wrong, with file, column, row and value; or Spark's job failed.
        ConfigError: The feature file is wrong, the options contradict it, or one is the other engine's alone.
        ConflictError: `path` exists already, or another import builds it.
    """
    _refuse_options(job)
    with new_dataset(path) as folder:
        with tempfile.TemporaryDirectory(prefix=".spill.", dir=folder) as spill, told(path):
            spec = declaration(job, Readers(job.reader_of, Path(spill)))
            running = _Running(session or open_session(), job, spec, folder.absolute(), Path(spill).absolute())
            try:
                imported = running.run()
            finally:
                running.release()
        write_spec(spec, folder / FEATURES_FILE)
    return imported


def _refuse_options(job: Import) -> None:
    rules = job.rules
    others = {
        "--skip": bool(rules.skip.reasons),
        "--min-user and --min-item": max(rules.min_user, rules.min_item) > 1,
        "--items-from-log": bool(rules.items_from_log),
        "--unknown-items make": rules.unknown_items is UnknownItems.MAKE,
        "--order-column and --in-order": rules.untimed,
        "--keep-order": job.keep_order,
    }
    for option, asked in others.items():
        if asked:
            raise ConfigError(
                f"{option}: an import on Spark does not know it; leave it out, or import without --engine spark"
            )


class _Running:
    def __init__(self, session: SparkSession, job: Import, spec: FeatureSpec, folder: Path, spill: Path) -> None:
        self._session, self._job, self._spec = session, job, spec
        self._folder, self._spill = folder, spill
        self._strings = spec.id_type == "string"
        self._tables: dict[Table, ReadTable] = {}

    def run(self) -> Imported:
        for table in (*_TABLES, "interactions"):
            if self._job.source(table) is not None:
                self._tables[table] = self._read(table)
        log = self._tables["interactions"]
        if not log.count:
            message = "there is no interaction; a dataset needs at least one"
            Strict().add(Problem(Kind.EMPTY, log.parts[0], message))
        self._refuse_unknown_items(log)
        for table in _TABLES:
            self._finish(table, log)
        # A rating's like is of the same row, and follows it.
        order = F.col("timestamp"), F.col(PART), F.col(ROW), F.col("event") == "like"
        self._writer("interactions").write(log.rows, *order)
        return Imported(together([one.noticed for one in self._tables.values()]), self._job.features)

    def release(self) -> None:
        """Let go of what executors keep."""
        for one in self._tables.values():
            one.rows.unpersist()

    def _read(self, table: Table) -> ReadTable:
        read = read_table(self._session, self._job, self._spec, table, self._spill)
        if table != "interactions":
            Ids.of(self._job, key_column(table), read).refuse_twice()
        return read

    def _finish(self, table: Table, log: ReadTable) -> None:
        """Compare its IDs, and write it: as it was read, or as it follows from the log, in order of its 64-bit IDs."""
        key, read = key_column(table), self._tables.get(table)
        if read is not None:
            self._writer(table).write(read.rows, F.col(PART), F.col(ROW))
        if read is not None and not self._strings:
            return
        ids = Ids.of(self._job, key, read, log)
        distinct = ids.distinct(strings=self._strings).persist(StorageLevel.DISK_ONLY)
        if self._strings:
            ids.refuse_shared_hashes(distinct)
        if read is None:
            self._writer(table).write(distinct.select(F.col(ID).alias(key), F.col(HASH)), F.col(HASH))
        distinct.unpersist()

    def _writer(self, table: Table) -> Writer:
        return Writer(table, schema_of(self._spec, table), self._folder / table, self._spill)

    def _refuse_unknown_items(self, log: ReadTable) -> None:
        items = self._tables.get("items")
        found = None if items is None else first_unknown(log, items)
        if found is None:
            return
        kind = schema_of(self._spec, "items").field("item_id").type
        batch = pa.RecordBatch.from_pydict({"item_id": pa.array([found.key], kind)})
        refusals = Refusals(self._job.rules.skip, self._spill / "refused.csv")
        rows = SiftedRows(
            batch, found.file, found.row, Strict(), self._job.names.renamed,
            refusals=refusals, table="interactions", out=np.zeros(1, bool),
        )  # fmt: skip
        check_known_items(rows, np.zeros(1, np.int64), np.empty(0, np.int64))
