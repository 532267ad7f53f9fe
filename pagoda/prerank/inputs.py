"""Users and items to what the pre-ranker reads: the same for what was shown and for each request (invariant 9)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda.model.features.codec import UNKNOWN
from pagoda.model.tensors import tensors
from pagoda.model.user_inputs import Array, UserKeys
from pagoda.prerank.groups import HALF_LIVES_HOURS, NEAR, POPULARITY, SHARE, SINCE
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
    past, vectors = _Past(items, keys, owner), items.vectors(places)
    for name in names:
        mark, _, feature = name.partition(".")
        if name == POPULARITY:
            features[name] = items.popularity(places)
        elif mark == "user" and feature:
            features[name] = keys.features[feature]
        elif mark == "item" and feature:
            features[name] = items.feature(feature, places)
        elif name == NEAR:
            features[name] = past.near(vectors)
        elif name.startswith((SHARE, SINCE)):
            features[name] = past.crossed(mark, feature, items.category(feature, places))
    return PairInputs(users, vectors, owner, features)


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

    def near(self, vectors: Float32Array) -> Float32Array:
        """How near items are to what users did, for vectors [m, D] of items float32 [m, 5]: the cosine with the nearest
        item of the history, and mean cosines in which events fade by each of the half-lives; zeros without events."""
        places, known = self._places()
        past = self._items.vectors(places.ravel()).reshape(*places.shape, vectors.shape[1])
        alone = len(past) == 1  # As in a request: one product.
        cosines = vectors @ past[0].T if alone else np.einsum("md,mld->ml", vectors, past[self._owner])
        there = known[self._owner]
        nearest = np.where(there, cosines, -np.inf).max(1, initial=-np.inf)
        means = [np.einsum("ml,ml->m", weights[self._owner], cosines) for weights in self._weights(known)]
        return np.column_stack([np.where(there.any(1), nearest, 0), *means]).astype(np.float32)

    def _weights(self, known: NDArray[np.bool_]) -> Iterator[Float32Array]:
        """By each of the half-lives what each event counts, float32 [B, L], together 1 or, without events, 0."""
        hours = self._keys.history_age / _HOUR
        # Relative to the newest event: after a long silence, too, the last ones count.
        newest = np.where(known, hours, np.inf).min(1, initial=np.inf, keepdims=True)
        since = np.where(known, hours - newest, np.inf)
        for half_life in HALF_LIVES_HOURS:
            weights = np.exp2(-since / half_life)
            yield (weights / np.maximum(weights.sum(1, keepdims=True), 1)).astype(np.float32)

    def _of(self, feature: str) -> Int64Array:
        """The category of each event of the histories, int64 [B, L]; `UNKNOWN` where there is none."""
        places, known = self._places()
        return np.where(known, self._items.category(feature, places.ravel()).reshape(known.shape), UNKNOWN)

    def _places(self) -> tuple[Int64Array, NDArray[np.bool_]]:
        """Where the items of the histories are, int64 [B, L], and which are here, bool [B, L]."""
        if self._found is None:
            past = self._keys.history_items
            places, there = self._items.find(past.ravel())
            self._found = places.reshape(past.shape), there.reshape(past.shape) & self._keys.history_mask
        return self._found
