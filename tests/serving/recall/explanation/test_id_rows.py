"""Which version a user's row is said to be of: the newest that has it, whatever this host has merged."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagoda.embeddings.compaction import merge
from pagoda.embeddings.segment import Segment
from pagoda.embeddings.tables import TablesWriter
from pagoda.generations.manifest import Manifest, SegmentRef
from serving.recall.explanation.id_rows import IdRows
from tests.embeddings.worlds import write_full, write_segment
from tests.serving.fakes import manifest

WRITTEN = {1: {2: 2.0, 3: 3.0}, 4: {3: 4.0}}
"""Users whose rows incremental versions 1 and 4 wrote; the full version has 1 and 2."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("host")


@pytest.fixture(scope="module")
def made(folder: Path) -> Manifest:
    """A generation of full version 3 and incremental version 4, whose tables lie in `tables`."""
    base = write_full(folder / "full", {1: 1.0, 2: 1.0}, {7: 7.0})
    writer, refs, parent = TablesWriter(folder / "tables"), list[SegmentRef](), None
    writer.install_full(3, str(folder / "full"))
    for version, rows in WRITTEN.items():
        own = folder / f"segment{version}"
        parent = write_segment(own, rows, number=version, parent=parent, base=base, version=3).checksum
        writer.install_segment(str(own), parent)
        refs.insert(0, SegmentRef(version=version, uri=str(own), checksum=parent, rows=len(rows)))
    writer.put_generation("g3.4", 3, [one.checksum for one in refs])
    return manifest(3).model_copy(update={"id": "g3.4", "incremental_version": 4, "segments": tuple(refs)})


@pytest.mark.parametrize(
    ("user", "source", "versions"),
    [(1, "full", [3]), (2, "incremental", [1]), (3, "incremental", [4]), (9, "none", [])],
)
def test_the_newest_that_has_a_row_is_told(
    made: Manifest, folder: Path, user: int, source: str, versions: list[int]
) -> None:
    assert IdRows(folder / "tables").of(made, user) == {"source": source, "versions": versions}


def test_of_merged_segments_all_are_told(made: Manifest, folder: Path) -> None:
    segments = [Segment.open(folder / f"segment{version}") for version in (4, 1)]
    merged = merge(segments, folder / "merged")
    writer = TablesWriter(folder / "tables")
    writer.install_segment(str(folder / "merged"), merged.checksum)
    writer.put_generation("g3.4b2", 3, [one.checksum for one in made.segments])
    both = made.model_copy(update={"id": "g3.4b2"})
    assert IdRows(folder / "tables").of(both, 3) == {"source": "incremental", "versions": [4, 1]}
    assert IdRows(folder / "tables").of(both, 1) == {"source": "full", "versions": [3]}


@pytest.mark.parametrize("elsewhere", [None, Path("/nowhere")])
def test_where_the_tables_are_elsewhere_that_is_said(made: Manifest, elsewhere: Path | None) -> None:
    assert IdRows(elsewhere).of(made, 2) == {"source": "unseen", "versions": []}
    whole = made.model_copy(update={"segments": (), "incremental_version": None})
    assert IdRows(elsewhere).of(whole, 2) == {"source": "full", "versions": [3]}
