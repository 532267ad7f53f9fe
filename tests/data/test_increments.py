"""A dataset that grows while it is used: events in files that overlap, items that were changed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.data.checks.check import check_dataset
from pagoda.data.checks.problems import Kind
from pagoda.data.dataset import Dataset
from pagoda.data.increments import Arrivals, changes_name, superseded
from pagoda.data.layout import schema_of
from pagoda.data.sorting.merge import Run, merge
from pagoda.data.window import Window
from pagoda.errors import DataError

from .folders import ITEMS, SPEC, Row, interaction, moment, put, write_dataset

SCHEMA = schema_of(SPEC, "interactions")
DAY = "interactions/date=2024-05-01"


def arrive(path: Path, start: int, end: int, rows: list[Row]) -> None:
    put(path / DAY / Arrivals(start, end).name, rows, SCHEMA)


def users(dataset: Dataset, window: Window | None = None) -> list[int]:
    return [row["user_id"] for batch in dataset.batches(window) for row in batch.to_pylist()]


def test_files_of_events_may_overlap(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d")
    arrive(path, 0, 1, [interaction(moment("10:30"), 3), interaction(moment("12:00"), 4)])
    arrive(path, 1, 2, [interaction(moment("09:00"), 5), interaction(moment("11:30"), 6)])
    dataset = Dataset.open(path)
    assert users(dataset) == [5, 1, 3, 2, 6, 4]
    assert users(dataset, Window(start=moment("10:30"), end=moment("11:30"))) == [3, 2]
    assert (dataset.span().start, dataset.span().end.hour) == (moment("09:00"), 12)
    assert dataset.count() == 6
    assert check_dataset(path).report.ok


def test_a_longer_span_stands_for_those_inside_it(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d")
    rows = [interaction(moment("10:30"), 3), interaction(moment("12:00"), 4)]
    arrive(path, 0, 1, rows[:1])
    arrive(path, 1, 2, rows[1:])
    dataset = Dataset.open(path)
    before, window = users(dataset), dataset.span()
    checksum = dataset.checksum(window)
    arrive(path, 0, 2, rows)
    assert users(Dataset.open(path)) == before
    for name in superseded(file.name for file in (path / DAY).iterdir()):
        (path / DAY / name).unlink()
    assert users(Dataset.open(path)) == before
    assert Dataset.open(path).checksum(window) == checksum


def test_events_of_an_item_wait_until_it_is_there(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d")
    arrive(path, 0, 1, [interaction(moment("10:30"), 3, item=12), interaction(moment("12:00"), 4)])
    assert check_dataset(path).report.ok
    assert users(Dataset.open(path)) == [1, 2, 4]
    put(path / "items" / changes_name(1), [{**ITEMS[0], "item_id": 12}], schema_of(SPEC, "items"))
    assert users(Dataset.open(path)) == [1, 3, 2, 4]
    assert Dataset.open(path).count() == 4


def test_rows_inside_a_file_are_in_order(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d")
    arrive(path, 0, 1, [interaction(moment("10:30")), interaction(moment("10:00"))])
    with pytest.raises(DataError, match="not in time order"):
        users(Dataset.open(path))
    (problem,) = check_dataset(path).report.problems
    assert problem.kind is Kind.ORDER


def test_the_newest_changes_of_items_stand_before_all_else(tmp_path: Path) -> None:
    path, schema = write_dataset(tmp_path / "d"), schema_of(SPEC, "items")
    put(path / "items" / changes_name(1), [{**ITEMS[1], "title": "first"}, {**ITEMS[0], "title": "lost"}], schema)
    put(path / "items" / changes_name(2), [{**ITEMS[1], "title": "second"}, {**ITEMS[1], "item_id": 12}], schema)
    table = Dataset.open(path).items()
    assert table["item_id"].to_pylist() == [10, 11, 12]
    assert table["title"].to_pylist() == ["Ten", "second", None]
    checked = check_dataset(path)
    assert checked.report.ok and checked.rows["items"] == 3, "each item counts once, changed or not"


@given(st.lists(st.lists(st.integers(0, 20), max_size=12), max_size=6), st.integers(1, 5))
def test_merging_is_a_stable_sort(runs: list[list[int]], rows: int) -> None:
    def batches(number: int, times: list[int]) -> list[pa.RecordBatch]:
        table = pa.table({"timestamp": pa.array(sorted(times), pa.int64()), "run": [number] * len(times)})
        return table.to_batches(max_chunksize=rows) if times else []

    opened = [
        Run(min(times, default=0), lambda number=number, times=times: iter(batches(number, times)))
        for number, times in enumerate(runs)
    ]
    merged = [tuple(row.values()) for batch in merge(opened) for row in batch.to_pylist()]
    assert merged == sorted((time, number) for number, times in enumerate(runs) for time in times)
