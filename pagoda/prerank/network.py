"""The network of the pre-ranker: groups of features side by side, and a few layers (COLD, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pagoda.model.features.feature_embeddings import FeatureEmbeddings
from pagoda.prerank.groups import COSINE, ITEM_VECTOR, PRODUCT, USER_VECTOR, Groups

_LEAST_SPREAD = 1e-3


class PreRanker(nn.Module):
    """The chance that a user chooses an item that is shown, as a logit: what the cosine says of it, and a correction.

    The correction begins as zero, so a network that has learned nothing orders as the towers do.
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
        self._numbers = tuple(field.name for field in groups.pair if field.form == "dense")
        embedded = tuple(field for field in groups.pair if field.form != "dense")
        self.users, self.pairs = (FeatureEmbeddings(fields, feature_dim) for fields in (groups.user, embedded))
        vectors = [name for name in (ITEM_VECTOR, PRODUCT) if name in groups.names]
        cosine = [COSINE] * (COSINE in groups.names)
        of_users = [dim] * (USER_VECTOR in groups.names) + self.users.widths
        self._widths = [1] * len(cosine) + [field.size for field in groups.pair if field.form == "dense"]
        of_pairs = [dim] * len(vectors) + self._widths + self.pairs.widths
        self.order = (
            *([USER_VECTOR] if USER_VECTOR in groups.names else []),
            *(field.name for field in groups.user),
            *(*vectors, *cosine, *self._numbers),
            *(field.name for field in embedded),
        )
        """The groups as their gates come."""
        self.gate = nn.Linear(sum(of_users) + sum(of_pairs), len(self.order)) if gated else None
        self.of_users = nn.Linear(sum(of_users), hidden[0], bias=False) if of_users else None
        self.of_pairs = nn.Linear(sum(of_pairs), hidden[0])
        layers = [layer for widths in pairwise(hidden) for layer in (nn.Linear(*widths), nn.ReLU())]
        self.rest = nn.Sequential(nn.ReLU(), *layers)
        self.last = nn.Linear(hidden[-1], 1)
        self.slope = nn.Parameter(torch.ones(()))
        """Of the logit by the cosine."""
        self.mean, self.spread = (nn.Buffer(torch.full((sum(self._widths),), value)) for value in (0.0, 1.0))
        """Of the numbers of pairs, by which they are scaled."""
        self.begin(1.0, 0.0)

    def begin(self, slope: float, intercept: float) -> None:
        """Say slope · cosine + intercept of everything."""
        with torch.no_grad():
            self.slope.fill_(slope)
            self.last.weight.zero_()
            self.last.bias.fill_(intercept)

    def scale(self, users: Tensor, items: Tensor, owner: Tensor, features: Mapping[str, Tensor]) -> None:
        """Scale the numbers of pairs, so that those of such pairs have a mean of 0 and a standard deviation of 1."""
        if not self._widths:
            return
        with torch.no_grad():
            numbers = self._number(functional.embedding(owner, users) * items, features)
            self.mean.copy_(numbers.mean(0))
            self.spread.copy_(numbers.std(0, correction=0).clamp(min=_LEAST_SPREAD))

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
        product = functional.embedding(owner, users) * items
        of_users, of_pairs = self._parts(users, items, product, features)
        if self.gate is not None:
            apart = [functional.embedding(owner, part) for part in of_users]
            gated = self._gated(self.gate, [*apart, *of_pairs])
            of_users, of_pairs, owner = gated[: len(apart)], gated[len(apart) :], torch.arange(len(items))
        hidden = self.of_pairs(torch.cat(of_pairs, 1))
        if self.of_users is not None:
            hidden = hidden + functional.embedding(owner, self.of_users(torch.cat(of_users, 1)))
        logits: Tensor = self.slope * product.sum(1) + self.last(self.rest(hidden))[:, 0]
        return logits

    def gates(self, users: Tensor, items: Tensor, owner: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """How much each group counts for each pair, float32 [m, groups] in (0, 1), as in `order`.

        Raises:
            ValueError: It has no gates.
        """
        if self.gate is None:
            raise ValueError("this pre-ranker has no gates")
        product = functional.embedding(owner, users) * items
        of_users, of_pairs = self._parts(users, items, product, features)
        parts = [*[functional.embedding(owner, part) for part in of_users], *of_pairs]
        return torch.sigmoid(self.gate(torch.cat(parts, 1)))

    def _parts(
        self, users: Tensor, items: Tensor, product: Tensor, features: Mapping[str, Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The groups of users, each float32 [B, width], and of pairs, each float32 [m, width]."""
        of_users = [users] if USER_VECTOR in self._groups else []
        of_pairs = [items] if ITEM_VECTOR in self._groups else []
        of_pairs += [product] if PRODUCT in self._groups else []
        if self._widths:
            scaled = (self._number(product, features) - self.mean) / self.spread
            of_pairs += torch.split(scaled, self._widths, 1)
        return of_users + self.users(features), of_pairs + self.pairs(features)

    def _number(self, product: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """The numbers of pairs side by side, float32 [m, numbers]."""
        cosine = [product.sum(1, keepdim=True)] if COSINE in self._groups else []
        return torch.cat([*cosine, *(features[name] for name in self._numbers)], 1)

    @staticmethod
    def _gated(gate: nn.Linear, parts: Sequence[Tensor]) -> list[Tensor]:
        gates = torch.sigmoid(gate(torch.cat(list(parts), 1)))
        return [part * gates[:, number, None] for number, part in enumerate(parts)]
