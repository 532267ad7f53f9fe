"""Channels that a generation's full version carries tables of: opened with it, asked together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence, Set
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from pagoda.channels.base import NOTHING, Allowed, Ask, ChannelTable, Known, Ranked
from pagoda.channels.factory import open_table
from pagoda.config.channels import ItemToItem
from pagoda.errors import IntegrityError, RequestError, UnavailableError
from pagoda.generations.manifest import Manifest
from pagoda.item_vectors.filter import Filter
from pagoda.storage.copies import verified
from serving.recall.api import RecalledItem
from serving.recall.channels.served_items import ServedItems, read_served_items
from serving.recall.generations.generation import LiveGeneration
from serving.recall.generations.per_version import PerVersion
from serving.recall.lookup import Lookup
from serving.recall.servers.company import accompanied
from serving.turns import Turns
from serving.users.keys import Key

_SIMILAR = "item_to_item"
_AT_ONCE = 32
"""Users whose arrays stay in the processor's cache."""
Found = dict[str, dict[Key, float]]
"""Of one user: by channel, scores by item."""
_Asked = tuple[Lookup, Mapping[str, int]]
"""A user, and how many candidates of each channel are wanted."""


class _User(NamedTuple):
    known: Known
    among: Allowed
    there: Allowed
    """The same for items that the generation has."""


class TableChannels:
    """The tables of all generations that serve."""

    def __init__(self, removed: Set[Key] = frozenset(), changed: Mapping[Key, bytes] | None = None) -> None:
        """Hold nothing yet; `removed` and `changed` are as for `ServedItems`."""
        read = partial(read_served_items, removed=removed, changed={} if changed is None else changed)
        self._items: PerVersion[ServedItems] = PerVersion(read, "answers by its towers alone")
        self._tables: dict[str, PerVersion[ChannelTable]] = {}
        # Computed in the event loop, as the tower in this process is.
        self._turns: Turns[LiveGeneration, _Asked, Found] = Turns(self._candidates, most=_AT_ONCE)
        self._whole: WeakKeyDictionary[LiveGeneration, dict[str, bool]] = WeakKeyDictionary()
        """By channel, whether a generation has all items of its table: of these nobody looks for any again."""

    def allowed(self, live: LiveGeneration, lookup: Lookup, *, there: bool = False) -> Allowed | None:
        """Which of a generation's items may stand in a user's answer; None: its items could not be read.

        `there` is as for `ServedItems.allowed`.
        """
        if (served := self._items.get(live)) is None:
            return None
        return served.allowed(lookup.wanted, _seen(live, lookup), there=there)

    def count(self, live: LiveGeneration, wanted: Filter) -> tuple[int, int] | None:
        """See `ServedItems.count`; None: the generation's items are not in memory."""
        return None if (served := self._items.get(live)) is None else served.count(wanted)

    async def warm(self, live: LiveGeneration) -> None:
        """Open a generation's tables, unless that was done; see `PerVersion.warm`. One without is not asked."""
        if live.manifest.mixture is None:
            return
        await self._items.warm(live)
        for channel in live.table_channels:
            await self._of(channel.kind).warm(live)
            await self._compare(live, channel.kind)

    async def candidates(self, live: LiveGeneration, lookup: Lookup, depths: Mapping[str, int]) -> Found:
        """What each channel gives for a user, by its name: scores by item, the best first, as many as `depths` says.

        One that could not be opened is absent. Users who ask in one turn of the event loop are answered together.
        """
        if not live.table_channels:
            return {}
        if accompanied():
            return await self._turns.ask(live, (lookup, depths))
        return self._candidates(live, [(lookup, depths)])[0]

    def _candidates(self, live: LiveGeneration, asked: Sequence[_Asked]) -> list[Found]:
        if (served := self._items.get(live)) is None:
            return [{} for _ in asked]
        users = [self._user(live, served, lookup) for lookup, _ in asked]
        whole, ranked = self._whole.get(live, {}), dict[str, list[Ranked]]()
        for kind in (channel.kind for channel in live.table_channels):
            if (table := self._of(kind).get(live)) is not None:
                own = [one.there if whole.get(kind) else one.among for one in users]
                asks = zip(users, own, (depths[kind] for _, depths in asked), strict=True)
                ranked[kind] = table.candidates_of_all([Ask(user.known, may, depth) for user, may, depth in asks])
        # Of most of these nothing is said in the answer, so no item is made of them yet.
        names = iter(
            served.names(np.concatenate([NOTHING.ids, *(one.ids for all_ in ranked.values() for one in all_)]))
        )
        found: list[Found] = [{} for _ in asked]
        for name, all_ in ranked.items():
            for lists, one in zip(found, all_, strict=True):
                lists[name] = dict(zip(islice(names, len(one.ids)), one.scores.tolist(), strict=True))
        return found

    def _user(self, live: LiveGeneration, served: ServedItems, lookup: Lookup) -> _User:
        seen = _seen(live, lookup)
        among, there = (served.allowed(lookup.wanted, seen, there=there) for there in (False, True))
        return _User(live.known(lookup.instance, lookup.stored), among, there)

    def similar(
        self, live: LiveGeneration, ids: Sequence[int], wanted: Filter, k: int
    ) -> tuple[list[RecalledItem], set[int]]:
        """Items that go with some by the channel `item_to_item`, and which of these the generation has.

        Raises:
            RequestError: The generation does not declare that channel, or finds what goes together by vectors.
            UnavailableError: Its table could not be opened.
        """
        channel = next((one for one in live.table_channels if isinstance(one, ItemToItem)), None)
        if channel is None or channel.method == "vectors":
            has = f"has no channel {_SIMILAR}" if channel is None else f"has a channel {_SIMILAR} by vectors alone"
            raise RequestError(
                f"by: generation {live.id} {has}; ask by vector, or declare swing or item_cf in the training file"
            )
        served, table = self._items.get(live), self._of(_SIMILAR).get(live)
        if served is None or table is None:
            raise UnavailableError(f"generation {live.id}: its channel {_SIMILAR} is not open")
        seeds = np.array(ids, np.int64)
        known, there = Known(seeds, np.zeros(len(seeds), np.float32), 0), served.holds(seeds)
        found = table.candidates(known, served.allowed(wanted, frozenset(ids)), k)
        return _named(served, found), set(seeds[there].tolist())

    def _of(self, kind: str) -> PerVersion[ChannelTable]:
        if kind not in self._tables:
            self._tables[kind] = PerVersion(partial(open_channel, kind=kind), f"answers without its channel {kind}")
        return self._tables[kind]

    async def _compare(self, live: LiveGeneration, kind: str) -> None:
        served, table, whole = self._items.get(live), self._of(kind).get(live), self._whole.setdefault(live, {})
        if kind not in whole and served is not None and table is not None:
            there = await asyncio.to_thread(served.holds, table.items)
            whole[kind] = bool(there.all())


