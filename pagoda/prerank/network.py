"""The network of the pre-ranker: groups of features side by side, and a few layers (COLD, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pagoda.model.features.feature_embeddings import FeatureEmbeddings
from pagoda.prerank.groups import COSINE, ITEM_VECTOR, OF_VECTORS, PRODUCT, USER_VECTOR, Groups


class PreRanker(nn.Module):
    """The chance that a user chooses an item that is shown, as a logit.

    The first layer is that of all groups end to end. It is written as one of the user's groups and one of the others,
    so that the user's part is computed once for all items.
    """

    def __init__(
        self, groups: Groups, dim: int, feature_dim: int, hidden: Sequence[int], *, gated: bool = False
    ) -> None:
        """Build it.

        Args:
            groups: That it reads.
            dim: Length of the towers' vectors.
            feature_dim: Length of a feature's embedding.
            hidden: Widths of its layers.
            gated: Whether each group has a gate of its own, by which groups are selected (section 3.2):
                s = sigmoid(W [e₁ … e_M] + b), and eᵢ counts sᵢ times.
        """
        super().__init__()
        self._groups = frozenset(groups.names)
        self.users, self.pairs = (
            FeatureEmbeddings(groups.user, feature_dim),
            FeatureEmbeddings(groups.pair, feature_dim),
        )
        widths = {ITEM_VECTOR: dim, PRODUCT: dim, COSINE: 1}
        vectors = [name for name in OF_VECTORS if name in groups.names]
        of_users = [dim] * (USER_VECTOR in groups.names) + self.users.widths
        of_pairs = [widths[name] for name in vectors] + self.pairs.widths
        self.order = (
            *([USER_VECTOR] if USER_VECTOR in groups.names else []),
            *(field.name for field in groups.user),
            *vectors,
            *(field.name for field in groups.pair),
        )
        """The groups as their gates come."""
        self.gate = nn.Linear(sum(of_users) + sum(of_pairs), len(self.order)) if gated else None
        self.of_users = nn.Linear(sum(of_users), hidden[0], bias=False) if of_users else None
        self.of_pairs = nn.Linear(sum(of_pairs), hidden[0])
        layers = [layer for widths in pairwise(hidden) for layer in (nn.Linear(*widths), nn.ReLU())]
        self.rest = nn.Sequential(nn.ReLU(), *layers, nn.Linear(hidden[-1], 1))

    def forward(self, users: Tensor, items: Tensor, owner: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Score m pairs of B users and as many items.

        Args:
            users: float32 [B, D], the towers' vectors.
            items: float32 [m, D], likewise.
            owner: int64 [m], which of the B users each item is scored for.
            features: By group, of users with B rows, of pairs with m; see `PairInputs`.

        Returns:
            float32 [m], logits.
        """
        of_users, of_pairs = self._parts(users, items, owner, features)
        if self.gate is not None:
            apart = [functional.embedding(owner, part) for part in of_users]
            gated = self._gated(self.gate, [*apart, *of_pairs])
            of_users, of_pairs, owner = gated[: len(apart)], gated[len(apart) :], torch.arange(len(items))
        hidden = self.of_pairs(torch.cat(of_pairs, 1))
        if self.of_users is not None:
            hidden = hidden + functional.embedding(owner, self.of_users(torch.cat(of_users, 1)))
        logits: Tensor = self.rest(hidden)[:, 0]
        return logits

    def gates(self, users: Tensor, items: Tensor, owner: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """How much each group counts for each pair, float32 [m, groups] in (0, 1), as in `order`.

        Raises:
            ValueError: It has no gates.
        """
        if self.gate is None:
            raise ValueError("this pre-ranker has no gates")
        of_users, of_pairs = self._parts(users, items, owner, features)
        parts = [*[functional.embedding(owner, part) for part in of_users], *of_pairs]
        return torch.sigmoid(self.gate(torch.cat(parts, 1)))

    def _parts(
        self, users: Tensor, items: Tensor, owner: Tensor, features: Mapping[str, Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The groups of users, each float32 [B, width], and of pairs, each float32 [m, width]."""
        of_users = [users] if USER_VECTOR in self._groups else []
        of_pairs = [items] if ITEM_VECTOR in self._groups else []
        if not self._groups.isdisjoint((PRODUCT, COSINE)):
            product = functional.embedding(owner, users) * items
            of_pairs += [product] if PRODUCT in self._groups else []
            of_pairs += [product.sum(1, keepdim=True)] if COSINE in self._groups else []
        return of_users + self.users(features), of_pairs + self.pairs(features)

    @staticmethod
    def _gated(gate: nn.Linear, parts: Sequence[Tensor]) -> list[Tensor]:
        gates = torch.sigmoid(gate(torch.cat(list(parts), 1)))
        return [part * gates[:, number, None] for number, part in enumerate(parts)]
