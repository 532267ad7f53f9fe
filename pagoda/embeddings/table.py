"""The base of an ID table: embedding rows by ID in memory-mapped files that all processes of a host share.

A folder holds `ids.npy` (int64 [n], strictly increasing), `rows.npy` (float32 [n, dim]), `oov.npy` (float32 [dim], the
out-of-vocabulary row) and `table.json`, which says how long the others are and what their checksums are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from pagoda.embeddings.array_files import BLOCK_ROWS, ArrayWriter, open_array, save_array
from pagoda.embeddings.sorted_ids import SortedIds, check_increasing
from pagoda.errors import DataError, IntegrityError, explain
from pagoda.storage.atomic import build_folder
from pagoda.storage.checksums import checksum_file

DESCRIPTION = "table.json"
FILES = ("ids.npy", "rows.npy", "oov.npy", DESCRIPTION)
Ids = NDArray[np.int64]
Rows = NDArray[np.float32]


class TableDescription(BaseModel):
    """What `table.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    dim: int
    files: dict[str, str]
    """Checksum of each array file."""

    @property
    def checksum(self) -> str:
        """One checksum for the whole table."""
        return combine(self.files)


class IdTable:
    """Embedding rows by ID; opened memory-mapped, never changed."""

    def __init__(self, folder: Path, description: TableDescription, ids: Ids, rows: Rows, oov: Rows) -> None:
        self.folder, self.description = folder, description
        self.ids, self.rows, self.oov = ids, rows, oov
        self._search = SortedIds(ids)

    def __len__(self) -> int:
        return self.description.rows

    @property
    def dim(self) -> int:
        """Length of a row."""
        return self.description.dim

    @property
    def checksum(self) -> str:
        """Checksum of the whole table; delta segments name their base by it."""
        return self.description.checksum

    @classmethod
    def write(cls, folder: Path, ids: Ids, rows: Rows, oov: Rows) -> TableDescription:
        """Write a table: all of it or nothing.

        Args:
            folder: Where to; must not exist.
            ids: int64 [n], each once, in any order.
            rows: float32 [n, dim], in the order of `ids`; streamed, so it may be a mapped file larger than memory.
            oov: float32 [dim], the row of every unknown ID.

        Raises:
            ConflictError: `folder` exists.
            DataError: Shapes differ, an ID occurs twice, or a row is not finite.
        """
        oov = np.asarray(oov)
        if oov.ndim != 1 or rows.shape != (len(ids), *oov.shape):
            raise DataError(f"{folder}: ids {ids.shape}, rows {rows.shape} and oov {oov.shape} do not fit together")
        with build_folder(folder) as aside:
            files = write_rows(aside, *sorted_blocks(ids, rows, folder), rows.shape[1])
            files["oov.npy"] = save_array(aside / "oov.npy", oov, np.float32)
            description = TableDescription(rows=len(ids), dim=rows.shape[1], files=files)
            (aside / DESCRIPTION).write_text(description.model_dump_json(indent=1))
        return description

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> IdTable:
        """Map a table.

        Args:
            folder: As written by `write`.
            verify: Also read every byte: checksums and the order of the IDs. Without it only the lengths are checked.

        Raises:
            IntegrityError: A file is missing, truncated or damaged; the message names it.
        """
        description = _read_description(folder)
        if verify:
            verify_files(folder, description.files)
        ids = open_array(folder / "ids.npy", np.int64, (description.rows,))
        rows = open_array(folder / "rows.npy", np.float32, (description.rows, description.dim))
        oov = open_array(folder / "oov.npy", np.float32, (description.dim,))
        if verify and (wrong := check_increasing(ids)) is not None:
            raise IntegrityError(f"{folder / 'ids.npy'}: not strictly increasing at position {wrong}")
        return cls(folder, description, ids, rows, oov.copy())

    def find(self, ids: Ids) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the position int64 [n] in `rows` of each of `ids` [n] and whether it is there at all, bool [n]."""
        return self._search.find(ids)

    def lookup(self, ids: Ids) -> tuple[Rows, NDArray[np.bool_]]:
        """Return the rows float32 [n, dim] of `ids` int64 [n], the OOV row where there is none, and found bool [n]."""
        positions, found = self.find(ids)
        if not len(self):
            return np.broadcast_to(self.oov, (len(ids), self.dim)).copy(), found
        rows = self.rows.take(positions, axis=0, mode="clip")
        if not found.all():
            rows[~found] = self.oov
        return rows, found


def sorted_blocks(ids: Ids, rows: Rows, where: Path) -> tuple[Ids, Iterator[Rows]]:
    """Return `ids` in order and a stream of `rows` in that order; a sorted input is never copied whole.

    Raises:
        DataError: An ID occurs twice.
    """
    order = None if check_increasing(ids) is None else np.argsort(ids, kind="stable")
    ids = ids if order is None else ids[order]
    if (wrong := check_increasing(ids)) is not None:
        raise DataError(f"{where}: ID {ids[wrong]} occurs twice")
    starts = range(0, len(ids), BLOCK_ROWS)
    parts = (slice(start, start + BLOCK_ROWS) for start in starts)
    return ids, (rows[part] if order is None else rows[order[part]] for part in parts)


def write_rows(folder: Path, ids: Ids, blocks: Iterable[Rows], dim: int) -> dict[str, str]:
    """Write `ids.npy` and `rows.npy` from sorted `ids` and their rows in blocks, and return the files' checksums.

    Raises:
        DataError: A row is not finite.
    """
    done = 0
    with ArrayWriter(folder / "rows.npy", np.float32, (len(ids), dim)) as writer:
        for block in blocks:
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                raise DataError(f"{folder}: the row of ID {ids[done + int(finite.argmin())]} is not finite")
            writer.write(block)
            done += len(block)
    return {"ids.npy": save_array(folder / "ids.npy", ids, np.int64), "rows.npy": writer.checksum}


def verify_files(folder: Path, files: dict[str, str]) -> None:
    """Compare files with their checksums.

    Raises:
        IntegrityError: A file is missing or not what its checksum says.
    """
    for name, expected in files.items():
        try:
            actual = checksum_file(folder / name)
        except OSError as error:
            raise IntegrityError(f"{folder / name}: cannot be read ({error.strerror})") from error
        if actual != expected:
            raise IntegrityError(f"{folder / name}: damaged or half-copied: checksum {actual}, expected {expected}")


def combine(files: dict[str, str]) -> str:
    """One checksum over the checksums of named files."""
    digest = xxhash.xxh3_128()
    for name, checksum in sorted(files.items()):
        digest.update(f"{name}\0{checksum}\n".encode())
    return f"xxh3:{digest.hexdigest()}"


def _read_description(folder: Path) -> TableDescription:
    path = folder / DESCRIPTION
    try:
        return TableDescription.model_validate_json(path.read_bytes())
    except OSError as error:
        raise IntegrityError(f"{path}: cannot be read ({error.strerror}); is {folder} an ID table?") from error
    except ValidationError as error:
        raise IntegrityError(explain(error, str(path))) from error
