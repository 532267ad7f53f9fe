"""The index of a collection: a folder that is built aside, renamed when it is whole, and never changed.

index.json     kind, rows, and the checksum of each other file
items.arrow    the items' columns but for their vectors and words, by ascending ID
vectors.faiss  their vectors, in the same order
index.faiss    what leads to them, where the kind has such
text/          where the words are, in a collection that has them; see `text_index`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pagoda.errors import IntegrityError, explain
from pagoda.index.in_process.vector_index import VectorIndex, Vectors, build_index, open_index
from pagoda.item_vectors.fields import ITEM_ID, VECTOR
from pagoda.item_vectors.texts import TEXT
from pagoda.settings import CollectionConfig
from pagoda.settings.index import Kind
from pagoda.storage.atomic import build_folder
from pagoda.storage.checksums import checksum_file

if TYPE_CHECKING:
    from pagoda.index.in_process.text_index import TextIndex

RECORD = "index.json"
_ITEMS, _TEXT = "items.arrow", "text"
_BLOCK = 32_768
"""Rows that are added at a time: enough for all cores, and progress each second or two."""


_Name = Annotated[str, StringConstraints(pattern=r"^\.?\w[\w.-]*$")]
"""Of a file in a folder: who brings what a record of a store names writes nowhere else."""


class IndexRecord(BaseModel):
    """What the folder holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    rows: int
    checksums: dict[_Name, str]
    """By file name."""
    text: dict[_Name, str] = Field(default={}, exclude_if=lambda files: not files)
    """The same below `text/`; empty: it holds no words."""

    @property
    def files(self) -> dict[str, str]:
        """All files but this one, by their place in the folder, and their checksums."""
        return {**self.checksums, **{f"{_TEXT}/{name}": checksum for name, checksum in self.text.items()}}


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
        words = [TEXT.name] if TEXT.name in rows.schema.names else []
        items = rows.drop_columns([VECTOR, *words]).combine_chunks()
        with pa.ipc.new_file(aside / _ITEMS, items.schema) as writer:
            # In one piece, so that it is read without being put together.
            writer.write_table(items, max_chunksize=max(1, len(items)))
        index = build_index(config, dim, len(rows), _blocks(rows, progress))
        index.write(aside)
        checksums = {path.name: checksum_file(path) for path in aside.iterdir()}
        text = _write_text(aside / _TEXT, rows[TEXT.name], progress) if words else {}
        record = IndexRecord(kind=index.kind, rows=len(rows), checksums=checksums, text=text)
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


def _write_text(folder: Path, texts: pa.ChunkedArray, progress: Callable[[int], None]) -> dict[str, str]:
    # Here and below, since only collections that hold words need its library.
    from pagoda.index.in_process.text_index import files_of, write_text

    def blocks() -> Iterator[pa.Array]:
        for start in range(0, len(texts), _BLOCK):
            progress(len(texts))
            yield texts.slice(start, _BLOCK).combine_chunks()

    write_text(folder, blocks())
    return {path.name: checksum_file(path) for path in files_of(folder)}


def read_record(folder: Path) -> IndexRecord:
    """What the folder says of itself.

    Raises:
        IntegrityError: It is damaged.
    """
    return parse_record((folder / RECORD).read_bytes(), str(folder / RECORD))


def parse_record(content: bytes, where: str) -> IndexRecord:
    """What a folder says of itself, read `where`.

    Raises:
        IntegrityError: It is damaged.
    """
    try:
        return IndexRecord.model_validate_json(content)
    except ValidationError as error:
        raise IntegrityError(f"{explain(error, where)}; build the collection anew") from error


def open_items(folder: Path) -> pa.Table:
    """The items' columns, by ascending ID, mapped and not compared with any checksum."""
    return pa.ipc.open_file(pa.memory_map(str(folder / _ITEMS))).read_all()


def open_folder(folder: Path) -> tuple[pa.Table, VectorIndex]:
    """The items' columns and their index, mapped. Every byte is read once, to compare the checksums.

    Raises:
        IntegrityError: A file is missing or damaged.
    """
    record = read_record(folder)
    _compare(folder, record.checksums)
    try:
        index = open_index(record.kind, folder)
    except RuntimeError as error:  # All that faiss raises.
        raise IntegrityError(f"{folder} is none that this release's faiss reads: {error}") from error
    return open_items(folder), index


def open_text(folder: Path) -> TextIndex | None:
    """The items' words, mapped; None: the collection was built without them. Every byte is read once.

    Raises:
        IntegrityError: A file is missing or damaged.
    """
    if not (files := read_record(folder).text):
        return None
    _compare(folder / _TEXT, files)
    from pagoda.index.in_process.text_index import read_text

    return read_text(folder / _TEXT)


def _compare(folder: Path, checksums: Mapping[str, str]) -> None:
    for name, expected in checksums.items():
        path = folder / name
        found = checksum_file(path) if path.exists() else "nothing"
        if found != expected:
            raise IntegrityError(f"{path} is {found}, expected {expected}; build the collection anew")
