"""The fields that requests ask for, of the items of an answer: as its generation has them, and as changed since.

A generation's file is mapped, not read: it is where it was exported to, or a copy of it, which has no name any more
once it is open, so none is ever left behind. What the item log says of an item stands before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.generations.manifest import Manifest
from pagoda.item_vectors.item_fields import ItemFields
from pagoda.storage.copies import local_path, size, verified
from serving.http.features import read_ids
from serving.recall.api import RecalledItem
from serving.recall.fallback.steps import FIELDS
from serving.recall.generations.generation import LiveGeneration
from serving.recall.generations.per_version import PerVersion
from serving.recall.lookup import Lookup
from serving.users.keys import Key

MOST_BYTES = 1 << 30
"""Of a copy, two of which there may be during a rollout; the chart's volume for them has room for that."""


def open_fields(manifest: Manifest) -> ItemFields:
    """Open a generation's fields where they are, or a verified copy of an object store's.

    Raises:
        IntegrityError: There are none, or a file is not what the manifest says.
        UnavailableError: A file is not there or cannot be read now, or the copy would be too large.
    """
    if not manifest.item_fields:
        raise IntegrityError(
            f"generation {manifest.id}: was made without fields of items; the next full update has them"
        )
    if (copied := sum(size(one.uri) for one in manifest.item_fields if local_path(one.uri) is None)) > MOST_BYTES:
        raise UnavailableError(f"fields of {manifest.id}: {copied:,} bytes; {MOST_BYTES:,} at most are copied here")
    with TemporaryDirectory(prefix="pagoda-item-fields-") as folder:
        copies = ((one, Path(folder, str(at))) for at, one in enumerate(manifest.item_fields))
        return ItemFields([verified(one.uri, one.checksum, copy) for one, copy in copies])


class ItemValues:
    """Fills in what is asked of items. One for all generations."""

    def __init__(self, changed: Mapping[Key, bytes]) -> None:
        """Hold nothing yet; `changed` is as in `ItemLogFollower`."""
        self._changed = changed
        self._files = PerVersion(open_fields, "answers without fields of items")

    async def warm(self, live: LiveGeneration) -> None:
        """Map a generation's fields, where it has any, unless that was done; see `PerVersion.warm`."""
        if live.manifest.item_fields:
            await self._files.warm(live)

    async def fill(self, live: LiveGeneration, lookups: Sequence[Lookup]) -> None:
        """Put the fields that were asked for beside the items; where the generation has none, the answer says so."""
        if (fields := self._files.get(live)) is None:
            for lookup in lookups:
                lookup.degraded.append(FIELDS)
            return
        # A page that is not in memory is waited for, and nobody else may have to.
        await asyncio.to_thread(self._fill, live, fields, lookups)

    async def tell(self, live: LiveGeneration, items: Sequence[RecalledItem], names: Sequence[str]) -> bool:
        """Put these fields beside items; False: the generation has none."""
        if (fields := self._files.get(live)) is None:
            return False
        await asyncio.to_thread(self._tell, live, fields, items, names)
        return True

    def _fill(self, live: LiveGeneration, fields: ItemFields, lookups: Sequence[Lookup]) -> None:
        for lookup in lookups:
            self._tell(live, fields, lookup.items, lookup.instance.fields)

    def _tell(
        self, live: LiveGeneration, fields: ItemFields, items: Sequence[RecalledItem], names: Sequence[str]
    ) -> None:
        ids = read_ids(live.spec, [item["item_id"] for item in items], "items")
        for item, values in zip(items, fields.read(ids, names), strict=True):
            item["fields"] = self._now(item, names) or values

    def _now(self, item: RecalledItem, names: Sequence[str]) -> dict[str, Any]:
        """What the item log says of an item; nothing where it says nothing."""
        if (said := self._changed.get(item["item_id"])) is None:
            return {}
        features = orjson.loads(said)
        return {name: features.get(name) for name in names}
