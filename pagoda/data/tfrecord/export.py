"""A dataset as TFRecord files, for those who train with TensorFlow."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from pagoda.data.dataset import Dataset
from pagoda.data.layout import DAY_US, FEATURES_FILE, Table, day_of, partition_name, schema_of
from pagoda.data.new_folder import new_dataset
from pagoda.data.partitions import timestamps_us
from pagoda.data.tfrecord.columns import ExampleEncoder
from pagoda.data.tfrecord.records import write_records


@dataclass
class Exported:
    """What was written, and what could not be written as it is."""

    rows: dict[Table, int] = field(default_factory=dict)
    rounded: dict[str, int] = field(default_factory=dict)
    """By column, numbers that were rounded to 32 bits."""
    left_out: dict[str, int] = field(default_factory=dict)
    """By column, numbers that 32 bits cannot hold."""


def export_tfrecord(dataset: Dataset, path: Path, *, compressed: bool = False) -> Exported:
    """Write the new folder `path`: the dataset's tables and dates as files of `tf.train.Example`, and its feature file.

    Raises:
        ConflictError: `path` exists already.
        DataError: A file of the dataset cannot be read, or the disk is full.
    """
    return _Export(dataset, compressed).write(path)


class _Export:
    def __init__(self, dataset: Dataset, compressed: bool) -> None:
        self._dataset, self._compressed = dataset, compressed
        self._encoder, self._done = ExampleEncoder(), Exported()

    def write(self, path: Path) -> Exported:
        with new_dataset(path) as folder:
            shutil.copyfile(self._dataset.path / FEATURES_FILE, folder / FEATURES_FILE)
            schema = self._schema("interactions")
            for day, batches in groupby(_by_day(self._dataset.batches(columns=schema.names)), lambda part: part[0]):
                rows = (batch for _, batch in batches)
                self._file(folder / "interactions" / partition_name(day), "interactions", rows)
            self._file(folder / "users", "users", self._dataset.user_batches())
            self._file(folder / "items", "items", self._dataset.items().to_batches())
        self._done.rounded = {name: count for name, count in self._encoder.rounded.items() if count}
        self._done.left_out = {name: count for name, count in self._encoder.left_out.items() if count}
        return self._done

    def _schema(self, table: Table) -> pa.Schema:
        """The columns of a table by the names that the dataset has them under."""
        schema = schema_of(self._dataset.spec, table)
        if self._dataset.spec.id_type == "int64":
            return schema
        keys = {"user_id": "user_key", "item_id": "item_key"}
        return pa.schema([field.with_name(keys.get(field.name, field.name)) for field in schema])

    def _file(self, folder: Path, table: Table, batches: Iterable[pa.RecordBatch]) -> None:
        folder.mkdir(parents=True)
        name = "part-0.tfrecord.gz" if self._compressed else "part-0.tfrecord"
        names, given = schema_of(self._dataset.spec, table).names, self._schema(table).names
        with (folder / name).open("xb") as file:
            rows = (batch.select(given).rename_columns(names) for batch in batches)
            write_records(self._encoder.records(self._counted(table, rows)), file, compressed=self._compressed)

    def _counted(self, table: Table, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self._done.rows[table] = self._done.rows.get(table, 0) + batch.num_rows
            yield batch


def _by_day(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[date, pa.RecordBatch]]:
    """Batches in time order, cut at midnight."""
    for batch in batches:
        days = timestamps_us(batch) // DAY_US
        starts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), batch.num_rows]
        for start, end in pairwise(starts):
            yield day_of(int(days[start]) * DAY_US), batch.slice(start, end - start)
