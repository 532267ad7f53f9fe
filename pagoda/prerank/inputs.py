"""Users and items to what the pre-ranker reads: the same for what was shown and for each request (invariant 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda.model.features.codec import UNKNOWN
from pagoda.model.tensors import tensors
from pagoda.model.user_inputs import Array, UserKeys
from pagoda.prerank.groups import POPULARITY, SHARE, SINCE
from pagoda.prerank.items import EncodedItems

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
_HOUR = 3600.0
_NEVER_HOURS = 24 * 365.0
"""Stands for the time since what never was."""


class PairInputs(NamedTuple):
    """m pairs of B users and items, in the order in which the program takes it; see `PreRanker.forward`."""

    users: Array
    items: Array
    owner: Array
    features: dict[str, Array]

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """The same as tensors."""
        arrays = (torch.from_numpy(array) for array in self[:3])
        users, items, owner = arrays
        return users, items, owner, tensors(self.features)


def pair_inputs(
    names: Sequence[str],
    items: EncodedItems,
    users: Float32Array,
    keys: UserKeys[Array],
    *,
    places: Int64Array,
    owner: Int64Array,
) -> PairInputs:
    """Put together what groups read.

    Args:
        names: The groups.
        items: That the pre-ranker knows.
        users: float32 [B, D], the user tower's vectors.
        keys: What that has read of the same users, items of histories by ID.
        places: int64 [m], where the items are among `items`.
        owner: int64 [m], which of the users each is for.
    """
    features: dict[str, Array] = {}
    past = _Past(items, keys, owner)
    for name in names:
        mark, _, feature = name.partition(".")
        if name == POPULARITY:
            features[name] = items.popularity(places)
        elif mark == "user" and feature:
            features[name] = keys.features[feature]
        elif mark == "item" and feature:
            features[name] = items.feature(feature, places)
        elif name.startswith((SHARE, SINCE)):
            features[name] = past.crossed(mark, feature, items.category(feature, places))
    return PairInputs(users, items.vectors(places), owner, features)


class _Past:
    """Histories of users, looked at from items."""

    def __init__(self, items: EncodedItems, keys: UserKeys[Array], owner: Int64Array) -> None:
        self._items, self._keys, self._owner = items, keys, owner
        self._found: tuple[Int64Array, NDArray[np.bool_]] | None = None
        self._same: dict[str, NDArray[np.bool_]] = {}

    def crossed(self, mark: str, feature: str, categories: Int64Array) -> Float32Array:
        """What a crossed group says of each pair, float32 [m, 1]: the share of the user's events that are in the item's
        category, or the logarithm of the hours since the last of them."""
        if feature not in self._same:
            self._same[feature] = self._of(feature)[self._owner] == categories[:, None]
            self._same[feature] &= (categories > UNKNOWN)[:, None]
        same = self._same[feature]
        if f"{mark}." == SHARE:
            events = self._keys.history_mask.sum(1)[self._owner]
            share: Float32Array = (same.sum(1) / np.maximum(events, 1)).astype(np.float32)[:, None]
            return share
        hours = np.where(same, self._keys.history_age[self._owner] / _HOUR, _NEVER_HOURS)
        nearest = hours.min(1, initial=_NEVER_HOURS).clip(min=0)
        return np.asarray(np.log1p(nearest), np.float32)[:, None]

    def _of(self, feature: str) -> Int64Array:
        """The category of each event of the histories, int64 [B, L]; `UNKNOWN` where there is none."""
        mask, past = self._keys.history_mask, self._keys.history_items
        if self._found is None:
            self._found = self._items.find(past.ravel())
        places, there = self._found
        known = there.reshape(past.shape) & mask
        return np.where(known, self._items.category(feature, places).reshape(past.shape), UNKNOWN)
