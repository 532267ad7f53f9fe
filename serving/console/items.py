"""An item: what is said of it, who changed that and when, and what is like it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConflictError, PagodaError, RequestError, UnavailableError
from pagoda.generations.release_log import ReleaseLog
from pagoda.index.listing import list_collections
from pagoda.item_changes.changes import item_id_of, removed, upserted
from pagoda.item_changes.log import open_item_log
from pagoda.item_changes.records import ItemChange
from pagoda.item_changes.undo import undo
from pagoda.settings import Settings
from pagoda.updates.item_replay import imported_items
from serving.console.similar import By, look_similar
from serving.recall.items.item_log import is_vector
from serving.users.keys import Key

_LAST, _ALIKE = 10, 10


def item(settings: Settings, log: ReleaseLog, typed: str, by: By) -> Mapping[str, Any]:
    """What is known of an item; nothing where none is named.

    Raises:
        UnavailableError: Nothing was released yet, or a store does not answer.
        RequestError: There is no such item.
    """
    shown: dict[str, Any] = {"item_id": None, "asked": typed, "by": by}
    if not typed.strip():
        return shown
    spec = _spec_of(log)
    id_ = item_id_of(spec, typed.strip())
    known = _known(settings, id_)
    features = {name: value for name, value in known.features.items() if not is_vector(value)}
    return shown | {
        "item_id": id_,
        "title": known.features.get(spec.title) if spec.title else None,
        "features": features,
        "vectors": sorted(known.features.keys() - features.keys()),
        "removed": known.removed,
        "records": known.records,
        "text": json.dumps(features, ensure_ascii=False, indent=1),
        **_alike(settings, typed.strip(), by),
        **_collections(settings),
    }


def change(settings: Settings, log: ReleaseLog, what: str, typed: str, *, said: str, record: int, by: str) -> None:
    """Do something to an item, as a record of the item log that has the name of who did it.

    Args:
        settings: Of the installation.
        log: Its release log.
        what: `edit`, `remove` or `undo`.
        typed: The item's ID.
        said: Of `edit`: its features but for vectors, which stay, as JSON.
        record: Of `undo`: which record's changes are taken back.
        by: Who does it.

    Raises:
        RequestError: The features or the ID are wrong, or too many items would be removed.
        ConflictError: There is no such thing to do, or nothing of it could be done.
        UnavailableError: A store does not answer.
    """
    spec, items = _spec_of(log), open_item_log(settings)
    id_ = item_id_of(spec, typed)
    if what == "edit":
        kept = {name: value for name, value in _known(settings, id_).features.items() if is_vector(value)}
        items.append([upserted(spec, {**kept, **_read(said), "item_id": id_}, "item")], by=by)
    elif what == "remove":
        items.append([removed(spec, id_, "item")], by=by)
    elif what == "undo":
        undone = undo(items, record, spec, lambda ids: imported_items(settings, "", ids), by=by)
        if not (undone.restored or undone.already):
            raise ConflictError(f"record {record}: {next(iter(undone.left.values()), 'nothing could be restored')}")
    else:
        raise ConflictError(f"{what}: an item is edited or removed, and a record undone")


@dataclass(frozen=True)
class _Item:
    features: dict[str, Any]
    """As they were said last, or imported; of a removed item what was known before."""
    removed: bool
    records: list[dict[str, Any]]
    """Of the item log about this item, the newest first."""


def _known(settings: Settings, id_: Key) -> _Item:
    records: deque[dict[str, Any]] = deque(maxlen=_LAST)
    last: ItemChange | None = None
    features: dict[str, Any] | None = None
    for one in open_item_log(settings).records():
        for last in (change for change in one.changes if change.item_id == id_):
            features = features if last.features is None else last.features
            if one.token:  # Else it stands for many that were compacted.
                what = "removed" if last.features is None else "changed"
                told = {"record": one.number, "at": one.at.isoformat(), "by": one.by, "undoes": one.undoes}
                records.appendleft({**told, "what": what, "others": len(one.changes) - 1})
    if features is None:
        features = imported_items(settings, "", [id_]).get(id_)
    if features is None and last is None:
        raise RequestError(f"item {id_!r}: neither the stable version's dataset nor the item log knows it")
    there = {name: value for name, value in (features or {}).items() if name != "item_id" and value is not None}
    return _Item(there, last is not None and last.features is None, list(records))


def _alike(settings: Settings, typed: str, by: By) -> dict[str, Any]:
    try:
        seen = look_similar(settings, [typed], k=_ALIKE, by=by, wanted={})
    except PagodaError as error:
        return {"alike": [], "trouble": str(error)}
    alike = [{**one.model_dump(), "title": seen.titles.get(one.item_id)} for one in seen.answer.items]
    return {"alike": alike, "trouble": "the generation that answers does not have it" if seen.answer.unknown else ""}


def _collections(settings: Settings) -> dict[str, Any]:
    try:
        live = [one for one in list_collections(settings) if one.live]
    except PagodaError as error:
        return {"collections": [], "unseen": str(error)}
    return {"collections": [{"name": one.name, "behind": one.behind} for one in live], "unseen": ""}


def _spec_of(log: ReleaseLog) -> FeatureSpec:
    state = log.state()
    if state.stable is None:
        raise UnavailableError("nothing was released yet, so there are no items; `pagoda update full` makes the first")
    return state.generations[state.stable].spec


def _read(said: str) -> dict[str, Any]:
    try:
        features = json.loads(said)
    except ValueError as error:
        raise RequestError(f"features: is not JSON ({error})") from None
    if not isinstance(features, dict):
        raise RequestError("features: must be an object, features by name")
    return features
