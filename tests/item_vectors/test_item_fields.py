"""What answers may say of items: found in the mapped file, whatever part it is in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pagoda.data.spec import Categorical, Dense, FeatureSpec, MultiValued, Numeric, Rules
from pagoda.errors import IntegrityError
from pagoda.item_vectors.item_fields import ItemFields, field_names, write_item_fields

SPEC = FeatureSpec(
    title="title",
    rules=Rules(weight="margin"),
    features=(
        Categorical(name="age", tower="user"),
        MultiValued(name="genres", tower="item", filterable=True),
        Numeric(name="year", tower="item", edges=(1990.0,)),
        Dense(name="image", tower="item", length=2),
    ),
)


def items(ids: list[int]) -> pa.Table:
    """Items whose values follow from the ID; multiples of 3 have none."""

    def of(value: object, item: int) -> object:
        return value if item % 3 else None

    return pa.table(
        {
            "item_id": pa.array(ids, pa.int64()),
            "title": pa.array([of(f"Film {item}", item) for item in ids], pa.string()),
            "genres": pa.array([of([f"g{item}", "all"], item) for item in ids], pa.list_(pa.string())),
            "year": pa.array([of(1900.0 + item, item) for item in ids], pa.float64()),
            "margin": pa.array([0.5] * len(ids)),
        }
    )


def test_only_what_a_person_may_read_is_said() -> None:
    assert field_names(SPEC) == ("title", "genres", "year")
    assert field_names(FeatureSpec()) == ()


def test_values_are_found_in_every_part_and_need_no_file_any_more(tmp_path: Path) -> None:
    parts = [[-5, 1, 2], [], list(range(10, 2000, 2)), [5000]]
    paths = [tmp_path / str(number) for number in range(len(parts))]
    for path, ids in zip(paths, parts, strict=True):
        write_item_fields(path, SPEC, items(ids))
    fields = ItemFields(paths)
    for path in paths:
        path.unlink()
    asked = np.array([5000, 11, 1, -6, 1000, 12, 9999, 1])
    found = fields.read(asked, ["year", "title", "genres"])
    assert found[0] == {"year": 6900.0, "title": "Film 5000", "genres": ["g5000", "all"]}
    assert [row["title"] for row in found] == ["Film 5000", None, "Film 1", None, "Film 1000", None, None, "Film 1"]
    assert fields.read(np.array([], np.int64), ["title"]) == []


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"ARROW1")
    with pytest.raises(IntegrityError, match="broken: not readable as fields of items"):
        ItemFields([tmp_path / "broken"])
