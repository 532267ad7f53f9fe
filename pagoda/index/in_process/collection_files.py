"""A collection as a folder.

    schema.arrow     its columns, and its description; in a store, and of a copy, which build of the store it is, too
    rows/00000.arrow what was inserted, a file for each call; gone when the index holds it
    wanted.json      which index was asked for
    index/           the index, see `index_folder`; there when it is whole
    loaded           there while it may be searched
    overlay.arrow    rows that were put in place of others, and IDs of deleted ones, which have no vector
    taken            of a copy: how many changes of its store the overlay holds, see `collection_store`

The overlay is replaced whole, so that a reader sees a change or does not see it. That makes a change cost what all
changes since the build take: few, for the next full version begins without them.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.errors import ConflictError, DataError, IntegrityError
from pagoda.index.in_process.index_folder import RECORD, write_index
from pagoda.item_vectors.fields import ITEM_ID, ITEM_KEY, VECTOR, FilterField
from pagoda.settings import CollectionConfig
from pagoda.storage.atomic import build_folder, write_atomic

_DESCRIPTION, _BUILD = b"description", b"build"
Place = tuple[int, int, int]
SCHEMA = "schema.arrow"
_ROWS, _OVERLAY = "rows", "overlay.arrow"


class CollectionFiles:
    """The files of one collection."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = folder / "index"
        self.loaded = folder / "loaded"
        """A mark, by being there."""
        self._wanted, self._taken = folder / "wanted.json", folder / "taken"

    def create(self, dim: int, fields: Sequence[FilterField], *, keys: bool, description: str) -> None:
        """Make the folder of an empty collection; see `Collections.create`."""
        columns = [pa.field(ITEM_ID, pa.int64(), nullable=False)]
        if keys:
            columns.append(pa.field(ITEM_KEY, pa.string(), nullable=False))
        columns.append(pa.field(VECTOR, pa.list_(pa.float32(), dim), nullable=False))
        columns += [pa.field(field.name, field.arrow_type, nullable=False) for field in fields]
        schema = pa.schema(columns, {_DESCRIPTION: description.encode()})
        with build_folder(self.folder) as aside:
            (aside / _ROWS).mkdir()
            (aside / SCHEMA).write_bytes(schema.serialize())

    @property
    def exists(self) -> bool:
        """Whether there is a collection."""
        return (self.folder / SCHEMA).is_file()

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return pa.ipc.read_schema(pa.py_buffer((self.folder / SCHEMA).read_bytes()))

    @property
    def description(self) -> str:
        """What it was created with."""
        return description_in(self.schema)

    def name_build(self, build: str) -> bytes:
        """Say which build of a store this is; returns what is now the file of the columns."""
        schema = self.schema
        content = bytes(schema.with_metadata({**schema.metadata, _BUILD: build.encode()}).serialize())
        write_atomic(self.folder / SCHEMA, content)
        return content

    @property
    def index_state(self) -> Place | None:
        """Which index there is."""
        return _place(self.index / RECORD)

    @property
    def overlay_state(self) -> Place | None:
        """Which overlay there is."""
        return _place(self.folder / _OVERLAY)

    @property
    def wanted(self) -> CollectionConfig | None:
        """The index that was asked for."""
        return CollectionConfig(**json.loads(self._wanted.read_bytes())) if self._wanted.exists() else None

    def ask_for(self, config: CollectionConfig) -> None:
        """Say which index there shall be."""
        write_atomic(self._wanted, json.dumps({"kind": config.kind, **config.build}).encode())

    def build_index(self, config: CollectionConfig, progress: Callable[[int], None]) -> None:
        """Build the index of what was inserted; see `write_index`. One that is there stays.

        Raises:
            IntegrityError: Neither the index nor the rows are there.
        """
        rows = self.folder / _ROWS
        if self.index_state is None:
            if not rows.exists():
                raise IntegrityError(f"{self.index} is gone; build the collection anew")
            with suppress(ConflictError):  # Another process was first.
                write_index(self.index, self._inserted(), config, progress)
        # The index has them now; of one who was killed before this they are left.
        shutil.rmtree(rows, ignore_errors=True)

    def insert(self, batch: pa.RecordBatch) -> None:
        """Add rows, as one file.

        Raises:
            DataError: They are not what the collection holds, or it is indexed already.
        """
        if self.index_state is not None:
            raise DataError("it is indexed, and no row can be inserted any more; upsert them")
        content = arrow_bytes(_fitting(batch, self.schema))
        write_atomic(self.folder / _ROWS / f"{len(self._row_files()):05}.arrow", content)

    def _inserted(self) -> pa.Table:
        """What was inserted, mapped."""
        tables = [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in self._row_files()]
        return pa.concat_tables([self.schema.empty_table(), *tables])

    def overlay(self) -> pa.Table:
        """The overlay: every column but the ID may be null."""
        path = self.folder / _OVERLAY
        if not path.exists():
            return overlay_schema(self.schema).empty_table()
        return pa.ipc.open_file(path.read_bytes()).read_all()

    def change(self, changed: pa.Table) -> None:
        """Put rows of `changed_rows` or `deleted_rows` into the overlay, each ID once."""
        with _locked(self.folder):
            before = self.overlay()
            stays = pc.invert(pc.is_in(before[ITEM_ID], changed[ITEM_ID].combine_chunks()))
            write_atomic(self.folder / _OVERLAY, arrow_bytes(pa.concat_tables([before.filter(stays), changed])))

    @property
    def taken(self) -> int | None:
        """How many changes of its store the overlay holds; None: this is no copy."""
        try:
            return int(self._taken.read_bytes())
        except FileNotFoundError:
            return None

    def take(self, changes: Sequence[pa.Table], taken: int) -> None:
        """Put changes into the overlay, of which the last says what becomes of an item, and remember how many it holds.

        Who is killed in between takes them again, which does no harm.
        """
        if changes:
            self.change(last_of_each(changes))
        write_atomic(self._taken, b"%d" % taken)

    def begin(self, changes: Sequence[pa.Table], taken: int) -> None:
        """The same where nobody else writes yet and there is no overlay: of a folder that is being built."""
        if changes:
            write_atomic(self.folder / _OVERLAY, arrow_bytes(last_of_each(changes)))
        self.take([], taken)

    def _row_files(self) -> list[Path]:
        return sorted((self.folder / _ROWS).glob("[0-9]*.arrow"))


