"""The items that a batch is about: its positives' own, those sampled for all, and each user's hard negatives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda.training.negatives.hard import HardNegatives
from pagoda.training.negatives.sampling import NegativeSampler
from pagoda.training.numbering import Numbering

Int64Array = NDArray[np.int64]


class ChosenItems(NamedTuple):
    """M distinct items, and who is to find which among which; see `pagoda.model.losses.objective.Candidates`."""

    places: Int64Array
    """int64 [M], in the catalogue."""
    targets: Int64Array
    """int64 [B]."""
    first_shared: int
    negatives: Tensor | None
    hard: Tensor | None
    hard_missed: Tensor | None
    """float32 [B, H]: log of the probability that the user's own list did not give the item."""


class Chooser:
    """Chooses the candidates of one batch after the other."""

    def __init__(self, sampler: NegativeSampler, hard: HardNegatives | None, items: int) -> None:
        """Make one for a catalogue of so many items."""
        self._sampler, self._hard = sampler, hard
        self._numbering = Numbering(items)

    def choose(self, own: Int64Array, users: Int64Array, rng: np.random.Generator) -> ChosenItems:
        """Choose for B positives.

        Args:
            own: int64 [B], their items' places in the catalogue.
            users: int64 [B], their users' places in the user table.
            rng: Draws.
        """
        sampled = self._sampler.draw(rng)
        hard, missed = self._draw_hard(own, users, rng)
        # The last occurrence of an item counts: hard ones that are nothing else come first, sampled ones last.
        places, number = self._numbering.distinct(np.concatenate([hard.ravel(), own, sampled]))
        targets, hard_number = number[hard.size :][: len(own)], number[: hard.size].reshape(hard.shape)
        everyones = number[hard.size :] if self._sampler.in_batch else number[hard.size + len(own) :]
        first = int(everyones.min(initial=len(places)))
        negatives = self._sampler.negatives(targets, first, len(places), rng)
        if negatives is None and self._hard is not None:
            return ChosenItems(places, targets, first, None, torch.from_numpy(hard_number), torch.from_numpy(missed))
        return ChosenItems(places, targets, first, _mixed(negatives, hard_number, targets), None, None)

    def _draw_hard(
        self, own: Int64Array, users: Int64Array, rng: np.random.Generator
    ) -> tuple[Int64Array, NDArray[np.float32]]:
        """Hard negatives int64 [B, H]; the positive's own item stands for none."""
        if self._hard is None:
            return np.empty((len(own), 0), np.int64), np.empty((len(own), 0), np.float32)
        items, missed = self._hard.draw(users, rng)
        return np.where(items < 0, own[:, None], items), missed


def _mixed(negatives: Tensor | None, hard: Int64Array, targets: Int64Array) -> Tensor | None:
    """Put hard ones in the place of as many single negatives, where there are any."""
    if negatives is not None and hard.size:
        there = torch.from_numpy(hard != targets[:, None])
        count = hard.shape[1]
        negatives[:, :count] = torch.where(there, torch.from_numpy(hard), negatives[:, :count])
    return negatives
