"""Reading a dataset folder: interactions as a stream in time order, items and users as tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.checks.problems import Strict
from pagoda.data.checks.structure import Structure, inspect, table_files
from pagoda.data.fingerprint import Fingerprint
from pagoda.data.ids import hash_ids
from pagoda.data.increments import changes_of
from pagoda.data.interaction_files import BATCH_ROWS, edge_us, in_order
from pagoda.data.layout import FEATURES_FILE, INTERACTION_COLUMNS, Table, day_start_us, key_column, schema_of
from pagoda.data.parquet import all_batches, open_parquet, reading, row_count
from pagoda.data.partitions import Part, first_moment_us, rebatch
from pagoda.data.remote_source import Source
from pagoda.data.sorting.merge import Run, merge
from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window, from_us
from pagoda.errors import DataError


class Dataset:
    """A dataset folder whose structure was found sound. Values are checked by `pagoda data check` and at import."""

    def __init__(self, path: Path, structure: Structure, source: Source | None = None) -> None:
        self.path = path
        self.spec: FeatureSpec = structure.spec
        self._structure, self._source = structure, source

    @classmethod
    def open(cls, path: Path, source: Source | None = None) -> Self:
        """Open the folder: read its feature file and every Parquet footer.

        Args:
            path: The folder.
            source: Fills it while it is read; footers are then read with their files.

        Raises:
            DataError: Something is missing, unreadable, corrupt, has another schema than declared, or is empty.
            ConfigError: The feature file is wrong.
        """
        if source is None:
            return cls(path, inspect(path, Strict()))
        structure = inspect(path, Strict(), tables=())
        if (structure.parts[0].day, structure.parts[-1].day) != source.edges:  # A file at the edge has no rows.
            source.interactions(None)
            structure = inspect(path, Strict(), tables=())
        return cls(path, structure, source)

    def batches(
        self,
        window: Window | None = None,
        *,
        events: Collection[str] | None = None,
        columns: Sequence[str] | None = None,
        batch_rows: int = BATCH_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """Stream the interactions of `window` (default: all), in time order throughout.

        Args:
            window: Only timestamps in [start, end). One without interactions gives no batch.
            events: Only these events (default: all).
            columns: Exactly these, in this order; default user_id, item_id (int64), event (string), timestamp
                (µs, UTC). Context features have their own names; with string IDs, `user_key` and `item_key` are
                the IDs as they were given.
            batch_rows: Rows of each batch but the last. Memory follows it, not the data.

        Raises:
            DataError: A column or event is not declared, a file cannot be read, or rows are out of order.
        """
        names = self._known_columns(columns)
        kept = self._known_events(events)
        return rebatch(self._stream(window, kept, names), max(1, batch_rows))

    def count(self, window: Window | None = None, *, events: Collection[str] | None = None) -> int:
        """Number of interactions in `window`."""
        if window is None and events is None:
            parts = self._parts(None)
            if not any(part.arrived for part in parts):
                return sum(row_count(part.path) for part in parts)
        return sum(batch.num_rows for batch in self.batches(window, events=events, columns=["timestamp"]))

    def require(self, window: Window, *, events: Collection[str] | None = None) -> None:
        """Raise DataError if `window` holds no interaction (of these `events`)."""
        if next(self.batches(window, events=events, columns=["timestamp"], batch_rows=1), None) is None:
            span = self.span()
            what = f" with event {' or '.join(sorted(events))}" if events else ""
            raise DataError(
                f"{self.path}: no interaction{what} in window {window.key}; "
                f"the dataset spans {span.start.isoformat()} to {span.end.isoformat()}"
            )

    def span(self) -> Window:
        """From the first interaction to one microsecond after the last."""
        parts = self._structure.parts
        first = min(edge_us(part, 0) for part in parts if part.day == parts[0].day)
        last = max(edge_us(part, -1) for part in parts if part.day == parts[-1].day)
        return Window(start=from_us(first), end=from_us(last + 1))

    def rows_by_day(self, last: int) -> dict[date, int]:
        """Interactions of the last days that have any, the first day first, by the footers of their files."""
        days = [(day, list(parts)) for day, parts in groupby(self._structure.parts, lambda part: part.day)]
        return {day: sum(row_count(part.path) for part in parts) for day, parts in days[-last:]}

    def items(self, share: tuple[int, int] = (0, 1)) -> pa.Table:
        """All items sorted by `item_id` (int64; for string IDs their hash, and the string as `item_key`).

        Args:
            share: (k, n): only the k-th of n consecutive parts of equal size. Memory follows the part, but for IDs.
        """
        number, shares = share
        if shares == 1:
            return self._table("items")
        bounds = self._item_ids[[len(self._item_ids) * part // shares for part in range(1, shares)]]
        return self._table("items", lambda ids: np.searchsorted(bounds, ids, side="right") == number)

    def imported_items(self, ids: np.ndarray) -> pa.Table:
        """These items (int64 [n]) as they were before any change by the item log; unknown ones are left out."""
        return self._table("items", lambda found: np.isin(found, ids), changed=False)

    def users(self, ids: np.ndarray | None = None) -> pa.Table:
        """Users sorted by `user_id` (int64; for string IDs their hash, and the string as `user_key`).

        Args:
            ids: int64 [n]: only these users; unknown ones are left out. Memory follows the answer.
        """
        if ids is None:
            return self._table("users")
        wanted = np.unique(ids)
        return self._table("users", lambda found: np.isin(found, wanted))

    def user_batches(self, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Stream all users, columns as `users` gives them, in the order of the files."""
        return self._rows("users", batch_rows)

    def checksum(self, window: Window) -> str:
        """Checksum over the content of the window's interactions, the items and the feature file.

        It does not depend on how rows are spread over files, row groups or batches.
        """
        fingerprint = Fingerprint()
        schema = schema_of(self.spec, "interactions")
        for batch in self.batches(window, columns=self._file_columns(schema.names)):
            fingerprint.update("interactions", batch)
        for batch in self.items().to_batches():
            fingerprint.update("items", batch)
        fingerprint.update_bytes("features", (self.path / FEATURES_FILE).read_bytes())
        return fingerprint.hexdigest()

    def _stream(self, window: Window | None, events: set[str] | None, columns: list[str]) -> Iterator[pa.RecordBatch]:
        wanted = [*dict.fromkeys([*map(_file_column, columns), "timestamp", *(["event"] if events else [])])]
        for _, of_day in groupby(self._parts(window), key=lambda part: part.day):
            for batch in self._day(list(of_day), window, wanted):
                rows = batch
                if events is not None:
                    rows = rows.filter(pc.is_in(rows.column("event"), value_set=pa.array(sorted(events))))
                if rows.num_rows:
                    yield self._present(rows, columns)

    def _parts(self, window: Window | None) -> list[Part]:
        """The files that may hold interactions of a window, brought here if they are elsewhere."""
        if self._source is not None and self._source.interactions(window):
            self._structure = inspect(self.path, Strict(), tables=())
        found = self._structure.parts
        if window is None:
            return found
        kept_from = self._structure.kept_from
        if kept_from is not None and window.start_us < day_start_us(kept_from):
            raise DataError(
                f"{self.path}: interactions before {kept_from} were deleted (`pagoda retention --interactions`), and "
                f"window {window.key} begins before; begin there or later"
            )
        return [part for part in found if part.end_us > window.start_us and part.start_us < window.end_us]

    def _files(self, table: Table) -> list[Path]:
        if self._source is None:
            return self._structure.files[table]
        self._source.table(table)
        return table_files(self.path / table, table, self.spec, Strict())

    def _day(self, parts: list[Part], window: Window | None, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """One date's rows in time order. Events as they arrived lie in files that overlap, others follow each other."""
        imported, arrived = ([part for part in parts if part.arrived == kind] for kind in (False, True))
        if not arrived:
            return in_order(imported, self.spec, window, columns)
        runs = [Run(first_moment_us(part), partial(self._arrived, part, window, columns)) for part in arrived]
        if imported:
            runs.insert(0, Run(imported[0].start_us, partial(in_order, imported, self.spec, window, columns)))
        return merge(runs)

    def _arrived(self, part: Part, window: Window | None, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """The rows of one file of events; those of items that `items` lacks so far are left out until it has them."""
        for batch in in_order([part], self.spec, window, [*columns, *({"item_id"} - set(columns))]):
            known = np.isin(self._as_int64(batch.column("item_id")).to_numpy(), self._item_ids)
            yield batch.filter(pa.array(known)).select(columns)

    @cached_property
    def _item_ids(self) -> np.ndarray:
        """IDs of all items, int64 [n], ascending."""
        return np.sort(
            np.concatenate([batch.column("item_id").to_numpy() for batch in self._rows("items", only_ids=True)])
        )

    def _present(self, batch: pa.RecordBatch, columns: list[str]) -> pa.RecordBatch:
        """`columns` of `batch`, IDs as int64."""
        arrays = []
        for name in columns:
            array = batch.column(_file_column(name))
            arrays.append(self._as_int64(array) if name in ("user_id", "item_id") else array)
        return pa.RecordBatch.from_arrays(arrays, names=columns)

    def _as_int64(self, array: pa.Array) -> pa.Array:
        return pa.array(hash_ids(array)) if self.spec.id_type == "string" else array

    def _table(
        self, table: Table, keep: Callable[[np.ndarray], np.ndarray] | None = None, *, changed: bool = True
    ) -> pa.Table:
        """The rows, or those whose IDs `keep` says bool [n] of, sorted; without item changes unless `changed`."""
        files = [path for path in self._files(table) if changed or changes_of(path.name) is None]
        batches = list(self._rows(table, keep=keep, files=files))
        return pa.Table.from_batches(batches, _presented(self.spec, table)).sort_by(key_column(table))

    def _rows(
        self,
        table: Table,
        batch_rows: int = BATCH_ROWS,
        keep: Callable[[np.ndarray], np.ndarray] | None = None,
        *,
        only_ids: bool = False,
        files: Sequence[Path] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        key = key_column(table)
        schema = schema_of(self.spec, table)
        if only_ids:
            schema = pa.schema([schema.field(key)])
        changed = [pa.array([], schema.field(key).type)]
        for path in self._files(table) if files is None else files:
            with reading(path), open_parquet(path) as file:
                for batch in all_batches(file, batch_rows, schema.names):
                    given = batch.select(schema.names).cast(schema, safe=False)
                    if changes_of(path.name) is not None:
                        changed.append(given.column(key))
                    elif len(changed) > 1:
                        stands = pc.is_in(given.column(key), value_set=pa.concat_arrays(changed))
                        given = given.filter(pc.invert(stands))
                    rows = _with_keys(given, key, self.spec.id_type)
                    yield rows if keep is None else rows.filter(pa.array(keep(rows.column(key).to_numpy())))

    def _file_columns(self, names: list[str]) -> list[str]:
        keys = {"user_id": "user_key", "item_id": "item_key"} if self.spec.id_type == "string" else {}
        return [keys.get(name, name) for name in names]

    def _all_columns(self) -> list[str]:
        keys = ["user_key", "item_key"] if self.spec.id_type == "string" else []
        return [*schema_of(self.spec, "interactions").names, *keys]

    def _known_columns(self, columns: Sequence[str] | None) -> list[str]:
        known = self._all_columns()
        chosen = list(INTERACTION_COLUMNS if columns is None else columns)
        if unknown := [name for name in chosen if name not in known]:
            raise DataError(f"{self.path}: interactions have no column {unknown}; they have {known}")
        return chosen

    def _known_events(self, events: Collection[str] | None) -> set[str] | None:
        if events is None:
            return None
        if unknown := sorted(set(events) - self.spec.known_events):
            raise DataError(f"{self.path}: unknown event {unknown}; known are {sorted(self.spec.known_events)}")
        return set(events)


def _file_column(name: str) -> str:
    return {"user_key": "user_id", "item_key": "item_id"}.get(name, name)


def _with_keys(batch: pa.RecordBatch, key: str, id_type: str) -> pa.RecordBatch:
    """Replace string IDs by their hashes and keep the strings in a column of their own."""
    if id_type == "int64":
        return batch
    strings = batch.column(key)
    hashed = batch.set_column(batch.schema.get_field_index(key), key, pa.array(hash_ids(strings)))
    return hashed.append_column(key.replace("_id", "_key"), strings)


def _presented(spec: FeatureSpec, table: Table) -> pa.Schema:
    """The schema of `users` or `items` as `Dataset` gives them."""
    empty = pa.RecordBatch.from_pylist([], schema_of(spec, table))
    return _with_keys(empty, key_column(table), spec.id_type).schema
