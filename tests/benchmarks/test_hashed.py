"""The benchmark of users' shared rows: three ways of one memory, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.hashed.document import document, tables
from benchmarks.hashed.job import ASKED, CUT, FULL, HALF, ROWS_OF, SETS, SHARED, TABLES, HashedJob, rows_of
from benchmarks.kept_run import KeptRun, UserValues
from pagoda.config.user_rows import UserRowsConfig

USERS = np.arange(40)


def job(table: str, seed: int = 0) -> HashedJob:
    return HashedJob(next(iter(SETS)), Path("kept"), table, seed)


def run(found: float) -> KeptRun:
    values = {group: np.full(40, found) for group in ROWS_OF} | {"new": np.full(40, np.nan)}
    return KeptRun({ASKED: UserValues(USERS, values)}, {"rows": 10, "users": 40})


@pytest.mark.parametrize("users", [9, 943, 1_000_000])
def test_tables_of_one_size_take_the_same_memory(users: int) -> None:
    by_share: dict[object, set[int]] = {}
    for name, (kind, share) in TABLES.items():
        declared = rows_of(name, users)
        assert (declared is None) == (kind == FULL)
        if declared is not None:
            rows = UserRowsConfig.model_validate(declared)
            by_share.setdefault(share, set()).add(rows.own + rows.shared)
            assert (rows.shared == 0) == (kind == CUT)
    assert all(len(sizes) == 1 for sizes in by_share.values())
    assert len({job(name).kept_at for name in TABLES}) == len(TABLES)
    assert {kind for kind, _ in TABLES.values()} == {FULL, SHARED, HALF, CUT}


def test_gains_are_over_the_full_table_by_user_and_groups_of_nobody_are_left_out() -> None:
    found = {job(FULL, seed): run(0.5 + seed / 10) for seed in (0, 1)} | {
        job("1/2, cut", seed): run(0.4) for seed in (0, 1)
    }
    full, cut = document(found)
    assert (full["seeds"], cut["rows"], cut["users"]) == (2, 10, 40)
    assert full["recall@50"]["all"]["value"] == pytest.approx(0.55)
    assert cut["gain"]["all"]["value"] == pytest.approx(-0.15)
    assert "new" not in cut["gain"]
    (table,) = tables([full, cut])
    assert table.row_count == 2
