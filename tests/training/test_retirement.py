"""Rows of who was not seen for long go, and those of all others stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pagoda.training.full.update import full_update
from pagoda.training.retirement import last_seen, retire
from pagoda.training.tables import TrainableTable
from pagoda.version_files.full import ITEMS, USERS, FullVersionFiles
from tests.training.worlds import config, hours, make

DAY = 86_400_000_000


@given(seen=st.dictionaries(st.integers(0, 99), st.integers(0, 20), min_size=1), after=st.integers(1, 20) | st.none())
def test_keeps_who_was_seen(seen: dict[int, int], after: int | None) -> None:
    ids = np.array(sorted(seen), np.int64)
    moments = np.array([seen[int(id_)] * DAY for id_ in ids])
    table = TrainableTable(ids, torch.arange(len(ids) + 1.0)[:, None], torch.arange(len(ids) + 1.0))
    kept, left = retire(table, moments, 20 * DAY, after)
    expected = [id_ for id_ in ids if after is None or 20 - seen[int(id_)] < after]
    assert kept.ids.tolist() == expected
    assert left.tolist() == [seen[id_] * DAY for id_ in expected]
    assert kept.rows[0] == 0 and kept.rows[1:, 0].tolist() == (np.searchsorted(ids, expected) + 1).tolist()
    assert kept.squares.tolist() == kept.rows[:, 0].tolist()


def test_who_is_seen_again_is_seen_now() -> None:
    table = TrainableTable(np.array([1, 2, 3]), torch.zeros(4, 2), torch.zeros(4))
    seen = last_seen(table, np.array([3, 2]), 50, (np.array([1, 2]), np.array([10, 20])))
    assert seen.tolist() == [10, 50, 50]


def test_a_full_update_retires_and_remembers(tmp_path: Path) -> None:
    dataset = make(tmp_path / "data", clicks_an_hour=4)
    first = full_update(dataset, hours(0, 30), None, config(), tmp_path / "1")
    second = full_update(dataset, hours(30, 40), first, config(), tmp_path / "2")
    idle = np.setdiff1d(second.users.ids, np.asarray(_seen_at(second, 40)))
    assert len(second.users) >= len(first.users) and len(idle)
    third = full_update(dataset, hours(40, 50), second, config(retire_after_days=15 / 24), tmp_path / "3")
    gone = np.setdiff1d(second.users.ids, third.users.ids)
    assert len(gone) and np.isin(gone, idle).all()
    assert (second.metrics()["retired_users"], third.metrics()["retired_users"]) == (0, len(gone))
    assert len(third.seen(USERS)) == len(third.users) and len(third.seen(ITEMS)) == len(third.items)


def _seen_at(files: FullVersionFiles, hour: int) -> list[int]:
    seen, ids = files.seen(USERS), np.asarray(files.users.ids)
    return [int(id_) for id_ in ids[seen == hours(0, hour).end_us]]
