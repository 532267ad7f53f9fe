"""Hard negatives: items of a user's own that were near to being right, and were not.

Two sources: what recall had found and a later stage threw out (an event for each stage), and what the previous
version's search found at ranks 101 to 500 (Huang et al., KDD 2020, section 6.1: nearer ones are often right). What a
user chose in the window is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pagoda.config.negatives import REJECTIONS, NegativesConfig
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.errors import ConfigError
from pagoda.model.table_inputs import catalogue_places
from pagoda.training.negatives.mined_file import read_mined
from pagoda.training.pairs import NO_PAIRS, Pairs
from pagoda.training.tables import OOV, TrainableTable
from pagoda.training.user_lists import UserLists

Int64Array = NDArray[np.int64]
_KEPT = 100
"""Newest rejections by a stage kept of a user, and mined ones."""
_BATCH_ROWS = 1 << 20


class OwnLists:
    """Each user's own hard negatives from one source, drawn without replacement."""

    def __init__(self, pairs: Pairs, users: int, count: int, seed: int) -> None:
        """Lay out `pairs` by user; `count` of a list are drawn at a time, from a table of so many `users`."""
        self.count = count
        self._lists, order = UserLists.of(pairs.users, users, seed)
        self._items = pairs.items[order]

    def draw(self, users: Int64Array, rng: np.random.Generator) -> tuple[Int64Array, NDArray[np.float32]]:
        """Draw for each of `users` (int64 [B], places in the table).

        Returns:
            Items int64 [B, count], -1 where a list has no more, and float32 [B, count]: log of the probability that
            this item of the list is not drawn.
        """
        places = self._lists.draw(users, self.count, rng)
        there = places >= 0
        items = np.where(there, self._items[np.where(there, places, 0)] if len(self._items) else -1, -1)
        lengths = self._lists.lengths(users)[:, None]
        with np.errstate(divide="ignore"):
            missed = np.log1p(-np.minimum(self.count / np.maximum(lengths, 1), 1.0))
        return items, np.broadcast_to(missed, items.shape).astype(np.float32)


class HardNegatives:
    """All sources; each gives its own number of a positive's negatives."""

    def __init__(self, lists: Sequence[OwnLists]) -> None:
        self._lists = tuple(lists)
        self.count = sum(each.count for each in self._lists)

    def draw(self, users: Int64Array, rng: np.random.Generator) -> tuple[Int64Array, NDArray[np.float32]]:
        """As `OwnLists.draw`, the sources beside each other; no item of a user is in two of them."""
        items, missed = zip(*(each.draw(users, rng) for each in self._lists), strict=True)
        return np.concatenate(items, 1), np.concatenate(missed, 1)


class Sources(NamedTuple):
    """Where hard negatives are found."""

    dataset: Dataset
    window: Window
    mined: Path | None
    """A file of `pagoda mine`."""


def hard_negatives(
    config: NegativesConfig, sources: Sources, users: TrainableTable, catalogue: Int64Array, seed: int
) -> HardNegatives | None:
    """What the configuration asks for; None where it asks for none.

    Raises:
        ConfigError: There are no rejections; what else may be wrong, `pagoda.training.full.refusals` has said before.
        DataError: The file of mined ones cannot be read.
    """
    found: list[tuple[int, Pairs]] = []
    for key, count in config.rejections.items():
        found.append((count, rejected_pairs(key, sources, users, catalogue)))
    if config.mined and sources.mined:
        kept = max(_KEPT, config.mined)
        found.append((config.mined, read_mined(sources.mined, users, catalogue, kept, seed)))
    taken = _chosen(sources, users, catalogue, [pairs for _, pairs in found]) if found else NO_PAIRS
    lists: list[OwnLists] = []
    for count, pairs in found:
        left = pairs.without(taken)
        lists.append(OwnLists(left, len(users), count, seed))
        taken = Pairs.of(np.concatenate([taken.keys, left.keys]))
    return HardNegatives(lists) if lists else None


def rejected_pairs(key: str, sources: Sources, users: TrainableTable, catalogue: Int64Array) -> Pairs:
    """What the window has of the event of a key of `REJECTIONS`, the newest of each user; memory follows these.

    Raises:
        ConfigError: There is no such event.
    """
    event, dataset, window = REJECTIONS[key], sources.dataset, sources.window
    keys = np.empty(0, np.int64)
    for batch in dataset.batches(window, events=[event], columns=["user_id", "item_id"], batch_rows=_BATCH_ROWS):
        of = users.places(batch.column("user_id").to_numpy())
        items = catalogue_places(catalogue, batch.column("item_id").to_numpy(), dataset)
        known = of != OOV
        keys = _newest(np.concatenate([keys, Pairs(of[known], items[known]).keys]))
    if not len(keys):
        raise ConfigError(
            f"negatives.{key} is set, but {dataset.path} has no event {event} of a user with a positive in "
            f"window {window.key}"
        )
    return Pairs.of(keys)


def _newest(keys: Int64Array) -> Int64Array:
    """Of keys in time order: each once, where it came last, and of each user the newest `_KEPT`."""
    _, last = np.unique(keys[::-1], return_index=True)
    keys = keys[np.sort(len(keys) - 1 - last)]
    users = Pairs.of(keys).users
    order = np.argsort(users, kind="stable")
    ends = np.searchsorted(users[order], users[order], "right")
    return keys[np.sort(order[ends - np.arange(len(keys)) <= _KEPT])]


def _chosen(sources: Sources, users: TrainableTable, catalogue: Int64Array, asked: Sequence[Pairs]) -> Pairs:
    """Those of the pairs that are positives of the window."""
    keys = np.unique(np.concatenate([pairs.keys for pairs in asked]))
    chosen = np.zeros(len(keys), bool)
    columns, events = ["user_id", "item_id"], sources.dataset.spec.positives
    for batch in sources.dataset.batches(sources.window, events=events, columns=columns, batch_rows=_BATCH_ROWS):
        user_ids, item_ids = (batch.column(name).to_numpy() for name in columns)
        items = catalogue_places(catalogue, item_ids, sources.dataset)
        chosen |= np.isin(keys, Pairs(users.places(user_ids), items).keys)
    return Pairs.of(keys[chosen])
