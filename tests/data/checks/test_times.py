"""What the times of a log say of it: seconds read as milliseconds, ties within a user, no positive at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.data.checks import times
from pagoda.data.checks.check import check_dataset
from pagoda.data.imports.casts import Conversion
from pagoda.data.imports.choices import TimeUnit
from pagoda.data.imports.imported import Imported
from pagoda.data.imports.importer import Import, import_files
from pagoda.data.imports.readers import CsvReader
from pagoda.data.layout import TIMESTAMP
from pagoda.data.spec import FeatureSpec
from pagoda.errors import DataError


def imported(folder: Path, content: str, **options: object) -> Imported:
    (folder / "log.csv").write_text(content)
    return import_files(folder / "out", Import(CsvReader(), folder / "log.csv", **options))  # type: ignore[arg-type]


SECONDS = "user_id,item_id,timestamp\n1,31,1260759144\n1,1029,1260759179\n2,10,835355493\n"


def test_seconds_read_as_milliseconds_are_noticed(tmp_path: Path) -> None:
    (warning,) = imported(tmp_path, SECONDS, conversion=Conversion(TimeUnit.MILLISECONDS)).warnings
    assert warning.startswith("everything lies in 1970 (1970-01-10 to 1970-01-15): were seconds read as milliseconds")
    assert check_dataset(tmp_path / "out").warnings == [warning]


def test_milliseconds_read_as_seconds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lies in the future; were milliseconds read as seconds"):
        imported(tmp_path, SECONDS.replace("\n1,31,1260759144", "\n1,31,1260759144000"),
                 conversion=Conversion(TimeUnit.SECONDS))  # fmt: skip


def test_a_zero_among_times_is_noticed(tmp_path: Path) -> None:
    done = imported(tmp_path, SECONDS + "3,10,0\n", conversion=Conversion(TimeUnit.SECONDS))
    assert done.warnings == ["1 interactions lie in 1970: does a 0 stand for an unknown time?"]


def test_a_log_of_dates_is_warned_of_and_its_share_of_ties_told(tmp_path: Path) -> None:
    rows = [f"{user},{item},2024-01-0{1 + user}" for user in range(3) for item in range(4)] + ["9,1,2024-01-05"]
    done = imported(tmp_path, "\n".join(["user_id,item_id,timestamp", *rows]), conversion=Conversion(zone="UTC"))
    checked = check_dataset(tmp_path / "out")
    assert checked.tied_share == pytest.approx(12 / 13)
    assert checked.report.ok and "92.3% of the interactions" in checked.warnings[0] == done.warnings[0]
    assert "--keep-order" in checked.warnings[0]


def test_without_a_positive_there_is_nothing_to_learn_and_check_says_so(tmp_path: Path) -> None:
    done = imported(tmp_path, "user_id,item_id,event,timestamp\n1,1,skip,2024-01-01T00:00:00Z\n")
    assert done.warnings == check_dataset(tmp_path / "out").warnings
    assert done.warnings[0].startswith("no interaction is a positive (click)")


def test_positives_follow_the_event_where_files_name_none(tmp_path: Path) -> None:
    content = "user_id,item_id,timestamp\n1,1,2024-01-01T00:00:00Z\n"
    assert imported(tmp_path, content, default_event="purchase").warnings == []
    assert "- purchase" in (tmp_path / "out" / "features.yaml").read_text()


logs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@given(logs, st.integers(1, 30))
def test_ties_are_counted_however_rows_come_in_batches(rows: list[tuple[int, int, int]], batch: int) -> None:
    rows = sorted(rows)
    log = times.LogTimes(FeatureSpec())
    moments, users, items = (np.array(column) for column in zip(*rows, strict=True))
    table = pa.table({"user_id": users, "item_id": items, "event": ["click"] * len(rows),
                      "timestamp": pa.array(moments).cast(TIMESTAMP)})  # fmt: skip
    for part in table.to_batches(batch):
        log.take(part)
    tied = sum(any(a[:2] == b[:2] and a[2] != b[2] for b in rows) for a in rows)
    assert log.tied_share == pytest.approx(tied / len(rows))


def test_a_moment_of_more_rows_than_memory_holds_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "_HELD_ROWS", 2000)
    log, rng = times.LogTimes(FeatureSpec()), np.random.default_rng(0)
    for _ in range(20):
        users = np.concatenate([rng.integers(0, 5000, 1000), rng.integers(10_000, 1 << 40, 1000)])
        columns = [users, rng.integers(0, 1 << 40, 2000), ["click"] * 2000, pa.array(np.full(2000, 7)).cast(TIMESTAMP)]
        log.take(pa.RecordBatch.from_arrays([pa.array(one) for one in columns],
                                            names=["user_id", "item_id", "event", "timestamp"]))  # fmt: skip
    assert log.tied_share == pytest.approx(0.49, abs=0.05)
