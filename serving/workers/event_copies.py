"""Events once more, as TFRecord, for others who train on them; updates read the Parquet files.

One file for each hour of arrival and date, written when the hour is over, from the rows that are filed by then. So each
event is in one file, that never gives way to another, and whoever reads them needs no rule; files of a slot would be a
million a year, each of which forgetting a user has to read.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

from pagoda.append_log.store import open_store
from pagoda.data.increments import TFRECORD_FOLDER, Arrivals
from pagoda.data.layout import schema_of
from pagoda.data.sorting.merge import Run, merge
from pagoda.data.spec import FeatureSpec
from pagoda.data.tfrecord.columns import ExampleEncoder
from pagoda.data.tfrecord.records import write_records
from pagoda.errors import ConflictError
from pagoda.storage.copies import sizes
from serving.workers.event_files import batches_in

_log = logging.getLogger(__name__)


class TfrecordCopies:
    """The copies of one dataset's events."""

    def __init__(self, dataset: str) -> None:
        """Of the folder or URL `dataset`."""
        self._url = dataset.rstrip("/")
        self._store = open_store(self._url)

    def write(
        self, hours: Mapping[str, Mapping[Arrivals, Sequence[str]]], young_ms: int, spec: FeatureSpec
    ) -> list[str]:
        """Write what is missing.

        Args:
            hours: By folder of a date and hour of arrival, the files with the rows.
            young_ms: Since when a file is young.
            spec: Of the dataset.

        Returns:
            Names of the young ones and of those that were written, relative to the dataset: somebody may have been
            erased from the rows while they were read.
        """
        there = sizes(f"{self._url}/{TFRECORD_FOLDER}")
        found = []
        for partition, spans in hours.items():
            for span, files in spans.items():
                name = f"{partition}/{span.name.replace('.parquet', '.tfrecord')}"
                if name not in there:
                    self._copy(name, [f"interactions/{partition}/{file}" for file in files], spec)
                if name not in there or span.end_ms >= young_ms:
                    found.append(f"{TFRECORD_FOLDER}/{name}")
        return found

    def _copy(self, name: str, files: Sequence[str], spec: FeatureSpec) -> None:
        contents = self._store.read(list(files))
        if len(contents) < len(files):
            return  # Another sink has compacted and deleted them; it writes the copy.
        schema, encoder, file = schema_of(spec, "interactions"), ExampleEncoder(), io.BytesIO()
        rows = merge([Run(0, partial(batches_in, content, schema)) for content in contents])
        write_records(encoder.records(rows), file)
        with suppress(ConflictError):
            self._store.put(f"{TFRECORD_FOLDER}/{name}", file.getvalue())
        for column, count in encoder.left_out.items():
            if count:
                _log.warning("%s: %d numbers of %s are too large for TFRecord, and missing there", name, count, column)
