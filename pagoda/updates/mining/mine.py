"""Mining hard negatives: what a version's own search finds for each user at ranks that are near, yet not shown.

The best ranks are left out: much of what is found there the user would choose, had they seen it (Huang et al., KDD
2020, section 6.1, where ranks 101 to 500 were best).
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.errors import ConfigError, DataError
from pagoda.processes.dealing import dealt, evenly
from pagoda.processes.shared import Shared
from pagoda.training.negatives.mined_file import join_mined
from pagoda.updates.mining.searches import Search
from pagoda.updates.mining.slices import STRIDE, Items, Mining, UserSlice, mine_slice
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion

Int64Array = NDArray[np.int64]
FIRST, LAST = 101, 500


def mine(
    dataset: Dataset,
    files: FullVersionFiles,
    out: Path,
    *,
    search: Search | None = None,
    moment: datetime | None = None,
    ranks: tuple[int, int] = (FIRST, LAST),
    processes: int = 1,
) -> int:
    """Write what a version finds for each of its users, by rank among the items that they have not had.

    Args:
        dataset: Has what users did up to `moment`.
        files: The version.
        out: A new Parquet file: user_id, item_id (int64 as inside), rank.
        search: How to search, and then by this process alone; None: exactly.
        moment: As of when; None: the end of the version's window.
        ranks: The first and the last one to write, counted from 1.
        processes: Among which the users are dealt; the file is the same.

    Returns:
        The number of rows. Memory of a process follows its users' distinct interactions, and theirs are read by it.

    Raises:
        ConfigError: The ranks are none, or `out` exists.
        DataError: The version knows none of the users, or there are too few items for these ranks.
        UnavailableError: One of the processes was killed.
    """
    if not 1 <= ranks[0] <= ranks[1]:
        raise ConfigError(f"--ranks {ranks[0]}-{ranks[1]}: expected FIRST-LAST, counted from 1")
    if out.exists():
        raise ConfigError(f"{out}: exists already")
    until = moment or files.lineage.window.end
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        folder = Path(name)
        users, items = _prepared(dataset, files, until, folder, search)
        mining = Mining(dataset, FullVersionFiles(files.folder, files.state), until, ranks, items)
        slices = [
            UserSlice(mining, users[own], folder / f"{own.start}.parquet")
            for own in evenly(len(users), STRIDE, 1 if search else processes)
        ]
        rows = sum(dealt(partial(mine_slice, search=search), slices, processes, "mined"))
        if not rows:
            raise DataError(f"{dataset.path}: has no item at ranks {ranks[0]} to {ranks[1]} for any user")
        join_mined([part.out for part in slices], folder / out.name)
        (folder / out.name).rename(out)
    return rows


def _prepared(
    dataset: Dataset, files: FullVersionFiles, until: datetime, folder: Path, search: Search | None
) -> tuple[Int64Array, Items]:
    """Whom to mine for, int64 [n], ascending, and all items in a new folder below `folder`."""
    towers, users = OpenVersion(files, dataset), np.empty(0, np.int64)
    window = Window(start=dataset.span().start, end=until)
    for batch in dataset.batches(window, events=dataset.spec.positives, columns=["user_id"]):
        users = np.union1d(users, batch.column("user_id").to_numpy())
    users = users[towers.knows(users)]
    if not len(users):
        raise DataError(f"{dataset.path}: no user of the version has a positive before {until.isoformat()}")
    ids = dataset.items().column("item_id").to_numpy()
    compared = search is None or towers.cascade is not None
    vectors = towers.item_vectors() if compared else np.empty((0, 0), np.float32)
    (items := folder / "items").mkdir()
    return users, Shared.write(items, (ids, vectors))
