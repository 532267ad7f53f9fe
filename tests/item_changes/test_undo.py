"""A record of the item log is taken back, as far as anybody knows what was before."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from pagoda.data.spec import FeatureSpec, Numeric
from pagoda.errors import RequestError
from pagoda.item_changes.changes import ItemId, removed, upserted
from pagoda.item_changes.log import ItemLog
from pagoda.item_changes.snapshots import Fold
from pagoda.item_changes.undo import Undone, undo

SPEC = FeatureSpec(features=(Numeric(name="year", tower="item", edges=(2000,)),))
DATASET = {number: {"item_id": number, "year": 1900.0 + number} for number in range(5)}


def imported(ids: Collection[ItemId]) -> dict[ItemId, dict[str, Any]]:
    return {one: DATASET[one] for one in ids if isinstance(one, int) and one in DATASET}


@pytest.fixture
def log(tmp_path: Path) -> ItemLog:
    return ItemLog(str(tmp_path))


def take_back(log: ItemLog, number: int) -> Undone:
    return undo(log, number, SPEC, imported)


def years(log: ItemLog) -> dict[ItemId, float | None]:
    """What the log says of every item it names; None: it is gone."""
    fold = Fold()
    fold.take_all(log.records())
    named = {change.item_id for record in log.records() for change in record.changes}
    states = {item: fold.state_of(item) for item in named}
    return {item: state.features and state.features["year"] for item, state in states.items() if state}


def upsert(log: ItemLog, item: int, year: float) -> int:
    return log.append([upserted(SPEC, {"item_id": item, "year": year}, "item")]).number


def test_removed_items_come_back_as_the_log_or_the_dataset_knew_them(log: ItemLog) -> None:
    upsert(log, 3, 2003)
    number = log.append([removed(SPEC, item, "item") for item in (1, 3, 77)]).number
    undone = take_back(log, number)
    assert (undone.restored, dict(undone.left)) == (2, {77: "neither the item log nor the dataset says what it was"})
    assert years(log) == {1: 1901, 3: 2003, 77: None}


def test_upserted_items_become_what_they_were_and_new_ones_go(log: ItemLog) -> None:
    upsert(log, 3, 2003)
    items = [{"item_id": item, "year": 2050} for item in (1, 3, 99)]
    take_back(log, log.append([upserted(SPEC, item, "item") for item in items]).number)
    assert years(log) == {1: 1901, 3: 2003, 99: None}


def test_undoing_again_does_nothing_and_undoing_the_undoing_does_it_again(log: ItemLog) -> None:
    number = log.append([removed(SPEC, 1, "item")]).number
    first = take_back(log, number)
    again = take_back(log, number)
    assert (again.already, again.record) == (True, first.record)
    take_back(log, first.record)
    assert years(log) == {1: None}
    take_back(log, number)
    assert years(log) == {1: 1901}


def test_what_was_changed_since_stays(log: ItemLog) -> None:
    number = log.append([removed(SPEC, item, "item") for item in (1, 2)]).number
    upsert(log, 1, 2026)
    assert dict(take_back(log, number).left) == {1: "a later record has changed it again"}
    assert years(log) == {1: 2026, 2: 1902}


def test_a_record_that_there_is_not_is_named(log: ItemLog) -> None:
    with pytest.raises(RequestError, match="record 5: the item log has no such record"):
        take_back(log, 5)
