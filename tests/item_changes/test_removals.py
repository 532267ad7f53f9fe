"""How much one caller can take out of the catalogue, however they go about it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from pagoda.item_changes.log import ItemLog
from pagoda.item_changes.records import ItemChange
from pagoda.item_changes.removals import RemovalLimit, TooManyRemovalsError

DAY = timedelta(days=1)


def gone(*items: int) -> list[ItemChange]:
    return [ItemChange(item_id=item, features=None) for item in items]


def limited(folder: Path, share: float = 0.1, window: timedelta = DAY) -> ItemLog:
    """The log of a catalogue of 100 items."""
    return ItemLog(str(folder), RemovalLimit(share, window, lambda: 100))


def test_a_removal_of_the_whole_catalogue_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TooManyRemovalsError, match=r"remove: 100 items, after 0 .* more than the 10 .*--force"):
        limited(tmp_path).append(gone(*range(100)))
    assert list(limited(tmp_path).records()) == []


def test_many_small_removals_are_no_way_round_it_nor_are_several_processes(tmp_path: Path) -> None:
    writers = [limited(tmp_path) for _ in range(3)]

    def remove(item: int) -> bool:
        try:
            writers[item % 3].append(gone(item))
        except TooManyRemovalsError:
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(remove, range(60))) == 10


def test_what_is_forced_or_long_ago_or_there_again_does_not_count(tmp_path: Path) -> None:
    log = limited(tmp_path)
    log.append(gone(*range(50)), forced=True)
    log.append(gone(*range(50, 60)))
    log.append(gone(*range(60)))  # They are gone already.
    with pytest.raises(TooManyRemovalsError):
        log.append(gone(60))
    log.append([ItemChange(item_id=50, features={})])
    log.append(gone(60))
    limited(tmp_path, window=timedelta()).append(gone(*range(61, 71)))
