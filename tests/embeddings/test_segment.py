"""A delta segment is taken only whole, over its own base, and in order."""

from pathlib import Path

import numpy as np
import pytest

from pagoda.data.window import Window, from_us
from pagoda.embeddings.segment import Segment, SegmentDescription, read_description
from pagoda.embeddings.segment_chain import check_chain
from pagoda.errors import DataError, IntegrityError

BASE = "xxh3:base"


def write(folder: Path, hour: int, parent: str | None, base: str = BASE) -> SegmentDescription:
    window = Window(start=from_us(hour * 3_600_000_000), end=from_us((hour + 1) * 3_600_000_000))
    rows = np.full((3, 4), hour, np.float32)
    return Segment.write(
        folder, np.array([9, 3, 6]), rows, base_checksum=base, base_version=1, window=window, parent=parent
    )


def test_it_reads_back_what_was_written(tmp_path: Path) -> None:
    description = write(tmp_path / "s", 1, None)
    segment = Segment.open(tmp_path / "s", verify=True)
    assert segment.description == description == read_description(tmp_path / "s")
    assert segment.ids.tolist() == [3, 6, 9]
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["ids.npy", "rows.npy", "segment.json"]


def test_the_same_content_has_the_same_checksum_and_other_content_another(tmp_path: Path) -> None:
    first, again, later = (write(tmp_path / name, hour, None) for name, hour in (("a", 1), ("b", 1), ("c", 2)))
    assert first.checksum == again.checksum != later.checksum


@pytest.mark.parametrize("name", ["ids.npy", "rows.npy", "segment.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped"])
def test_damage_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    write(tmp_path / "s", 1, None)
    path = tmp_path / "s" / name
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[-8] ^= 1
        path.write_bytes(content)
    with pytest.raises(IntegrityError, match=name):
        Segment.open(tmp_path / "s", verify=True)


def test_an_edited_description_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "s", 1, None)
    path = tmp_path / "s" / "segment.json"
    path.write_text(path.read_text().replace('"base_version": 1', '"base_version": 2'))
    with pytest.raises(IntegrityError, match="own checksum"):
        Segment.open(tmp_path / "s")


def test_a_chain_must_lie_over_its_base_in_order(tmp_path: Path) -> None:
    first = write(tmp_path / "1", 1, None)
    second = write(tmp_path / "2", 2, first.checksum)
    third = write(tmp_path / "3", 3, second.checksum)
    check_chain(1, BASE, 4, [third, second, first])
    check_chain(1, BASE, 4, [])
    with pytest.raises(IntegrityError, match="another base"):
        check_chain(2, BASE, 4, [first])
    with pytest.raises(IntegrityError, match="another base"):
        check_chain(1, "xxh3:other", 4, [first])
    with pytest.raises(IntegrityError, match="rows of length 4"):
        check_chain(1, BASE, 8, [first])
    with pytest.raises(IntegrityError, match=r"follows .* but applied is"):
        check_chain(1, BASE, 4, [third, first])
    with pytest.raises(IntegrityError, match="older than what is applied"):
        check_chain(1, BASE, 4, [first, second, first])
    with pytest.raises(IntegrityError, match="only the base"):
        check_chain(1, BASE, 4, [second])


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="do not fit"):
        Segment.write(
            tmp_path / "s",
            np.array([1, 2]),
            np.zeros((3, 4), np.float32),
            base_checksum=BASE,
            base_version=1,
            window=Window(start=from_us(0), end=from_us(1)),
            parent=None,
        )
    assert not (tmp_path / "s").exists()
