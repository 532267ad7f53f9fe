"""Objectives: how user vectors should lie towards the vectors of positives and of other candidates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from pagoda.model.losses.nearest import by_nearest
from pagoda.model.losses.softmax import softmax_loss

_LOWEST_TEMPERATURE = 0.01


@dataclass(frozen=True)
class Candidates:
    """The distinct items among which each user's own is to be found."""

    vectors: Tensor
    """float32 [M, D], of unit length where cosines are compared."""
    log_q: Tensor
    """float32 [M]: log of the probability that the sampler puts this item among the candidates of a batch."""
    first_shared: int = 0
    """Items from here on are candidates of every user; those before only of the users that chose them."""
    negatives: Tensor | None = None
    """int64 [B, K]: each user's own negatives, for objectives that take single ones. One that is the user's choice
    stands for none."""
    hard: Tensor | None = None
    """int64 [B, H]: candidates of one user alone, beside the shared ones, for objectives that take all. One that is the
    user's choice stands for none."""
    hard_log_q: Tensor | None = None
    """float32 [B, H]: log of the probability of each to be a candidate of its user."""
    hard_shared: Tensor | None = None
    """int64 [B, H]: which shared candidate is the same item, counted from `first_shared`, -1 for none. None: a hard one
    is shared where its own place is among the shared ones."""

    bad: Tensor | None = None
    """int64 [B, K]: shared candidates that count for more than once to one user, for objectives that take all. One that
    is the user's choice stands for none."""
    bad_weight: float = 0.0
    """How much more: the sum of exponentials holds each 1 + this times."""
    masked: Tensor | None = None
    """int64 [2, n]: users (ascending) and candidates that stand for none to them, for objectives that take all; never a
    user's choice."""


class Objective(Protocol):
    """A loss over a batch of users and their candidates."""

    def __call__(self, users: Tensor, candidates: Candidates, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean loss.

        Args:
            users: float32 [B, D], like the candidates' vectors; of several interests [B, interests, D].
            candidates: M of them.
            targets: int64 [B], which candidate each user chose.
            weights: float32 [B], by which the loss of each choice is multiplied; None: by 1.
        """


@dataclass(frozen=True)
class ListwiseSoftmax:
    """Sampled softmax over similarity / temperature with logQ correction: Yi et al., RecSys 2019, equations 3 to 5.

    s(x, y) - log q(y) replaces s(x, y), so that popular items, which are candidates more often, are not pushed away for
    it. Each candidate stands in the sum once: the same item elsewhere in the batch (an accidental hit) is no negative,
    and drawing a negative twice does not count twice. With q(y) the probability of being drawn at all, the softmax over
    such a sample has its optimum where the softmax over all items has it (Bengio and Senecal 2008; "Candidate Sampling
    Algorithms Reference", TensorFlow), for small catalogues too, where q(y) is far from proportional to popularity.
    """

    temperature: float | Tensor

    def __call__(self, users: Tensor, candidates: Candidates, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `Objective`."""
        first, hard, bad = candidates.first_shared, candidates.hard, candidates.bad
        plain = hard is None and bad is None and users.ndim == candidates.vectors.ndim
        if plain and not users.is_cuda:
            scale, bias = 1 / self.temperature, -candidates.log_q
            return softmax_loss(
                users,
                candidates.vectors,
                targets,
                scale=scale,
                bias=bias,
                first_shared=first,
                weights=weights,
                masked=candidates.masked,
            )
        shared = candidates.vectors[first:].T
        logits = by_nearest(lambda user: user @ shared, users) / self.temperature - candidates.log_q[first:]
        if candidates.masked is not None:
            rows, columns = candidates.masked[:, candidates.masked[1] >= first]
            logits = logits.index_put((rows, columns - first), logits.new_tensor(-torch.inf))
        if bad is not None:
            more = (bad != targets[:, None]) * math.log1p(candidates.bad_weight)
            logits = logits.scatter_add(1, (bad - first).clamp(min=0), more.to(logits))
        if not first and hard is None:
            return _cross_entropy(logits, targets, weights)
        chosen = candidates.vectors[targets]
        own = by_nearest(lambda user: (user * chosen).sum(1), users) / self.temperature - candidates.log_q[targets]
        places = torch.arange(first, len(candidates.vectors), device=targets.device)
        others = logits.masked_fill(places == targets[:, None], -torch.inf)
        columns = [own[:, None], others]
        if hard is not None:
            # An item that is shared as well stands in the sum once, by the chance that it has for this user.
            twice = torch.zeros(len(users), 1 + others.shape[1], dtype=torch.bool, device=users.device)
            same = (hard - first).clamp(min=-1) if candidates.hard_shared is None else candidates.hard_shared
            twice.scatter_(1, same + 1, True)
            columns = [
                own[:, None],
                others.masked_fill(twice[:, 1:], -torch.inf),
                self._hard(users, candidates, targets),
            ]
        return _cross_entropy(torch.cat(columns, 1), torch.zeros_like(targets), weights)

    def _hard(self, users: Tensor, candidates: Candidates, targets: Tensor) -> Tensor:
        """Corrected logits of each user's own candidates, [B, H]."""
        hard, log_q = candidates.hard, candidates.hard_log_q
        if hard is None or log_q is None:
            raise ValueError("candidates.hard needs candidates.hard_log_q")
        drawn = functional.embedding(hard, candidates.vectors)
        cosines = by_nearest(lambda user: torch.einsum("bd,bhd->bh", user, drawn), users)
        return (cosines / self.temperature - log_q).masked_fill(hard == targets[:, None], -torch.inf)


def _cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return functional.cross_entropy(logits, targets)
    return (functional.cross_entropy(logits, targets, reduction="none") * weights).mean()


class LearnedTemperature(nn.Module):
    """`ListwiseSoftmax` whose temperature is learned on a logarithmic scale and kept above 0.01, as in CLIP."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(initial).log())

    @override
    def forward(self, users: Tensor, candidates: Candidates, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `Objective`."""
        # The parameter itself is kept above: through a clamp there is no gradient, so it would never rise again.
        with torch.no_grad():
            self.log_temperature.clamp_(min=math.log(_LOWEST_TEMPERATURE))
        return ListwiseSoftmax(self.log_temperature.exp())(users, candidates, targets, weights)

    @property
    def temperature(self) -> Tensor:
        """As it is now."""
        return self.log_temperature.exp().clamp(min=_LOWEST_TEMPERATURE)


def log_q_of(log_missed: Tensor) -> Tensor:
    """`log_drawn` of a tensor."""
    drawn = -torch.expm1(log_missed)
    return torch.where(drawn > 0, drawn, 1.0).log()


def log_missed(shares: NDArray[np.float64], draws: float) -> NDArray[np.float64]:
    """Log of the probability that none of so many draws gives the item, float64 [n]; `shares` float64 [n] in [0, 1].

    Where share x draws is small, q = 1 - exp of it is proportional to the share, which is the correction as Yi et al.
    2019 published it.
    """
    with np.errstate(divide="ignore"):  # a share of 1 gives log1p(-1) = -inf, and then log q = 0 as it should
        missed: NDArray[np.float64] = draws * np.log1p(-shares)
    return missed


def log_drawn(missed: NDArray[np.float64]) -> NDArray[np.float32]:
    """log q float32 [n] from the log of the probability not to be drawn; 0 for what is never drawn.

    The logs of independent samplers add up: what is drawn by none of them is not among the candidates.
    """
    drawn = -np.expm1(missed)
    return np.log(drawn, out=np.zeros_like(drawn), where=drawn > 0).astype(np.float32)
