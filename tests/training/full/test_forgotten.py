"""Who is being forgotten is in no version that is made from then on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pagoda.embeddings.overlay import Overlay
from pagoda.erasure.pending import Forgotten
from pagoda.training.full.update import full_update
from pagoda.training.incremental.update import incremental_update
from pagoda.version_files.full import HISTORY, USERS
from tests.training.worlds import config, hours, make

CONFIG = config(bootstrap_epochs=1)
GONE = np.array([3, 7], np.int64)


def test_the_next_full_version_has_neither_row_nor_history_nor_sums_of_them(tmp_path: Path) -> None:
    data = make(tmp_path / "data")
    parent = full_update(data, hours(0, 30), None, CONFIG, tmp_path / "1")
    assert np.isin(GONE, parent.users.ids).all()
    quiet = make(tmp_path / "quiet", clicks_an_hour=3)  # The window's few users are others than these, or new again.
    known = full_update(quiet, hours(30, 31), parent, CONFIG, tmp_path / "2", forgotten=Forgotten(GONE, 12))
    active = {user for batch in quiet.batches(hours(30, 31)) for user in batch.column("user_id").to_pylist()}
    gone = np.setdiff1d(GONE, list(active))
    assert len(gone)
    assert not np.isin(gone, known.users.ids).any()
    assert len(known.squares(USERS)) - 1 == len(known.seen(USERS)) == len(known.users.ids)
    assert not np.isin(gone, np.load(known.state / HISTORY / "users.npy")).any()
    assert known.lineage.forgotten == 12
    others = np.setdiff1d(parent.users.ids, [*GONE, *active])
    np.testing.assert_array_equal(known.users.lookup(others)[0], parent.users.lookup(others)[0])


def test_an_incremental_hides_their_rows_behind_that_of_nobody(tmp_path: Path) -> None:
    base = full_update(make(tmp_path / "data"), hours(0, 30), None, CONFIG, tmp_path / "1")
    quiet = make(tmp_path / "quiet", clicks_an_hour=3)
    active = {user for batch in quiet.batches(hours(30, 31)) for user in batch.column("user_id").to_pylist()}
    gone = np.setdiff1d(base.users.ids, list(active))[:2]
    asked = np.sort([*gone, 987_654])  # The last never had a row, and gets none.
    made = incremental_update(quiet, hours(30, 31), base, None, CONFIG, out=tmp_path / "2", forgotten=asked)
    assert made is not None
    rows, _ = Overlay(base.users, [made.delta]).lookup(gone)
    np.testing.assert_array_equal(rows, np.repeat(base.users.oov[None], 2, axis=0))
    assert 987_654 not in made.delta.ids
    assert np.all(np.diff(made.delta.ids) > 0)
    assert set(active) <= {*made.delta.ids.tolist(), *active}
