"""The items that a batch is about: its positives' own, those sampled for all, each user's hard ones and scored ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda.model.losses.distillation import ScoredItems
from pagoda.training.distillation.scored_lists import ScoredLists
from pagoda.training.negatives.hard import HardNegatives
from pagoda.training.negatives.relevance import Relevance
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
    scored: ScoredItems | None = None
    irrelevant: Tensor | None = None
    """bool [B, S]: which of the S shared items are irrelevant to each user."""

    def of(self, mine: Int64Array | slice) -> ChosenItems:
        """The same items for some of the positives: int64 [b], or all; users have no items of their own then."""
        if isinstance(mine, slice):
            return self
        return self._replace(
            targets=self.targets[mine], negatives=None if self.negatives is None else self.negatives[mine]
        )


class Chooser:
    """Chooses the candidates of one batch after the other."""

    def __init__(
        self,
        sampler: NegativeSampler,
        hard: HardNegatives | None,
        items: int,
        *,
        scored: ScoredLists | None = None,
        relevance: Relevance | None = None,
    ) -> None:
        """Make one for a catalogue of so many items."""
        self._sampler, self._hard, self._scored, self._relevance = sampler, hard, scored, relevance
        self._numbering = Numbering(items)

    def choose(self, own: Int64Array, users: Int64Array, rng: np.random.Generator) -> ChosenItems:
        """Choose for B positives.

        Args:
            own: int64 [B], their items' places in the catalogue.
            users: int64 [B], their users' places in the user table.
            rng: Draws.
        """
        sampled = self._sampler.draw(rng)
        hard, missed = _of_lists(self._hard, own, users, rng)
        scored, logits = _of_lists(self._scored, own, users, rng)
        # The last occurrence of an item counts: scored and hard ones that are nothing else come first, sampled ones
        # last.
        places, number = self._numbering.distinct(np.concatenate([scored.ravel(), hard.ravel(), own, sampled]))
        of_lists, shared = np.split(number, [scored.size + hard.size])
        scored_number, hard_number = of_lists[: scored.size], of_lists[scored.size :].reshape(hard.shape)
        targets, everyones = shared[: len(own)], shared if self._sampler.in_batch else shared[len(own) :]
        first = int(everyones.min(initial=len(places)))
        negatives = self._sampler.negatives(targets, first, len(places), rng)
        listwise = negatives is None and self._hard is not None
        return ChosenItems(
            places,
            targets,
            first,
            _mixed(negatives, hard_number, targets),
            hard=torch.from_numpy(hard_number) if listwise else None,
            hard_missed=torch.from_numpy(missed) if listwise else None,
            scored=_scored(scored_number.reshape(scored.shape), logits) if self._scored else None,
            irrelevant=_irrelevant(self._relevance, users, places[first:]) if self._relevance else None,
        )


def _of_lists(
    lists: HardNegatives | ScoredLists | None, own: Int64Array, users: Int64Array, rng: np.random.Generator
) -> tuple[Int64Array, NDArray[np.float32]]:
    """Items int64 [B, n] of the users' own lists, and what is said of each; the positive's own item stands for none."""
    if lists is None:
        return np.empty((len(own), 0), np.int64), np.empty((len(own), 0), np.float32)
    items, said = lists.draw(users, rng)
    return np.where(items < 0, own[:, None], items), said


def _scored(items: Int64Array, logits: NDArray[np.float32]) -> ScoredItems:
    return ScoredItems(torch.from_numpy(items), torch.from_numpy(logits))


def _irrelevant(relevance: Relevance, users: Int64Array, shared: Int64Array) -> Tensor:
    return torch.from_numpy(relevance.irrelevant(users, shared))


def _mixed(negatives: Tensor | None, hard: Int64Array, targets: Int64Array) -> Tensor | None:
    """Put hard ones in the place of as many single negatives, where there are any."""
    if negatives is not None and hard.size:
        there = torch.from_numpy(hard != targets[:, None])
        count = hard.shape[1]
        negatives[:, :count] = torch.where(there, torch.from_numpy(hard), negatives[:, :count])
    return negatives
