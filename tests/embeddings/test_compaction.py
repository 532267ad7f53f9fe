"""Merging segments changes no answer, and keeps their number small at a cost that follows the deltas."""

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.embeddings.compaction import RATIO, merge, plan
from pagoda.embeddings.overlay import Overlay
from pagoda.embeddings.segment import Segment
from pagoda.embeddings.segment_chain import check_chain
from pagoda.embeddings.table import IdTable
from pagoda.errors import IntegrityError

from .worlds import assert_answers, write_segment, write_table

VALUES = st.dictionaries(st.integers(0, 30), st.floats(0, 100, width=32), max_size=12)


def chain(folder: Path, base: str, deltas: list[dict[int, float]]) -> list[Segment]:
    """Segments over one another, newest first."""
    segments: list[Segment] = []
    for number, delta in enumerate(deltas):
        parent = segments[0].checksum if segments else None
        write_segment(folder / str(number), delta, number=number, parent=parent, base=base)
        segments.insert(0, Segment.open(folder / str(number)))
    return segments


@settings(max_examples=60, deadline=None)
@given(users=VALUES, deltas=st.lists(VALUES, min_size=2, max_size=6), data=st.data())
def test_lookups_are_the_same_before_and_after(
    users: dict[int, float], deltas: list[dict[int, float]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checksum = write_table(folder / "base", users).checksum
        base, segments = IdTable.open(folder / "base"), chain(folder, checksum, deltas)
        expected = dict(users)
        for delta in deltas:
            expected |= delta
        assert_answers(Overlay(base, segments), expected, range(-2, 33))

        start = data.draw(st.integers(0, len(segments) - 2))
        stop = data.draw(st.integers(start + 2, len(segments)))
        merge(segments[start:stop], folder / "merged")
        segments[start:stop] = [Segment.open(folder / "merged", verify=True)]
        check_chain(1, checksum, base.dim, [segment.description for segment in segments])
        assert_answers(Overlay(base, segments), expected, range(-2, 33))


def test_merging_is_deterministic_and_remembers_what_it_replaces(tmp_path: Path) -> None:
    segments = chain(tmp_path, "xxh3:b", [{1: 1.0}, {2: 2.0}, {1: 3.0}, {4: 4.0}])
    once, again = merge(segments[:3], tmp_path / "a"), merge(segments[:3], tmp_path / "b")
    assert once == again
    newer = merge(segments[:2], tmp_path / "c")
    nested = merge([Segment.open(tmp_path / "c"), segments[2]], tmp_path / "d")
    assert newer.checksum != nested.checksum == once.checksum


def test_only_neighbours_are_merged(tmp_path: Path) -> None:
    segments = chain(tmp_path, "xxh3:b", [{1: 1.0}, {2: 2.0}, {3: 3.0}])
    with pytest.raises(IntegrityError, match="follows"):
        merge([segments[0], segments[2]], tmp_path / "m")


@settings(max_examples=200)
@given(st.lists(st.integers(0, 10_000), max_size=60))
def test_the_plan_bounds_the_number_of_segments(deltas: list[int]) -> None:
    rows: list[int] = []
    for delta in deltas:
        rows.insert(0, delta)
        while step := plan(rows):
            rows[step] = [sum(rows[step])]
        assert all(older > RATIO * newer for newer, older in pairwise(rows))
    assert sum(rows) == sum(deltas)


def test_a_day_of_equal_deltas_stays_within_six_segments_and_six_rewrites() -> None:
    rows: list[int] = []
    most = rewritten = 0
    for _ in range(48):
        rows.insert(0, 1000)
        while step := plan(rows):
            rewritten += sum(rows[step])
            rows[step] = [sum(rows[step])]
        most = max(most, len(rows))
    assert most <= 6
    assert rewritten <= 6 * 48 * 1000


def test_merging_holds_blocks_not_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pagoda.embeddings.compaction.BLOCK_ROWS", 7)
    deltas = [{number: float(step) for number in range(step, 100, step + 1)} for step in range(5)]
    segments = chain(tmp_path, "xxh3:b", deltas)
    merge(segments, tmp_path / "m")
    expected: dict[int, float] = {}
    for delta in deltas:
        expected |= delta
    merged = Segment.open(tmp_path / "m", verify=True)
    assert merged.ids.tolist() == sorted(expected)
    np.testing.assert_array_equal(merged.rows[:, 0], [expected[number] for number in sorted(expected)])
