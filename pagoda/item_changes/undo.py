"""Walking the item log back: a new record that restores what an earlier one changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pagoda.data.spec import FeatureSpec
from pagoda.errors import RequestError
from pagoda.item_changes.changes import upserted
from pagoda.item_changes.log import ItemLog
from pagoda.item_changes.records import ItemChange, ItemRecord
from pagoda.item_changes.snapshots import Fold

ItemId = int | str
Imported = Callable[[Collection[ItemId]], Mapping[ItemId, dict[str, Any]]]
"""Gives items as the dataset was imported with them, by ID; unknown ones are left out."""


@dataclass(frozen=True)
class Undone:
    """What became of it."""

    record: int
    """The record that restores; 0: there was nothing to restore."""
    restored: int
    already: bool
    """Somebody had undone it before."""
    left: Mapping[ItemId, str]
    """What was not restored, and why."""


def undo(log: ItemLog, number: int, spec: FeatureSpec, imported: Imported, by: str = "") -> Undone:
    """Restore what a record changed; doing it again does nothing.

    An item that a later record has changed to something else stays as that record says.

    Args:
        log: The item log.
        number: Of the record.
        spec: The feature declaration in force.
        imported: What the dataset knew, of items that the log says nothing of before the record.
        by: The person who does it, if somebody says.

    Raises:
        RequestError: There is no such record, or it is too old: it is a part of a snapshot.
        UnavailableError: The log's store does not answer.
    """
    found = _read(log, number)
    if found.undone_by:
        return Undone(record=found.undone_by, restored=0, already=True, left={})
    left: dict[ItemId, str] = {}
    asked: list[ItemChange] = []
    for change in found.record.changes:
        now = found.now.state_of(change.item_id)
        if now is not None and now.features != change.features:
            left[change.item_id] = "a later record has changed it again"
        else:
            asked.append(change)
    unknown = [change.item_id for change in asked if change.item_id not in found.before]
    dataset = imported(unknown) if unknown else {}
    changes: dict[ItemId, ItemChange] = {}
    for change in asked:
        try:
            changes[change.item_id] = _earlier(change, found.before, dataset, spec)
        except RequestError as error:
            left[change.item_id] = str(error)
    if not changes:
        return Undone(record=0, restored=0, already=False, left=left)
    record = log.append(list(changes.values()), forced=True, undoes=number, by=by)
    return Undone(record=record.number, restored=len(changes), already=False, left=left)


@dataclass(frozen=True)
class _Found:
    record: ItemRecord
    """The last change of each of its items."""
    before: Mapping[ItemId, ItemChange]
    """What was said of its items before it."""
    now: Fold
    undone_by: int
    """The record that has undone it, and was not undone itself; 0: none."""


def _read(log: ItemLog, number: int) -> _Found:
    now, record, before = Fold(), None, {}
    undoes: dict[int, int] = {}
    for one in log.records():
        if one.number == number and log.snapshots.newest() < number:
            last = {change.item_id: change for change in one.changes}
            record = one.model_copy(update={"changes": tuple(last.values())})
            before = {id_: state for id_ in last if (state := now.state_of(id_))}
        if one.undoes:
            undoes[one.number] = one.undoes
        now.take(one)
    if record is None:
        raise RequestError(f"record {number}: {_why_not(log, number)}")
    return _Found(record, before, now, _undone_by(number, undoes))


def _why_not(log: ItemLog, number: int) -> str:
    if 0 < number <= log.snapshots.newest():
        return "is too old to be undone: it was compacted (items.undo_days says when); upsert or remove its items"
    return "the item log has no such record; `pagoda items log` shows the last ones"


def _undone_by(number: int, undoes: Mapping[int, int]) -> int:
    found = (later for later, undone in undoes.items() if undone == number and not _undone_by(later, undoes))
    return next(found, 0)


def _earlier(
    change: ItemChange, before: Mapping[ItemId, ItemChange], dataset: Mapping[ItemId, dict[str, Any]], spec: FeatureSpec
) -> ItemChange:
    """The change that makes an item what it was.

    Raises:
        RequestError: Nobody knows what that is.
    """
    if known := before.get(change.item_id):
        return known
    if change.item_id in dataset:
        return upserted(spec, dataset[change.item_id], f"item {change.item_id!r} of the dataset")
    if change.features is not None:
        return ItemChange(item_id=change.item_id, features=None)  # It was new with that record.
    raise RequestError("neither the item log nor the dataset says what it was")


def by_id(rows: Iterable[dict[str, Any]]) -> dict[ItemId, dict[str, Any]]:
    """Rows of a dataset's items by the ID that callers know, absent values left out."""
    found = {}
    for row in rows:
        key = row.pop("item_key", None)
        item = {**row, **({"item_id": key} if key is not None else {})}
        found[item["item_id"]] = {name: value for name, value in item.items() if value is not None}
    return found