def description_in(schema: pa.Schema) -> str:
    """What a collection of these columns was created with."""
    return str(schema.metadata[_DESCRIPTION].decode())


def build_in(schema: pa.Schema) -> str:
    """Which build of a store a collection of these columns is."""
    return str(schema.metadata[_BUILD].decode())


def last_of_each(changes: Sequence[pa.Table]) -> pa.Table:
    """Changes put together, of which the last says what becomes of an item."""
    rows = pa.concat_tables(changes)
    ids = rows[ITEM_ID].to_numpy()
    _, last = np.unique(ids[::-1], return_index=True)
    return rows.take(pa.array(len(ids) - 1 - last))


def overlay_schema(schema: pa.Schema) -> pa.Schema:
    """The columns of an overlay, all but the ID of which may be null."""
    return pa.schema([field.with_nullable(field.name != ITEM_ID) for field in schema])


def changed_rows(schema: pa.Schema, batch: pa.RecordBatch) -> pa.Table:
    """Rows as an overlay holds them.

    Raises:
        DataError: They are not what the collection holds.
    """
    return _fitting(batch, schema).cast(overlay_schema(schema))


def deleted_rows(schema: pa.Schema, ids: np.ndarray) -> pa.Table:
    """Deleted IDs, int64 [n], as an overlay holds them."""
    nothing = {field.name: pa.nulls(len(ids), field.type) for field in schema}
    return pa.table({**nothing, ITEM_ID: pa.array(ids, pa.int64())}).cast(overlay_schema(schema))


def _fitting(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    try:
        return pa.Table.from_batches([batch]).select(schema.names).cast(schema)
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise DataError(f"rows of [{batch.schema}] do not fit a collection of [{schema.remove_metadata()}]") from error


def arrow_bytes(table: pa.Table) -> bytes:
    """A table as a file of Arrow's."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _place(path: Path) -> Place | None:
    """Which file a name stands for now: what replaces it has another number or moment. None: there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time, whatever process: each reads what is there and writes what shall be."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
