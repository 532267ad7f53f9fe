"""`--keep-order`: a user's rows of one moment get moments of their own, in the order of the files."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.data.checks.check import check_dataset
from pagoda.data.dataset import Dataset
from pagoda.data.imports import order
from pagoda.data.layout import TIMESTAMP

logs = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 3, 100, 10**15])), min_size=1, max_size=40)


@given(logs, st.integers(1, 40), st.sampled_from([100, 1 << 20]))
def test_each_row_lies_at_its_moment_or_right_after_the_users_last(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int]], batch: int, budget: int
) -> None:
    rows = sorted(rows, key=lambda row: row[1])
    expected, last = [], dict[int, int]()
    for number, (user, moment) in enumerate(rows):
        last[user] = max(moment, last.get(user, -1) + 1)
        expected.append((last[user], user, number))
    users, moments = ([row[place] for row in rows] for place in (0, 1))
    table = pa.table({"user_id": users, "number": range(len(rows)), "timestamp": pa.array(moments).cast(TIMESTAMP)})
    found = pa.Table.from_batches(order.apart(iter(table.to_batches(batch)), tmp_path_factory.mktemp("s"), budget))
    times = found["timestamp"].cast(pa.int64()).to_pylist()
    assert times == sorted(times)
    assert sorted(zip(times, found["user_id"].to_pylist(), found["number"].to_pylist(), strict=True)) == sorted(
        expected
    )


def test_a_log_of_dates_keeps_the_order_of_its_rows(tmp_path: Path) -> None:
    rows = [f"u{user},i{9 - step},2024-01-01" for step in range(3) for user in range(2)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    words = ["data", "import", "csv", str(tmp_path / "out"), "--interactions", str(tmp_path / "log.csv")]
    assert CliRunner().invoke(app, [*words, "--zone", "UTC", "--keep-order"], catch_exceptions=False).exit_code == 0
    dataset = Dataset.open(tmp_path / "out")
    found = [row for batch in dataset.batches(columns=["user_key", "item_key"]) for row in batch.to_pylist()]
    assert [row["item_key"] for row in found if row["user_key"] == "u1"] == ["i9", "i8", "i7"]
    assert dataset.span().end - dataset.span().start == timedelta(microseconds=3)
    checked = check_dataset(tmp_path / "out")
    assert checked.report.ok and not checked.warnings and not checked.tied_share
    assert (tmp_path / "out" / order.ORDER_FILE).read_bytes() == order.ORDER_NOTE
