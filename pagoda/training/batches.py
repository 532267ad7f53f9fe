"""Batches: what one step of training takes, with each ID row that it touches named once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda.data.window import from_us
from pagoda.model.encoder import Encoded, Encoder
from pagoda.training.config import DropoutConfig
from pagoda.training.examples import Block
from pagoda.training.objectives import NegativesConfig
from pagoda.training.sampling import NegativeSampler
from pagoda.training.tables import OOV, TrainableTable

Int64Array = NDArray[np.int64]
_US = 1e6


@dataclass(frozen=True)
class Catalogue:
    """All items of the dataset, in ascending order of ID."""

    rows: Int64Array
    """int64 [i]: places in the item table."""
    features: Encoded
    log_q: NDArray[np.float32]
    """float32 [i]: log of the probability to be a candidate of a batch."""


@dataclass(frozen=True)
class Batch:
    """B positives. `…_rows` are distinct places in a table, `…_of` say which of these is whose."""

    user_rows: Tensor
    user_of: Tensor
    """int64 [B]."""
    item_rows: Tensor
    candidate_of: Tensor
    """int64 [M]: the M distinct items of the batch."""
    history_of: Tensor
    """int64 [B, L], or of sequences [S, L]."""
    history_mask: Tensor
    history_age: Tensor
    user_features: dict[str, Tensor]
    item_features: dict[str, Tensor]
    """Of the M distinct items."""
    log_q: Tensor
    targets: Tensor
    """int64 [B]: which of the M distinct items each user chose."""
    moments: str
    """From when to when, for people."""
    first_shared: int = 0
    negatives: Tensor | None = None
    """As in `pagoda.model.losses.Candidates`."""
    history_after: Tensor | None = None
    """int64 [B]: where the histories are sequences for `UserTower.along`, the event that each positive comes after."""

    def __len__(self) -> int:
        return len(self.targets)


class Past(NamedTuple):
    """What was done before the positives of a batch: a history of each, or sequences that several of them end."""

    items: Int64Array
    """int64 [B or sequences, L]: places in the item table."""
    mask: NDArray[np.bool_]
    age: NDArray[np.floating]
    """Seconds from each event to the positive, or to the sequence's newest event."""
    after: Int64Array | None = None
    """As in `Batch.history_after`."""


class Numbering:
    """Numbers the distinct places in an array by one scatter and one gather; sorting takes several times as long.

    Costs 8 bytes a row of the table, once.
    """

    def __init__(self, rows: int) -> None:
        self._last = np.empty(rows, np.int64)

    def distinct(self, places: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Return the distinct ones of `places` [n], and for each of `places` its number among them."""
        index = np.arange(len(places))
        self._last[places] = index  # the last occurrence of a place stands for all
        stands_for = self._last[places]
        chosen = stands_for == index
        return places[chosen], (np.cumsum(chosen) - 1)[stands_for]


class Batcher:
    """Cuts shuffled blocks into batches."""

    def __init__(
        self,
        encoder: Encoder,
        users: TrainableTable,
        items: TrainableTable,
        catalogue: Catalogue,
        *,
        dropout: DropoutConfig,
        rng: np.random.Generator,
        sampler: NegativeSampler | None = None,
    ) -> None:
        """Make one; without a `sampler`, the batch's own items are the candidates of every user."""
        self._sampler = sampler or NegativeSampler(NegativesConfig(), np.zeros(len(catalogue.rows), np.int64))
        self._catalogue, self._dropout, self._rng = catalogue, dropout, rng
        self._users, self._items = Numbering(len(users.rows)), Numbering(len(items.rows))
        self._choices = Numbering(len(catalogue.rows))
        self._nobody = encoder.encode_rows("user", [{}])

    def batches(self, block: Block, size: int) -> Iterator[Batch]:
        """All positives of `block` (at least one), each once, in random order, in batches of nearly equal size."""
        for rows, past in self._parts(block, size):
            yield self._batch(block, rows, past)

    def _parts(self, block: Block, size: int) -> Iterator[tuple[Int64Array, Past]]:
        """The positives of each batch, int64 [B], and what was done before them."""
        order = self._rng.permutation(len(block))
        for rows in np.array_split(order, -(-len(order) // size)):
            items, times_us, mask = block.histories.take(rows).padded()
            mask &= self._rng.random((len(rows), 1), np.float32) >= self._dropout.history
            age = np.where(mask, (block.times_us[rows][:, None] - times_us) / _US, 0).astype(np.float32)
            yield rows, Past(items, mask, age)

    def _batch(self, block: Block, rows: Int64Array, past: Past) -> Batch:
        user_rows, user_of = self._users.distinct(self._hide(block.users[rows], self._dropout.user))
        sampled = self._sampler.draw(self._rng)
        # The last occurrence of an item counts, so those that were sampled come last.
        chosen, number = self._choices.distinct(np.concatenate([block.items[rows], sampled]))
        targets = number[: len(rows)]
        first_shared = 0 if self._sampler.in_batch else len(chosen) - len(sampled)
        touched = np.concatenate([self._catalogue.rows[chosen], past.items.ravel()])
        item_rows, item_of = self._items.distinct(self._hide(touched, self._dropout.item))
        moments_us = block.times_us[rows]
        return Batch(
            user_rows=torch.from_numpy(user_rows),
            user_of=torch.from_numpy(user_of),
            item_rows=torch.from_numpy(item_rows),
            candidate_of=torch.from_numpy(item_of[: len(chosen)]),
            history_of=torch.from_numpy(item_of[len(chosen) :].reshape(past.items.shape)),
            history_mask=torch.from_numpy(past.mask),
            history_age=torch.from_numpy(past.age),
            user_features=self._user_features(block, rows),
            item_features=_take(self._catalogue.features, chosen),
            log_q=torch.from_numpy(self._catalogue.log_q[chosen]),
            targets=torch.from_numpy(targets),
            first_shared=first_shared,
            negatives=self._sampler.negatives(targets, first_shared, len(chosen), self._rng),
            history_after=None if past.after is None else torch.from_numpy(past.after),
            moments=f"{from_us(int(moments_us.min())).isoformat()} to {from_us(int(moments_us.max())).isoformat()}",
        )

    def _hide(self, places: Int64Array, share: float) -> Int64Array:
        return np.where(self._rng.random(places.shape, np.float32) < share, OOV, places)

    def _user_features(self, block: Block, rows: Int64Array) -> dict[str, Tensor]:
        features = _take(block.profiles, block.profile_rows[rows]) | _take(block.context, rows)
        hidden = torch.from_numpy(self._rng.random(len(rows), np.float32) < self._dropout.profile)
        for name, values in features.items():
            values[hidden] = torch.from_numpy(self._nobody[name])
        return features


def _take(encoded: Encoded, rows: Int64Array) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array[rows]) for name, array in encoded.items()}
