"""Few large files of events instead of many small ones, without a moment in which a reader sees both or neither."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from pagoda.append_log.store import open_store
from pagoda.data.increments import Arrivals, arrivals_of, superseded
from pagoda.data.layout import schema_of
from pagoda.data.sorting.merge import Run, merge
from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConflictError
from pagoda.storage.copies import delete, sizes
from serving.workers.event_files import batches_in, parquet

if TYPE_CHECKING:
    from serving.workers.event_copies import TfrecordCopies

HOUR_MS = 3_600_000
_KEPT_MS = 24 * HOUR_MS
"""How long a small file stays after the large one: whoever listed it may still have to read it."""
_log = logging.getLogger(__name__)


class Compaction:
    """Makes the files of an hour of arrival one file for each date, when the hour is over."""

    def __init__(
        self,
        dataset: str,
        erase: Callable[[Collection[str]], None] = lambda _: None,
        copies: TfrecordCopies | None = None,
    ) -> None:
        """Of a dataset; `erase` takes names of its files, and erases whoever is being forgotten from them."""
        self._copies = copies
        self._erase, self._url = erase, f"{dataset.rstrip('/')}/interactions"
        self._store = open_store(self._url)
        self._done_ms = 0

    def step(self, filed_until_ms: int, spec: FeatureSpec) -> None:
        """Compact the hours before `filed_until_ms`, all of whose events are in files, and delete what is old."""
        hour = filed_until_ms - filed_until_ms % HOUR_MS
        if hour == self._done_ms:
            return
        young: list[str] = []
        over: dict[str, dict[Arrivals, list[str]]] = {}
        for partition, names in self._listing().items():
            gone = superseded(names)
            for span, inside in _hours(names - gone).items():
                if span.end_ms <= hour and len(inside) > 1:
                    self._compact(partition, span, sorted(inside), spec)
                    young.append(f"interactions/{partition}/{span.name}")
            over[partition] = _rows_of_hours(names - gone, hour)
            young += [f"interactions/{partition}/{one}" for one in names if _end(one) >= filed_until_ms - _KEPT_MS]
            for name in gone:
                if _end(name) < filed_until_ms - _KEPT_MS:
                    delete(f"{self._url}/{partition}/{name}")
        if self._copies is not None:
            young += self._copies.write(over, filed_until_ms - _KEPT_MS, spec)
        # Also of those that a killed one has made of files from which somebody was erased meanwhile.
        self._erase(young)
        self._done_ms = hour

    def _listing(self) -> dict[str, set[str]]:
        """By partition, the files of events."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for path in sizes(self._url):
            partition, _, name = path.rpartition("/")
            if arrivals_of(name):
                found[partition].add(name)
        return found

    def _compact(self, partition: str, span: Arrivals, names: list[str], spec: FeatureSpec) -> None:
        schema = schema_of(spec, "interactions")
        contents = self._store.read([f"{partition}/{name}" for name in names])
        if len(contents) < len(names):
            return  # Another sink has compacted and deleted them.
        merged = merge([Run(0, partial(batches_in, content, schema)) for content in contents])
        with suppress(ConflictError):
            self._store.put(f"{partition}/{span.name}", parquet(merged, schema))
            _log.info("%s/%s stands for %d files", partition, span.name, len(names))


def _hours(names: set[str]) -> dict[Arrivals, set[str]]:
    """The names by the hour that holds their span; those of a whole hour are left out."""
    found: defaultdict[Arrivals, set[str]] = defaultdict(set)
    for name in names:
        span = arrivals_of(name)
        if span and not _is_hour(span):
            start = span.start_ms - span.start_ms % HOUR_MS
            found[Arrivals(start, start + HOUR_MS)].add(name)
    return found


def _rows_of_hours(names: set[str], until_ms: int) -> dict[Arrivals, list[str]]:
    """By hour of arrival that is over, the files with its rows, as they are after compaction."""
    hours = {span: [span.name] if len(inside) > 1 else sorted(inside) for span, inside in _hours(names).items()}
    hours |= {span: [span.name] for name in names if (span := arrivals_of(name)) and _is_hour(span)}
    return {span: files for span, files in hours.items() if span.end_ms <= until_ms}


def _is_hour(span: Arrivals) -> bool:
    return span.end_ms - span.start_ms == HOUR_MS


def _end(name: str) -> int:
    span = arrivals_of(name)
    return span.end_ms if span else 0
