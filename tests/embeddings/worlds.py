"""Small tables and chains of segments, and what a plain dict says should be found in them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pagoda.data.window import Window, from_us
from pagoda.embeddings.overlay import Overlay
from pagoda.embeddings.segment import Segment, SegmentDescription
from pagoda.embeddings.table import IdTable, TableDescription

DIM = 3
OOV = -1.0
Values = Mapping[int, float]
"""ID -> the value that fills its row."""


def as_arrays(values: Values) -> tuple[np.ndarray, np.ndarray]:
    ids = np.array(list(values), np.int64)
    return ids, np.repeat(np.array(list(values.values()), np.float32), DIM).reshape(len(values), DIM)


def write_table(folder: Path, values: Values) -> TableDescription:
    return IdTable.write(folder, *as_arrays(values), np.full(DIM, OOV, np.float32))


def write_full(folder: Path, users: Values, items: Values) -> str:
    """Write what `TablesWriter.install_full` copies; return the user table's checksum."""
    checksum = write_table(folder / "users", users).checksum
    write_table(folder / "items", items)
    (folder / "encoder.json").write_text("{}")
    return checksum


def write_segment(
    folder: Path, values: Values, *, number: int, parent: str | None, base: str, version: int = 1
) -> SegmentDescription:
    return Segment.write(
        folder,
        *as_arrays(values),
        base_checksum=base,
        base_version=version,
        window=Window(start=from_us(number * 1000), end=from_us((number + 1) * 1000)),
        parent=parent,
    )


def assert_answers(overlay: Overlay, expected: Values, asked: range) -> None:
    """Check a lookup of every ID in `asked`, known or not, in one batch."""
    rows, known = overlay.lookup(np.array(asked, np.int64))
    assert known.tolist() == [number in expected for number in asked]
    np.testing.assert_array_equal(rows, np.repeat([[expected.get(number, OOV)] for number in asked], DIM, axis=1))
