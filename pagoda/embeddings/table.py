"""The base of an ID table.

A folder holds `ids.npy` (int64 [n], strictly increasing), `rows.npy` (float32 [n, dim]), `oov.npy` (float32 [dim], the
out-of-vocabulary row) and `table.json`, which says how long the others are and what their checksums are. Where IDs
share rows (`pagoda.embeddings.shared_rows`), `rows.npy` has these after the others.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pagoda.embeddings.array_files import in_blocks, open_array, save_array
from pagoda.embeddings.mapped_rows import IDS, ROWS, Ids, MappedRows, Rows, map_rows, sorted_blocks, write_rows
from pagoda.embeddings.shared_rows import shared_sums
from pagoda.errors import DataError, IntegrityError, explain
from pagoda.storage.atomic import build_folder

DESCRIPTION, OOV = "table.json", "oov.npy"
FILES = (IDS, ROWS, OOV, DESCRIPTION)


class TableDescription(BaseModel):
    """What `table.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    """Those of one ID each."""
    dim: int
    shared: int = Field(default=0, exclude_if=lambda shared: not shared)
    """Rows that all other IDs share; files of tables without them say nothing of it."""
    files: dict[str, str]
    """Checksum of each array file."""

    @property
    def checksum(self) -> str:
        """One checksum for the whole table."""
        return combine(self.files)


class IdTable(MappedRows):
    """A base: rows by ID, and what stands for every unknown one."""

    def __init__(self, folder: Path, description: TableDescription, ids: Ids, rows: Rows, oov: Rows) -> None:
        super().__init__(folder, ids, rows[: len(ids)])
        self.description, self.shared, self.oov = description, rows[len(ids) :], oov

    @property
    def checksum(self) -> str:
        """Checksum of the whole table; delta segments name their base by it."""
        return self.description.checksum

    @classmethod
    def write(cls, folder: Path, ids: Ids, rows: Rows, oov: Rows, shared: Rows | None = None) -> TableDescription:
        """Write a table: all of it or nothing.

        Args:
            folder: Where to; must not exist.
            ids: int64 [n], each once, in any order.
            rows: float32 [n, dim], in the order of `ids`; streamed, so it may be a mapped file larger than memory.
            oov: float32 [dim], the row of every unknown ID, or, where rows are shared, of nobody.
            shared: float32 [m, dim], two of them at least; None: no rows are shared.

        Raises:
            ConflictError: `folder` exists.
            DataError: Shapes differ, an ID occurs twice, or a row is not finite.
        """
        oov = np.asarray(oov)
        if oov.ndim != 1 or rows.shape != (len(ids), *oov.shape):
            raise DataError(f"{folder}: ids {ids.shape}, rows {rows.shape} and oov {oov.shape} do not fit together")
        shared = np.empty((0, len(oov)), np.float32) if shared is None else shared
        with build_folder(folder) as aside:
            ids, blocks = sorted_blocks(ids, rows, folder)
            files = write_rows(aside, ids, chain(blocks, in_blocks(shared)), rows.shape[1], shared=len(shared))
            files[OOV] = save_array(aside / OOV, oov, np.float32)
            description = TableDescription(rows=len(ids), dim=rows.shape[1], shared=len(shared), files=files)
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
        files = description.files if verify else None
        ids, rows = map_rows(folder, description.rows, description.dim, files, shared=description.shared)
        oov = open_array(folder / OOV, np.float32, (description.dim,))
        return cls(folder, description, ids, rows, oov.copy())

    def lookup(self, ids: Ids) -> tuple[Rows, NDArray[np.bool_]]:
        """Return the rows float32 [n, dim] of `ids` int64 [n], `unknown` where there is none, and found bool [n]."""
        positions, found = self.find(ids)
        if not len(self):
            return self.unknown(ids), found
        rows = self.rows.take(positions, axis=0, mode="clip")  # an unknown ID may stand one past the end
        if not found.all():
            rows[~found] = self.unknown(ids[~found])
        return rows, found

    def unknown(self, ids: Ids) -> Rows:
        """What stands for `ids` int64 [n] without a row of their own: the OOV row, or sums of shared ones. [n, dim]"""
        if len(self.shared):
            return shared_sums(ids, self.shared, self.oov)
        return np.broadcast_to(self.oov, (len(ids), self.dim)).copy()


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
