"""What table and segment have alike: embedding rows by ID, in memory-mapped files that all processes of a host share.

A folder holds `ids.npy` (int64 [n], strictly increasing) and `rows.npy` (float32 [n, dim]), in the same order, beside
what describes them. A mapped file costs a process only the pages that it touches, and those are the host's, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pagoda.embeddings.array_files import ArrayWriter, in_blocks, open_array, save_array
from pagoda.embeddings.sorted_ids import SortedIds, check_increasing
from pagoda.errors import DataError, IntegrityError
from pagoda.storage.checksums import checksum_file

IDS, ROWS = "ids.npy", "rows.npy"
Ids = NDArray[np.int64]
Rows = NDArray[np.float32]


class MappedRows:
    """Rows by ID, memory-mapped, never changed."""

    def __init__(self, folder: Path, ids: Ids, rows: Rows) -> None:
        self.folder, self.ids, self.rows = folder, ids, rows
        self._search = SortedIds(ids)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Length of a row."""
        return int(self.rows.shape[1])

    def find(self, ids: Ids) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the position int64 [n] in `rows` of each of `ids` [n] and whether it is there at all, bool [n]."""
        return self._search.find(ids)


def map_rows(
    folder: Path, rows: int, dim: int, verify: dict[str, str] | None = None, *, shared: int = 0
) -> tuple[Ids, Rows]:
    """Map `ids.npy` and `rows.npy` of a folder.

    Args:
        folder: As written by `write_rows`.
        rows: How many there are.
        dim: Length of a row.
        verify: Also read every byte: these files by their checksums, and the order of the IDs. Without it only the
            lengths are checked.
        shared: How many rows of no single ID come after those.

    Raises:
        IntegrityError: A file is missing, truncated or damaged; the message names it.
    """
    if verify is not None:
        verify_files(folder, verify)
    ids = open_array(folder / IDS, np.int64, (rows,))
    mapped = open_array(folder / ROWS, np.float32, (rows + shared, dim))
    if verify is not None and (wrong := check_increasing(ids)) is not None:
        raise IntegrityError(f"{folder / IDS}: not strictly increasing at position {wrong}")
    return ids, mapped


def sorted_blocks(ids: Ids, rows: Rows, where: Path) -> tuple[Ids, Iterator[Rows]]:
    """Return `ids` in order and a stream of `rows` in that order; a sorted input is never copied whole.

    Raises:
        DataError: An ID occurs twice.
    """
    order = None if check_increasing(ids) is None else np.argsort(ids, kind="stable")
    ids = ids if order is None else ids[order]
    if (wrong := check_increasing(ids)) is not None:
        raise DataError(f"{where}: ID {ids[wrong]} occurs twice")
    return ids, in_blocks(rows) if order is None else (rows[part] for part in in_blocks(order))


def write_rows(folder: Path, ids: Ids, blocks: Iterable[Rows], dim: int, *, shared: int = 0) -> dict[str, str]:
    """Write `ids.npy` and `rows.npy` from sorted `ids` and their rows in blocks, and return the files' checksums.

    So many rows of no single ID, which IDs share, come last.

    Raises:
        DataError: A row is not finite.
    """
    done = 0
    with ArrayWriter(folder / ROWS, np.float32, (len(ids) + shared, dim)) as writer:
        for block in blocks:
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                wrong = done + int(finite.argmin())
                whose = f"the row of ID {ids[wrong]}" if wrong < len(ids) else f"shared row {wrong - len(ids)}"
                raise DataError(f"{folder}: {whose} is not finite")
            writer.write(block)
            done += len(block)
    return {IDS: save_array(folder / IDS, ids, np.int64), ROWS: writer.checksum}


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
