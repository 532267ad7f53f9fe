"""The index of a collection: a folder that is built aside, renamed when it is whole, and never changed.

index.json     kind, rows, and the checksum of each other file
items.arrow    the items' columns but for their vectors, by ascending ID
vectors.faiss  their vectors, in the same order
index.faiss    what leads to them, where the kind has such
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, ValidationError

from pagoda.errors import IntegrityError, explain
from pagoda.index.in_process.vector_index import VectorIndex, Vectors, build_index, open_index
from pagoda.item_vectors.fields import ITEM_ID, VECTOR
from pagoda.settings import CollectionConfig
from pagoda.settings.index import Kind
from pagoda.storage.atomic import build_folder
from pagoda.storage.checksums import checksum_file

RECORD = "index.json"
_ITEMS = "items.arrow"
_BLOCK = 32_768
"""Rows that are added at a time: enough for all cores, and progress each second or two."""


class IndexRecord(BaseModel):
    """What the folder holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    rows: int
    checksums: dict[str, str]
    """By file name."""


def write_index(folder: Path, rows: pa.Table, config: CollectionConfig, progress: Callable[[int], None]) -> None:
    """Build the folder.

    Args:
        folder: Where it shall be.
        rows: All columns of the items, in any order.
        config: The index's kind and what it is built with.
        progress: Told how many rows the index holds; what it raises ends the build, and nothing remains.

    Raises:
        ConflictError: Another process built it meanwhile.
    """
    rows = _by_id(rows)
    dim = rows.schema.field(VECTOR).type.list_size
    with build_folder(folder) as aside:
        items = rows.drop_columns(VECTOR).combine_chunks()
        with pa.ipc.new_file(aside / _ITEMS, items.schema) as writer:
            # In one piece, so that it is read without being put together.
            writer.write_table(items, max_chunksize=max(1, len(items)))
        index = build_index(config, dim, len(rows), _blocks(rows, progress))
        index.write(aside)
        checksums = {path.name: checksum_file(path) for path in aside.iterdir()}
        record = IndexRecord(kind=index.kind, rows=len(rows), checksums=checksums)
        (aside / RECORD).write_text(record.model_dump_json())


def _by_id(rows: pa.Table) -> pa.Table:
    ids = rows[ITEM_ID].to_numpy()
    # As they are inserted, mostly; putting them in order copies the vectors.
    return rows if (ids[1:] > ids[:-1]).all() else rows.take(pc.sort_indices(rows[ITEM_ID]))


def _blocks(rows: pa.Table, progress: Callable[[int], None]) -> Iterator[Vectors]:
    for start in range(0, len(rows), _BLOCK):
        progress(start)
        block = rows[VECTOR].slice(start, _BLOCK).combine_chunks()
        yield block.flatten().to_numpy().reshape(len(block), -1)


def read_record(folder: Path) -> IndexRecord:
    """What the folder says of itself.

    Raises:
        IntegrityError: It is damaged.
    """
    try:
        return IndexRecord.model_validate_json((folder / RECORD).read_bytes())
    except ValidationError as error:
        raise IntegrityError(f"{explain(error, str(folder / RECORD))}; build the collection anew") from error


def open_folder(folder: Path) -> tuple[pa.Table, VectorIndex]:
    """The items' columns and their index, mapped. Every byte is read once, to compare the checksums.

    Raises:
        IntegrityError: A file is missing or damaged.
    """
    record = read_record(folder)
    for name, expected in record.checksums.items():
        path = folder / name
        found = checksum_file(path) if path.exists() else "nothing"
        if found != expected:
            raise IntegrityError(f"{path} is {found}, expected {expected}; build the collection anew")
    try:
        index = open_index(record.kind, folder)
    except RuntimeError as error:  # All that faiss raises.
        raise IntegrityError(f"{folder} is none that this release's faiss reads: {error}") from error
    return pa.ipc.open_file(pa.memory_map(str(folder / _ITEMS))).read_all(), index
