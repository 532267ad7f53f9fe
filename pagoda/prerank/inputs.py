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
            self._same[feature] = self._each(self._of(feature)) == categories[:, None]
            self._same[feature] &= (categories > UNKNOWN)[:, None]
        same = self._same[feature]
        if f"{mark}." == SHARE:
            events = self._each(self._keys.history_mask.sum(1))
            share: Float32Array = (same.sum(1) / np.maximum(events, 1)).astype(np.float32)[:, None]
            return share
        hours = np.where(same, self._each(self._keys.history_age / _HOUR), _NEVER_HOURS)
        nearest = hours.min(1, initial=_NEVER_HOURS).clip(min=0)
        return np.asarray(np.log1p(nearest), np.float32)[:, None]

    def near(self, vectors: Float32Array) -> Float32Array:
        """How near items are to what users did, for vectors [m, D] of items float32 [m, 5]: the cosine with the nearest
        item of the history, and mean cosines in which events fade by each of the half-lives; zeros without events."""
        places, known = self._places()
        past = self._items.vectors(places.ravel()).reshape(*places.shape, vectors.shape[1])
        if len(past) == 1:
            cosines = vectors @ past[0].T
            means = cosines @ self._weights(known)[0].T
        else:
            cosines = np.einsum("md,mld->ml", vectors, past[self._owner])
            means = np.einsum("ml,mhl->mh", cosines, self._weights(known)[self._owner])
        nearest = np.where(self._each(known), cosines, -np.inf).max(1, initial=-np.inf)
        return np.column_stack([np.where(np.isfinite(nearest), nearest, 0), means]).astype(np.float32)

    def _weights(self, known: NDArray[np.bool_]) -> Float32Array:
        """By each of h half-lives what each event counts, float32 [B, h, L], together 1 or, without events, 0."""
        hours = self._keys.history_age / _HOUR
        # Relative to the newest event: after a long silence, too, the last ones count.
        newest = np.where(known, hours, np.inf).min(1, initial=np.inf, keepdims=True)
        since = np.where(known, hours - newest, np.inf)
        weights = np.exp2(-since[:, None] / np.array(HALF_LIVES_HOURS)[:, None])
        return np.asarray(weights / np.maximum(weights.sum(2, keepdims=True), 1), np.float32)

    def _each(self, values: Array) -> Array:
        """Rows of users [B, …] as rows of pairs; of one user, as in a request, the one row, which is that of all."""
        return values if len(values) == 1 else values[self._owner]

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
