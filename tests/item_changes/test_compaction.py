"""The item log stays short, says the same, and is whole whatever is killed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pagoda.append_log.store import FolderStore
from pagoda.errors import ConflictError, RequestError
from pagoda.item_changes import log as module
from pagoda.item_changes.changes import ItemChanges, ItemId
from pagoda.item_changes.compaction import ItemCompaction
from pagoda.item_changes.log import ItemLog
from pagoda.item_changes.records import ItemChange, OffsetRange
from pagoda.item_changes.undo import undo
from serving.recall.items.item_log import ItemLogFollower

from .test_undo import SPEC

LATER = datetime.now(UTC) + timedelta(days=2)


def compact(folder: Path, now: datetime = LATER) -> int:
    return ItemCompaction(str(folder), timedelta(days=1), worth=3).step(now)


def fill(folder: Path, numbers: Sequence[int]) -> None:
    """Each item is upserted, and every second one removed."""
    log = ItemLog(str(folder))
    for number in numbers:
        log.append([ItemChange(item_id=number, features={"year": float(number)})])
        if number % 2:
            log.append([ItemChange(item_id=number, features=None)])


def said(folder: Path) -> tuple[dict[ItemId, bool], list[ItemChange], set[ItemId], int]:
    """What a worker and a recall service that start now take from the log."""
    changes, removed = ItemChanges(), ItemLogFollower(ItemLog(str(folder)))
    changes.take(ItemLog(str(folder)).records())
    removed.read()
    described = sorted(changes.described, key=lambda change: str(change.item_id))
    return {one.item_id: one.features is None for one in changes.after(0)}, described, removed.removed, changes.head


def test_old_records_go_and_whoever_starts_reads_the_same(tmp_path: Path) -> None:
    for first in range(0, 40, 10):
        fill(tmp_path, range(first, first + 10))
        before = said(tmp_path)
        assert compact(tmp_path) == before[3]
        assert said(tmp_path) == before
    assert len(list(tmp_path.glob("*.json"))) <= 15
    assert len(list((tmp_path / "compacted").iterdir())) <= 4


def test_a_snapshot_says_how_far_kafka_was_read(tmp_path: Path) -> None:
    log, changes = ItemLog(str(tmp_path)), [ItemChange(item_id=1, features={})]
    for last in range(5, 20, 5):
        log.append(changes, source=OffsetRange("items/0", last - 5 if last > 5 else -1, last))
    log.append(changes, source=OffsetRange("items/1", -1, 3))
    for _ in range(2):  # The second forgets what the first one stands for.
        fill(tmp_path, range(4))
        compact(tmp_path)
    fresh = ItemLog(str(tmp_path))
    assert [fresh.offset(f"items/{partition}") for partition in range(3)] == [15, 3, None]
    with pytest.raises(ConflictError, match=r"holds items/0 up to 15, not up to 10"):
        ItemLog(str(tmp_path)).append(changes, source=OffsetRange("items/0", 10, 15))


def test_young_records_stay_to_be_undone_and_older_ones_say_that_they_cannot(tmp_path: Path) -> None:
    fill(tmp_path, range(10))
    assert compact(tmp_path, datetime.now(UTC)) == 0
    compact(tmp_path)
    fill(tmp_path, [20])
    log = ItemLog(str(tmp_path))
    assert undo(log, 16, SPEC, lambda _: {}).restored == 1
    with pytest.raises(RequestError, match="record 3: is too old to be undone"):
        undo(log, 3, SPEC, lambda _: {})


def test_who_began_before_still_finds_all_and_who_slept_finds_the_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.0)
    fill(tmp_path, range(4))
    slow, asleep = ItemLog(str(tmp_path)).records(), ItemLogFollower(ItemLog(str(tmp_path)))
    next(slow)
    asleep.read()
    fill(tmp_path, range(4, 20))
    compact(tmp_path)
    assert [record.number for record in slow] == list(range(2, 31))
    fill(tmp_path, range(20, 30))
    compact(tmp_path)
    asleep.read()
    assert asleep.removed == set(range(1, 30, 2))


def test_a_writer_that_slept_through_compactions_loses_nothing(tmp_path: Path) -> None:
    asleep = ItemLog(str(tmp_path))
    asleep.append([ItemChange(item_id=100, features={})])
    for first in (0, 10):
        fill(tmp_path, range(first, first + 10))
        compact(tmp_path)
    asleep._look_at = float("inf")
    number = asleep.append([ItemChange(item_id=200, features=None)]).number
    assert (number, 200 in said(tmp_path)[2]) == (said(tmp_path)[3], True)


@pytest.mark.parametrize("writes", range(3))
def test_a_compaction_that_is_killed_changes_nothing_and_is_done_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    fill(tmp_path, range(10))
    before, done, put = said(tmp_path), [0], FolderStore.put

    def dies(self: FolderStore, name: str, content: bytes) -> None:
        if done[0] == writes:
            raise KeyboardInterrupt
        done[0] += 1
        put(self, name, content)

    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "put", dies)
        patched.setattr("pagoda.item_changes.compaction.delete", lambda _: dies(FolderStore(tmp_path), "x", b""))
        try:
            compact(tmp_path)
        except KeyboardInterrupt:
            assert said(tmp_path) == before
    compact(tmp_path)
    assert said(tmp_path) == before
