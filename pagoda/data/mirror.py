"""A dataset in an object store, as a folder of this machine that holds what was read of it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import xxhash

from pagoda.data.dataset import Dataset
from pagoda.data.horizon import HORIZON_FILE, read_horizon
from pagoda.data.layout import DAY_US, FEATURES_FILE, Table, day_start_us, partition_date
from pagoda.data.window import Window
from pagoda.errors import DataError
from pagoda.storage.copies import download, local_path, sizes

_AT_ONCE = 8
_LONGEST = 3600.0
"""Seconds that a file may take to arrive; after them, it is what a killed process left."""
_DEPTH = 3
"""Parts of the name of a file of interactions: `interactions/date=…/….parquet`."""


def open_local_or_mirrored(dataset: str, scratch: Path) -> Dataset:
    """The dataset at a folder or URL, as it is now. Of one in an object store, files come when they are read.

    Args:
        dataset: A folder or a URL.
        scratch: A folder of this machine alone; files are kept below it for the next time.

    Raises:
        DataError: There is no dataset, or its files are not sound.
        UnavailableError: The store does not answer, or the disk is full.
    """
    place = local_path(dataset)
    if place is not None:
        return Dataset.open(place)
    folder = scratch / xxhash.xxh3_64_hexdigest(dataset.rstrip("/").encode())
    return Dataset.open(folder, Mirror(dataset.rstrip("/"), folder))


class Mirror:
    """Implements `pagoda.data.remote_source.Source`.

    Files of a dataset are written once, or without somebody's rows once more and then not to the same size: so one of
    the same name and size is the same, and is not copied again.
    """

    def __init__(self, url: str, folder: Path) -> None:
        """Bring the feature file and the first and last date; remove what the store has no more, or otherwise."""
        self._url, self._folder = url, folder
        self._sizes = sizes(url)
        kept_from = self._kept_from()
        days = sorted({day for name in self._sizes if (day := _day(name)) and day >= kept_from})
        if FEATURES_FILE not in self._sizes or not days:
            raise DataError(f"{url}: there is no dataset ({FEATURES_FILE} and interactions are missing)")
        for path in folder.rglob("*"):
            if not self._is_here(path.relative_to(folder).as_posix()) and _is_left(path):
                path.unlink(missing_ok=True)
        self.edges = (days[0], days[-1])
        self._copy(FEATURES_FILE)  # The only file that people edit in place, maybe to one of the same size.
        self._bring(name for name in self._sizes if _day(name) in self.edges)

    def _kept_from(self) -> date:
        """The first date whose interactions are kept."""
        if HORIZON_FILE not in self._sizes:
            return date.min
        self._copy(HORIZON_FILE)  # A later date is as long as an earlier one.
        return read_horizon(self._folder) or date.min

    def interactions(self, window: Window | None) -> bool:
        """See `Source.interactions`."""
        days = ((name, day) for name in self._sizes if (day := _day(name)))
        return self._bring(name for name, day in days if window is None or _meets(window, day))

    def table(self, table: Table) -> None:
        """See `Source.table`."""
        self._bring(name for name in self._sizes if name.startswith(f"{table}/"))

    def _bring(self, names: Iterable[str]) -> bool:
        missing = [name for name in names if not self._is_here(name)]
        with ThreadPoolExecutor(_AT_ONCE, "mirror") as pool:
            list(pool.map(self._copy, missing))
        return bool(missing)

    def _is_here(self, name: str) -> bool:
        path = self._folder / name
        return path.is_file() and path.stat().st_size == self._sizes.get(name)

    def _copy(self, name: str) -> None:
        path = self._folder / name
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            download(f"{self._url}/{name}", aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def _is_left(path: Path) -> bool:
    """Whether nobody needs a file that the store has not; another process of this machine may be bringing one."""
    try:
        return path.is_file() and (not path.name.startswith(".") or time.time() - path.stat().st_mtime > _LONGEST)
    except FileNotFoundError:
        return False


def _day(name: str) -> date | None:
    """The date of a file of interactions."""
    parts = name.split("/")
    return partition_date(parts[1]) if len(parts) == _DEPTH and parts[0] == "interactions" else None


def _meets(window: Window, day: date) -> bool:
    start = day_start_us(day)
    return start < window.end_us and window.start_us < start + DAY_US
