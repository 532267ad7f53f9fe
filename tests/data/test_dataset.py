"""Reading a dataset: whatever the batches, windows and files, the rows are the same and in time order."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.data.dataset import Dataset
from pagoda.data.ids import hash_ids
from pagoda.data.layout import INTERACTION_COLUMNS, day_of, partition_name, schema_of
from pagoda.data.partitions import InteractionWriter
from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window, to_us
from pagoda.errors import DataError

from .folders import ITEMS, SPEC, USERS, Row, interaction, moment, put, write_dataset

START = datetime(2024, 5, 1, tzinfo=UTC)
BARE = FeatureSpec()
# Hours from the start: several rows of one moment, several days, empty days between.
hours = st.lists(st.integers(0, 60), min_size=1, max_size=20).map(sorted)
windows = st.none() | st.tuples(st.integers(-2, 60), st.integers(1, 50)).map(
    lambda pair: Window(start=START + timedelta(hours=pair[0]), end=START + timedelta(hours=sum(pair)))
)


def log(hours: list[int]) -> list[Row]:
    return [
        {
            "user_id": n,
            "item_id": n % 2 + 10,
            "event": ("click", "like")[n % 3 == 0],
            "timestamp": START + timedelta(hours=h),
        }
        for n, h in enumerate(hours)
    ]


def dataset_of(folder: str, rows: list[Row], cut: int = 1000, spec: FeatureSpec = BARE) -> Dataset:
    """A dataset with `rows`, written in batches of `cut`."""
    path = write_dataset(Path(folder) / "d", spec=spec, parts=[], users=[{"user_id": 1}], items=[{"item_id": 10}])
    schema = schema_of(spec, "interactions")
    with InteractionWriter(path / "interactions", schema) as writer:
        for start in range(0, len(rows), cut):
            writer.write(pa.RecordBatch.from_pylist(rows[start : start + cut], schema))
    return Dataset.open(path)


def read(batches: Iterator[pa.RecordBatch]) -> list[dict[str, Any]]:
    return [row for batch in batches for row in batch.to_pylist()]


@settings(max_examples=50)
@given(hours, windows, st.integers(1, 40), st.integers(1, 40), st.sampled_from([None, ["click"], ["like", "skip"]]))
def test_slices_equal_a_filter_of_all_rows_whatever_the_batch(
    hours: list[int], window: Window | None, cut: int, batch_rows: int, events: list[str] | None
) -> None:
    rows = log(hours)
    with tempfile.TemporaryDirectory() as folder:
        dataset = dataset_of(folder, rows, cut)
        batches = list(dataset.batches(window, events=events, batch_rows=batch_rows))
    expected = [
        row
        for row in rows
        if (window is None or window.start <= row["timestamp"] < window.end)
        and (events is None or row["event"] in events)
    ]
    assert read(iter(batches)) == expected
    assert all(batch.num_rows == batch_rows for batch in batches[:-1])
    assert all(batch.num_rows for batch in batches)


@settings(max_examples=25)
@given(hours, windows, st.integers(1, 40))
def test_checksum_depends_on_the_rows_of_the_window_alone(hours: list[int], window: Window | None, cut: int) -> None:
    rows = log(hours)
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        one, other = dataset_of(first, rows), dataset_of(second, rows, cut)
        where = window or one.span()
        assert one.checksum(where) == other.checksum(where)
    rows[-1]["user_id"] += 1
    with tempfile.TemporaryDirectory() as third:
        changed = dataset_of(third, rows).checksum(where)
    with tempfile.TemporaryDirectory() as fourth:
        rows[-1]["user_id"] -= 1
        same = dataset_of(fourth, rows).checksum(where)
    assert (changed == same) is not (where.start <= rows[-1]["timestamp"] < where.end)


@settings(max_examples=25)
@given(hours)
def test_span_reaches_from_the_first_row_to_just_after_the_last(hours: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        span = dataset_of(folder, log(hours)).span()
    assert span.start == START + timedelta(hours=hours[0])
    assert span.end == START + timedelta(hours=hours[-1], microseconds=1)


@settings(max_examples=20)
@given(hours, st.integers(1, 3))
def test_rows_are_counted_by_day(hours: list[int], last: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = dataset_of(folder, log(hours), cut=3).rows_by_day(last)
    days = Counter((START + timedelta(hours=hour)).date() for hour in hours)
    assert list(found.items()) == sorted(days.items())[-last:]


def test_a_file_of_many_row_groups_is_sliced_to_the_microsecond(tmp_path: Path) -> None:
    rows = 300_000
    times = to_us(START) + np.arange(rows) * 7
    columns = {"user_id": np.arange(rows), "item_id": np.full(rows, 10), "event": ["click"] * rows, "timestamp": times}
    schema = schema_of(BARE, "interactions")
    table = pa.table(columns).cast(schema)
    dataset = dataset_of(str(tmp_path), log([0]))
    target = dataset.path / "interactions" / partition_name(day_of(to_us(START))) / "part-0.parquet"
    pa.parquet.write_table(table, target, row_group_size=50_000)
    window = Window(start=START + timedelta(microseconds=700_001), end=START + timedelta(microseconds=1_400_000))
    users = np.concatenate([batch["user_id"].to_numpy() for batch in dataset.batches(window, batch_rows=4096)])
    assert np.array_equal(users, np.arange(100_001, 200_000))


def test_columns_are_those_asked_for(tmp_path: Path) -> None:
    dataset = Dataset.open(write_dataset(tmp_path / "d"))
    assert next(dataset.batches()).schema.names == list(INTERACTION_COLUMNS)
    assert read(dataset.batches(columns=["device", "user_id"]))[0] == {"device": "phone", "user_id": 1}
    with pytest.raises(DataError, match=r"no column \['price'\]"):
        dataset.batches(columns=["price"])
    with pytest.raises(DataError, match="unknown event"):
        dataset.batches(events=["klick"])


def test_an_empty_window_gives_no_batch_and_can_be_refused(tmp_path: Path) -> None:
    dataset = Dataset.open(write_dataset(tmp_path / "d"))
    empty = Window(start=moment("10:00:01"), end=moment("11:00"))
    assert list(dataset.batches(empty)) == []
    assert dataset.count(empty) == 0
    with pytest.raises(
        DataError, match="no interaction in window 20240501T100001Z-20240501T110000Z; the dataset spans"
    ):
        dataset.require(empty)
    dataset.require(Window(start=moment("10:00"), end=moment("11:00")), events=["click"])
    with pytest.raises(DataError, match="with event like"):
        dataset.require(Window(start=moment("10:00"), end=moment("11:00")), events=["like"])


def test_items_and_users_come_sorted_and_as_declared(tmp_path: Path) -> None:
    dataset = Dataset.open(write_dataset(tmp_path / "d", items=ITEMS[::-1], users=USERS[::-1]))
    assert dataset.items().to_pylist() == ITEMS
    assert dataset.users().to_pylist() == USERS
    assert dataset.users(np.array([2, 7])).to_pylist() == [USERS[1]]
    assert [row for batch in dataset.user_batches(1) for row in batch.to_pylist()] == USERS[::-1]
    assert dataset.items().schema == schema_of(SPEC, "items")
    assert dataset.users(np.array([7])).schema == schema_of(SPEC, "users")


def test_string_ids_become_hashes_and_stay_readable(tmp_path: Path) -> None:
    rows = [{"user_id": "ann", "item_id": "x", "event": "click", "timestamp": moment("10:00")}]
    path = write_dataset(
        tmp_path / "d", spec=FeatureSpec(id_type="string"), parts=[("date=2024-05-01", rows)],
        users=[{"user_id": "bob"}, {"user_id": "ann"}], items=[{"item_id": "x"}],
    )  # fmt: skip
    dataset = Dataset.open(path)
    ann, bob = hash_ids(["ann", "bob"]).tolist()
    assert read(dataset.batches(columns=["user_id", "user_key"])) == [{"user_id": ann, "user_key": "ann"}]
    assert dataset.items().to_pylist() == [{"item_id": hash_ids(["x"])[0], "item_key": "x"}]
    assert dataset.users(np.array([bob])).to_pylist() == [{"user_id": bob, "user_key": "bob"}]
    assert dataset.users()["user_id"].to_pylist() == sorted([ann, bob])


def test_rows_out_of_order_are_refused_while_reading(tmp_path: Path) -> None:
    rows = [interaction(moment("11:00")), interaction(moment("10:00"))]
    dataset = Dataset.open(write_dataset(tmp_path / "d", parts=[("date=2024-05-01", rows)]))
    with pytest.raises(DataError, match="not in time order"):
        list(dataset.batches())


def test_several_files_of_a_date_follow_each_other(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d")
    schema = schema_of(SPEC, "interactions")
    put(path / "interactions/date=2024-05-01/part-1.parquet", [interaction(moment("12:00"), 7)], schema)
    assert [row["user_id"] for row in read(Dataset.open(path).batches())] == [1, 2, 7]


def test_the_writer_never_goes_back_to_a_date(tmp_path: Path) -> None:
    schema = schema_of(BARE, "interactions")
    with pytest.raises(FileExistsError), InteractionWriter(tmp_path, schema) as writer:
        for hour in (0, 30, 1):
            writer.write(pa.RecordBatch.from_pylist(log([hour]), schema))


def test_memory_follows_the_batch_and_not_the_data(tmp_path: Path) -> None:
    rows = 1_500_000
    rng = np.random.default_rng(0)
    schema = schema_of(BARE, "interactions")
    path = write_dataset(tmp_path / "d", spec=BARE, parts=[], users=[{"user_id": 1}], items=[{"item_id": 10}])
    with InteractionWriter(path / "interactions", schema) as writer:
        for start in range(0, rows, 100_000):
            ids = rng.integers(0, 2**60, (2, 100_000))
            times = to_us(START) + np.arange(start, start + 100_000)
            table = pa.table([ids[0], ids[1], ["click"] * 100_000, times], names=list(INTERACTION_COLUMNS)).cast(schema)
            writer.write(table.combine_chunks().to_batches()[0])
    before = pa.total_allocated_bytes()
    peak = seen = 0
    for batch in Dataset.open(path).batches(batch_rows=8192):
        seen += batch.num_rows
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert seen == rows
    assert peak < 20 << 20 < rows * 33  # bytes of a row in memory