def _seen(live: LiveGeneration, lookup: Lookup) -> Set[int]:
    return frozenset(live.seen(lookup.instance, lookup.stored))


def _named(served: ServedItems, ranked: Ranked) -> list[RecalledItem]:
    pairs = zip(served.names(ranked.ids), ranked.scores.tolist(), strict=True)
    return [{"item_id": name, "score": score} for name, score in pairs]


def open_channel(manifest: Manifest, kind: str) -> ChannelTable:
    """Open a channel's table where it is, or a verified copy of an object store's.

    Raises:
        IntegrityError: A file is missing or not what the manifest says.
        UnavailableError: A file cannot be read now.
    """
    mixture = manifest.mixture
    declared = next(channel for channel in mixture.channels if channel.kind == kind) if mixture else None
    if mixture is None or declared is None:
        raise IntegrityError(f"generation {manifest.id}: declares no channel {kind}")
    with TemporaryDirectory(prefix="pagoda-channel-") as folder:
        copy = Path(folder, kind)
        copy.mkdir()
        paths = [
            verified(file.uri, file.checksum, copy / name.rpartition("/")[2])
            for name, file in mixture.tables.items()
            if name.startswith(f"{kind}/")
        ]
        if not paths:
            raise IntegrityError(f"generation {manifest.id}: has no table of its channel {kind}")
        # A copy has no name any more once it is open, so none is ever left behind.
        return open_table(paths[0].parent.parent, declared)
