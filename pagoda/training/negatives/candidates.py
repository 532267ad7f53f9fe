"""What the objective sees of a batch: its candidates, those of earlier batches, and how probable each was to be one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda.config.negatives import NegativesConfig
from pagoda.model.losses.objective import Candidates, log_q_of
from pagoda.training.negatives.cross_batch_queue import CrossBatchQueue, Drawn
from pagoda.training.negatives.frequencies import FrequencyEstimator

_BUCKETS_AN_ITEM = 4
_FEWEST_BUCKETS = 1 << 12


class Drawing(Protocol):
    """What a batch says of its candidates, see `pagoda.training.batches.batcher.Batch`."""

    @property
    def places(self) -> Tensor:
        """int64 [M], in the catalogue."""

    @property
    def log_missed(self) -> Tensor:
        """float32 [M]."""

    @property
    def targets(self) -> Tensor:
        """int64 [B]."""

    @property
    def first_shared(self) -> int:
        """See `Candidates`."""

    @property
    def negatives(self) -> Tensor | None:
        """See `Candidates`."""

    @property
    def hard(self) -> Tensor | None:
        """See `Candidates`."""

    @property
    def hard_missed(self) -> Tensor | None:
        """float32 [B, H]."""

    @property
    def masked(self) -> Tensor | None:
        """See `Candidates`."""


class CandidateMaker:
    """Makes the candidates of one batch after the other, in the order in which they are learned."""

    def __init__(self, config: NegativesConfig, items: int, known: NDArray[np.float64] | None = None) -> None:
        """Make one.

        Args:
            config: Where negatives come from.
            items: Size of the catalogue.
            known: float64 [items], the probability of each item to be in a batch as the parent knew it; None for a
                first version, whose vectors have to settle first.
        """
        self._config, self.items = config, items
        self._queue = (
            CrossBatchQueue(config.queue, config.queue_warm_up if known is None else 0, items) if config.queue else None
        )
        streams = config.correction == "streaming"
        self._estimator = FrequencyEstimator(max(_FEWEST_BUCKETS, _BUCKETS_AN_ITEM * items)) if streams else None
        if self._estimator is not None and known is not None:
            self._estimator.believe(np.arange(items), known)

    def of(self, batch: Drawing, vectors: Tensor) -> Candidates:
        """The candidates of a batch whose distinct items have these vectors, float32 [M, D]."""
        missed = self._log_missed(batch)
        places, first = batch.places, batch.first_shared
        # Hard ones of a user are no candidates of the others, to whom an earlier batch may still show them.
        others = self._queue.others(places[first:]) if self._queue is not None else None
        # Each batch in the queue was one more chance to be drawn.
        chances = 1 + (len(self._queue) if self._queue is not None else 0)
        if self._queue is not None:
            self._queue.push(Drawn(places[first:], vectors[first:], missed[first:]))
        every, all_missed = vectors, missed * chances
        if others is not None:
            every = torch.cat([vectors, others.vectors])
            all_missed = torch.cat([all_missed, others.log_missed * chances])
        return Candidates(
            every,
            self._log_q(all_missed),
            first,
            batch.negatives,
            hard=batch.hard,
            hard_log_q=self._hard(batch, all_missed),
            hard_shared=_hard_shared(batch, others),
            masked=batch.masked,
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that the next batch's candidates depend on beside the batch."""
        parts = {"queue": self._queue, "frequencies": self._estimator}
        there = {part: of.state_dict() for part, of in parts.items() if of is not None}
        return {f"{part}.{name}": value for part, state in there.items() for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` gave."""
        for part, of in {"queue": self._queue, "frequencies": self._estimator}.items():
            if of is not None:
                prefix = f"{part}."
                of.load_state_dict(
                    {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
                )

    def _log_missed(self, batch: Drawing) -> Tensor:
        """Log of the probability that a batch does not draw each candidate, float32 [M]."""
        if self._estimator is None:
            return batch.log_missed
        # What the batch says is of the other samplers alone, then.
        places = batch.places.cpu()
        self._estimator.observe(places[torch.unique(batch.targets.cpu())].numpy())
        held = torch.from_numpy(self._estimator.probabilities(places.numpy()))
        return batch.log_missed + torch.log1p(-held).to(batch.log_missed)

    def _hard(self, batch: Drawing, log_missed: Tensor) -> Tensor | None:
        if batch.hard is None or batch.hard_missed is None:
            return None
        return self._log_q(log_missed[batch.hard] + batch.hard_missed)

    def _log_q(self, log_missed: Tensor) -> Tensor:
        if self._config.correction == "none":
            return torch.zeros_like(log_missed)
        return log_q_of(log_missed)


def _hard_shared(batch: Drawing, others: Drawn | None) -> Tensor | None:
    """As `Candidates.hard_shared`: where the batch or an earlier one, after it, gives each hard one to all."""
    if batch.hard is None:
        return None
    places, first = batch.places, batch.first_shared
    shared = (torch.arange(len(places), device=places.device) - first).clamp(min=-1)
    if others is not None and len(others.places):
        ordered, order = others.places.sort()
        at = torch.searchsorted(ordered, places[:first]).clamp(max=len(ordered) - 1)
        shared[:first] = torch.where(ordered[at] == places[:first], len(places) - first + order[at], -1)
    return shared[batch.hard]
