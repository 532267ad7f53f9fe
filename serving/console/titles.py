"""Titles of any items, for people: as a generation has them, and as the item log has changed them since."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from pagoda.errors import PagodaError
from pagoda.generations.manifest import Manifest
from pagoda.item_changes.log import open_item_log
from pagoda.settings import Settings
from serving.http.features import read_ids
from serving.recall.items.item_log import ItemLogFollower
from serving.recall.items.item_values import open_fields
from serving.users.keys import Key


def titles_of(settings: Settings, manifest: Manifest, items: Sequence[Key]) -> tuple[dict[Key, str], str]:
    """Titles by item, as far as there are any; and why there are none, where that is so."""
    name = manifest.spec.title
    if not name:
        return {}, "features.yaml declares no `title`, so items are shown by their IDs"
    try:
        rows = open_fields(manifest).read(read_ids(manifest.spec, items, "items"), [name])
        log = ItemLogFollower(open_item_log(settings))
        log.read()
    except PagodaError as error:
        return {}, str(error)
    found = {item: row[name] for item, row in zip(items, rows, strict=True)}
    changed = {item: orjson.loads(log.changed[item]).get(name) for item in items if item in log.changed}
    return {item: title for item, title in (found | changed).items() if title}, ""
