"""What is known by ID of items that were changed since their generation was exported, beside what that has of them.

`changed-<number>.npz` holds columns of those that the first `number` records of the item log changed: the highest
number stands for all. Files are put if absent, and never changed, so any number of item workers may write. Each adds
what it has brought in to the newest file; since a file is there before its records count as brought in, no change is
missed.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pagoda.append_log.store import open_store
from pagoda.errors import ConflictError, IntegrityError, UnavailableError
from pagoda.item_vectors.vectors_by_id import Ids
from pagoda.storage.copies import children, delete

VECTORS = "vectors"
"""The one column, [m, dim], of what is vectors alone."""
Columns = Mapping[str, NDArray[Any]]
"""By name, each [m, …] for m items."""
_IDS = "ids"
_NAME = re.compile(r"changed-(\d{12})\.npz")
_KEPT = 2
"""Files that stay: somebody may be reading the last but one."""


class ChangedColumns:
    """The files of one generation's changed items, of one kind."""

    def __init__(self, exported: str) -> None:
        """Of what was exported to the file at this URL: in a folder beside that of the file."""
        # What a step of an update made never changes, so they are no part of its folder; they go with the update's.
        self._url = exported.rsplit("/", 1)[0] + ".changed"

    def newest(self) -> int:
        """The number of the newest file, 0 where there is none.

        Raises:
            UnavailableError: The store does not answer.
        """
        return max(self._numbers(), default=0)

    def read(self, number: int) -> tuple[Ids, Columns] | None:
        """IDs, ascending, and columns of a file; None: it is gone, for there is a newer one.

        Raises:
            UnavailableError: The store does not answer.
            IntegrityError: It is damaged.
        """
        found = open_store(self._url).read([_name(number)])
        if not found:
            return None
        try:
            with np.load(io.BytesIO(found[0]), allow_pickle=False) as file:
                columns = dict(file)
            return columns.pop(_IDS), columns
        except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise IntegrityError(f"{self._url}/{_name(number)}: damaged ({error})") from error

    def add(self, number: int, ids: Ids, columns: Columns) -> None:
        """Put what has changed beside what had before.

        Args:
            number: Of the last record of the item log that it follows from.
            ids: int64 [m]
            columns: Theirs, of the same names and shapes each time.

        Raises:
            UnavailableError: The store does not answer, or another worker was at it; do it again.
            IntegrityError: What had changed before is damaged.
        """
        newest = self.newest()
        if newest >= number:
            return  # Another worker was faster.
        if newest:
            if (before := self.read(newest)) is None:
                raise UnavailableError(f"{self._url}/{_name(newest)}: gone meanwhile, another worker was faster")
            stays = ~np.isin(before[0], ids)
            ids = np.concatenate([before[0][stays], ids])
            columns = {name: np.concatenate([before[1][name][stays], new]) for name, new in columns.items()}
        order = np.argsort(ids, kind="stable")
        content = io.BytesIO()
        arrays: dict[str, Any] = {_IDS: ids[order], **{name: values[order] for name, values in columns.items()}}
        np.savez(content, **arrays)
        with suppress(ConflictError):  # Both say the same.
            open_store(self._url).put(_name(number), content.getvalue())
        for old in sorted(self._numbers())[:-_KEPT]:
            delete(f"{self._url}/{_name(old)}")

    def _numbers(self) -> list[int]:
        return [int(found[1]) for name in children(self._url) if (found := _NAME.fullmatch(name))]


def _name(number: int) -> str:
    return f"changed-{number:012d}.npz"
