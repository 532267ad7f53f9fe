"""Drawing negatives, and how probable each item is to be drawn."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda.config.negatives import NegativesConfig
from pagoda.model.losses.objective import log_missed

Int64Array = NDArray[np.int64]


class NegativeSampler:
    """Draws the candidates of a batch beside its own items, and each positive's single negatives."""

    def __init__(
        self,
        config: NegativesConfig,
        clicks: Int64Array,
        single: int = 0,
        learned: NDArray[np.float64] | None = None,
    ) -> None:
        """Make one.

        Args:
            config: The sources.
            clicks: int64 [i], positives on each item of the catalogue.
            single: Negatives of its own that each positive gets.
            learned: float64 [i], how many positives of each item an epoch learns; None: `clicks`.
        """
        self.in_batch = config.in_batch
        self._config, self._clicks, self._single = config, clicks, single
        self._learned = clicks if learned is None else learned
        weights = np.where(clicks > 0, clicks, 0.0) ** config.popularity_exponent * (clicks > 0)
        self._shares = weights / max(weights.sum(), 1.0)
        self._steps = np.cumsum(self._shares)

    def draw(self, rng: np.random.Generator) -> Int64Array:
        """Places in the catalogue, int64 [m], distinct."""
        if self._config.catalogue:
            return np.arange(len(self._clicks))
        evenly, popular = np.empty(0, np.int64), np.empty(0, np.int64)
        if self._config.uniform:
            evenly = rng.integers(len(self._clicks), size=self._config.uniform)
        if self._config.popularity:
            chances = rng.random(self._config.popularity) * self._steps[-1]
            popular = np.searchsorted(self._steps, chances, side="right")
        return np.unique(np.concatenate([evenly, popular]))

    def log_missed(self, batch_size: float) -> NDArray[np.float32]:
        """Of each item the log of the probability not to be a candidate of every user of a batch, float32 [i].

        The batch's own items are left out of account where they are counted as batches come.
        """
        if self._config.catalogue:
            return np.full(len(self._clicks), -np.inf, np.float32)
        missed = np.zeros(len(self._clicks))
        if self.in_batch and self._config.correction != "streaming":
            missed += log_missed(self._learned / max(self._learned.sum(), 1), batch_size)
        if self._config.uniform:
            missed += log_missed(np.full(len(missed), 1 / len(missed)), self._config.uniform)
        if self._config.popularity:
            missed += log_missed(self._shares, self._config.popularity)
        return missed.astype(np.float32)

    def negatives(self, targets: Int64Array, first: int, end: int, rng: np.random.Generator) -> Tensor | None:
        """Each positive's single negatives, evenly among the candidates `first` to `end` without its own item.

        Returns:
            int64 [B, single]; where there is no other candidate, the item itself. None where none are wanted.
        """
        if not self._single:
            return None
        own = targets[:, None]
        others = np.maximum(end - first - (own >= first), 1)
        places = first + (rng.random((len(targets), self._single)) * others).astype(np.int64)
        places += (own >= first) & (places >= own)
        return torch.from_numpy(np.where(places < end, places, own))
