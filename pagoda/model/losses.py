"""Objectives: how user vectors should lie towards the vectors of positives and of other candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Candidates:
    """The distinct items among which each user's own is to be found."""

    vectors: Tensor
    """float32 [M, D], unit length."""
    log_q: Tensor
    """float32 [M]: log of the probability that the sampler puts this item among the candidates of a batch."""


class Objective(Protocol):
    """A loss over a batch of users and their candidates."""

    def __call__(self, users: Tensor, candidates: Candidates, targets: Tensor) -> Tensor:
        """Return the mean loss.

        Args:
            users: float32 [B, D], unit length.
            candidates: M of them.
            targets: int64 [B], which candidate each user chose.
        """


@dataclass(frozen=True)
class ListwiseSoftmax:
    """Sampled softmax over cosine / temperature with logQ correction: Yi et al., RecSys 2019, equations 3 to 5.

    s(x, y) - log q(y) replaces s(x, y), so that popular items, which are candidates more often, are not pushed away for
    it. Each candidate stands in the sum once: the same item elsewhere in the batch (an accidental hit) is no negative,
    and drawing a negative twice does not count twice. With q(y) the probability of being drawn at all, the softmax over
    such a sample has its optimum where the softmax over all items has it (Bengio and Senecal 2008; "Candidate Sampling
    Algorithms Reference", TensorFlow), for small catalogues too, where q(y) is far from proportional to popularity.
    """

    temperature: float

    def __call__(self, users: Tensor, candidates: Candidates, targets: Tensor) -> Tensor:
        """See `Objective`."""
        logits = users @ candidates.vectors.T / self.temperature - candidates.log_q
        return functional.cross_entropy(logits, targets)


def in_batch_log_q(shares: NDArray[np.float64], batch_size: int) -> NDArray[np.float32]:
    """log q of in-batch sampling: that an item is drawn at least once in `batch_size` draws.

    Args:
        shares: float64 [n], share of each item in the positives, in (0, 1]. Where share x batch size is small, q is
            proportional to the share, which is the correction as it was published.
        batch_size: Number of positives in a batch.
    """
    with np.errstate(divide="ignore"):  # a share of 1 gives log1p(-1) = -inf, and then log q = 0 as it should
        never = batch_size * np.log1p(-shares)
    drawn: NDArray[np.float64] = -np.expm1(never)
    return np.log(drawn).astype(np.float32)
