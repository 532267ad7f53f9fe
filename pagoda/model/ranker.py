"""A ranker for a few items of a user: target attention over the history (DIN: Zhou et al., KDD 2018).

It reads user and item together, so no index can search by it. It never serves; its scores are what a student learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from pagoda.config.model import DecayPooling
from pagoda.config.objective import ListwiseConfig
from pagoda.model.encoder import Field
from pagoda.model.features.feature_embeddings import FeatureEmbeddings
from pagoda.model.unit_vectors import unit_vectors
from pagoda.model.user_inputs import UserInputs

_ATTENTION, _HIDDEN = 16, 64
_HALF_LIVES = DecayPooling().half_lives_seconds
"""By which the age of an event is told."""
_TEMPERATURE = ListwiseConfig().temperature


class TargetAttentionRanker(nn.Module):
    """The chance that a user chooses an item, as a logit; ID rows come from outside, as for towers.

    Beside what its layers make of all inputs stands the cosine of the item's row and the history as the item sees it,
    over the towers' temperature: so rows of items that follow each other lie together from the first step on.
    """

    def __init__(self, dim: int, feature_dim: int, users: Sequence[Field], items: Sequence[Field]) -> None:
        """Build it for item-ID rows of length `dim` and the encoded fields of users and items."""
        super().__init__()
        self.users, self.items = FeatureEmbeddings(users, feature_dim), FeatureEmbeddings(items, feature_dim)
        self.event, self.target = nn.Linear(dim + len(_HALF_LIVES), _ATTENTION), nn.Linear(dim, _ATTENTION, bias=False)
        self.product = nn.Linear(dim, _ATTENTION, bias=False)
        self.activation, self.weight = nn.PReLU(), nn.Linear(_ATTENTION, 1)
        nn.init.ones_(self.weight.bias)  # Attention begins near the sum of all events.
        self.register_buffer("half_lives", torch.tensor(_HALF_LIVES))
        self.half_lives: Tensor
        width = 3 * dim + sum(self.users.widths) + sum(self.items.widths)
        self.score = nn.Sequential(nn.Linear(width, _HIDDEN), nn.PReLU(), nn.Linear(_HIDDEN, 1))

    @override
    def forward(self, inputs: UserInputs, rows: Tensor, features: Mapping[str, Tensor], chosen: Tensor) -> Tensor:
        """Score n items of each of B users.

        Args:
            inputs: Of the users; their own ID rows are not read.
            rows: float32 [M, D], the ID rows of M distinct items.
            features: Theirs, as `Encoder` gives them.
            chosen: int64 [B, n], which of the M each user's are.

        Returns:
            float32 [B, n], logits.
        """
        targets = functional.embedding(chosen, rows)
        attended = self.attended(inputs, targets)
        parts = [targets, attended, targets * attended]
        parts += [functional.embedding(chosen, values) for values in self.items(features)]
        parts += [values[:, None].expand(-1, chosen.shape[1], -1) for values in self.users(inputs.features)]
        scores: Tensor = self.score(torch.cat(parts, -1))
        cosines = (unit_vectors(targets) * unit_vectors(attended)).sum(-1)
        return scores[..., 0] + cosines / _TEMPERATURE

    def attended(self, inputs: UserInputs, targets: Tensor) -> Tensor:
        """Each history as each target sees it, float32 [B, n, D]: section 4.3, equation 3, where weights have no sum.

        The unit reads event, target and their product; their difference would add nothing to two linear layers.
        """
        events, mask, age = inputs.history_rows, inputs.history_mask, inputs.history_age
        # Ages from the newest event on, since training asks within visits and scoring long after them.
        newest = age.masked_fill(~mask, torch.inf).amin(1, keepdim=True)
        fading = torch.exp2((newest - age).masked_fill(~mask, -torch.inf)[..., None] / self.half_lives)
        of_events = self.event(torch.cat([events, fading], -1)).transpose(1, 2)  # [B, H, L]
        of_both = (targets[:, :, None] * self.product.weight).flatten(1, 2) @ events.transpose(1, 2)
        hidden = of_both.view(*targets.shape[:2], _ATTENTION, -1) + of_events[:, None]
        hidden = self.activation(hidden + self.target(targets)[..., None])  # [B, n, H, L]
        weights = torch.einsum("bnhl,h->bnl", hidden, self.weight.weight[0]) + self.weight.bias
        return (weights * mask[:, None]) @ events
